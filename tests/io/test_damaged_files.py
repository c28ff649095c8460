"""Damaged and hostile image files that fuzzing found: each once was another error, a hang or a crash."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from napari_incontext_seg.core.stack import Stack
from napari_incontext_seg.errors import FileError, InputError, ResourceError
from napari_incontext_seg.io.label_folder import LabelFolder
from napari_incontext_seg.io.labels import LabelWriter
from napari_incontext_seg.io.stacks import open_images, open_label_images, open_stack
from napari_incontext_seg.io.storing import check_free


def test_a_tiff_whose_pages_lead_back_into_themselves_does_not_hang(tmp_path: Path) -> None:
    path = tmp_path / "circle.tif"
    for page in range(3):
        tifffile.imwrite(path, np.zeros((8, 9 + page), np.uint8), append=page > 0, metadata=None)
    content = bytearray(path.read_bytes())
    first = struct.unpack_from("<I", content, 4)[0]
    second = first + 2 + 12 * struct.unpack_from("<H", content, first)[0]
    third = struct.unpack_from("<I", content, second)[0]
    end = third + 2 + 12 * struct.unpack_from("<H", content, third)[0]
    content[end : end + 4] = struct.pack("<I", third)
    path.write_bytes(content)
    with pytest.raises(FileError, match="begin anew"):
        open_stack(path)


@pytest.mark.parametrize("descr", ["|V0", "|S0", "|O", "<M8[ns]", "<c16"])
def test_numpy_files_without_numbers_are_refused_by_their_header(tmp_path: Path, descr: str) -> None:
    """Items of zero bytes make NumPy divide by zero, which ends the process."""
    header = repr({"descr": descr, "fortran_order": False, "shape": (3, 4)}).encode() + b"\n"
    path = tmp_path / "a.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(99))
    with pytest.raises(FileError, match="must hold numbers"):
        open_stack(path)


@pytest.mark.parametrize("header", [b"{'descr': ('", b"{'descr': '<f8', 'fortran_order': False, 'shape': (10**99,)}"])
def test_headers_that_numpy_cannot_read(tmp_path: Path, header: bytes) -> None:
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
    with pytest.raises(FileError, match="cannot be read"):
        open_stack(tmp_path / "a.npy")


def zarr_with(folder: Path, **facts: object) -> Path:
    path = folder / "a.zarr"
    zarr.create_array(path, data=np.ones((3, 8, 9), np.uint8), chunks=(1, 8, 9), dimension_names=("z", "y", "x"))
    found = json.loads((path / "zarr.json").read_text())
    (path / "zarr.json").write_text(json.dumps({**found, **facts}))
    return path


@pytest.mark.parametrize("facts", [{"shape": "x"}, {"node_type": None}, {"data_type": []}, {"fill_value": {}}])
def test_zarr_metadata_that_make_no_sense(tmp_path: Path, facts: dict[str, object]) -> None:
    with pytest.raises(FileError, match="cannot be read as Zarr"):
        open_stack(zarr_with(tmp_path, **facts))


def test_a_zarr_may_claim_more_slices_or_pixels_than_can_be(tmp_path: Path) -> None:
    path = zarr_with(tmp_path, shape=[10**12, 8, 9])
    with pytest.raises(InputError, match="claims 1000000000000 slices"):
        open_stack(path)
    path = zarr_with(tmp_path / "wide", shape=[3, 10**9, 10**9])
    with pytest.raises(ResourceError, match="more memory than this machine has"):
        open_stack(path).read(0)


def test_a_collection_of_a_million_images_is_not_listed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at most 100000"):
        open_images(zarr_with(tmp_path, shape=[10**6, 8, 9]))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on Windows")
def test_a_pipe_in_a_zarr_is_not_read(tmp_path: Path) -> None:
    """It would wait for ever; a device may never end."""
    path = zarr_with(tmp_path)
    chunk = path / "c" / "0" / "0" / "0"
    chunk.unlink()
    os.mkfifo(chunk)
    with pytest.raises(FileError, match="neither a file nor a folder"):
        open_stack(path).read(0)


@pytest.mark.parametrize("place", ["../../outside", "/outside", ".."])
def test_the_path_of_a_resolution_cannot_lead_out(tmp_path: Path, place: str) -> None:
    zarr.create_array(tmp_path / "outside", data=np.full((8, 9), 7, np.uint8))
    group = zarr.open_group(tmp_path / "in" / "a.zarr", mode="w", zarr_format=2)
    group.create_array("0", data=np.ones((8, 9), np.uint8))
    axes = [{"name": a, "type": "space"} for a in "yx"]
    datasets = [{"path": place, "coordinateTransformations": [{"type": "scale", "scale": [1.0, 1.0]}]}]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]
    with pytest.raises(FileError):
        open_stack(tmp_path / "in" / "a.zarr")


def test_names_that_are_too_long(tmp_path: Path) -> None:
    long = tmp_path / f"{'a' * 300}.tif"
    for attempt in (open_stack, open_images, lambda path: check_free(path, overwrite=True)):
        with pytest.raises(FileError, match="name too long"):
            attempt(long)


def test_label_images_with_channels_are_refused_one_by_one_too(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((2, 8, 9), np.uint16), imagej=True, metadata={"axes": "CYX"})
    with pytest.raises(InputError, match="one whole number a pixel"):
        open_label_images(tmp_path / "a.tif")


def test_an_image_without_memory_for_one_slice_says_so() -> None:
    class Huge:
        shape, dtype = (10**8, 10**8), np.dtype(np.float64)

        def __getitem__(self, index: object) -> object:
            raise AssertionError("read although it cannot fit")

    with pytest.raises(ResourceError, match="Crop the image"):
        Stack(Huge(), "yx").read(0)


@pytest.mark.parametrize("name", ["../a", "a/b", "/a", "..", "a\x00b", "a\\b"])
def test_the_name_of_an_image_cannot_lead_out_of_the_output_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="rename the image"):
        LabelFolder(tmp_path / "out", [Stack(np.ones((8, 9), np.uint8), "yx", name=name)])
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("unit", ["é" * 20, "Å", "長さ"])
def test_units_in_whatever_letters_do_not_keep_labels_from_being_written(tmp_path: Path, unit: str) -> None:
    like = Stack(np.ones((3, 8, 9), np.uint8), "zyx", (2.0, 1.0, 1.0), (unit,) * 3)
    with LabelWriter(tmp_path / "a.tif", like) as writer:
        writer.write(1, np.full((8, 9), 5))
    assert open_stack(tmp_path / "a.tif").read(1).max() == 5


@pytest.mark.parametrize("confidence", ["text", np.ones((2, 2)), [["a"] * 9] * 8])
def test_confidence_that_is_none(tmp_path: Path, confidence: object) -> None:
    image = Stack(np.ones((8, 9), np.uint8), "yx", name="a")
    with LabelWriter(tmp_path / "a.tif", image) as writer, pytest.raises(InputError, match="confidence must"):
        writer.write(0, np.ones((8, 9), np.uint8), confidence)
    with LabelFolder(tmp_path / "b", [image]) as folder, pytest.raises(InputError, match="confidence must"):
        folder.write(0, np.ones((8, 9), np.uint8), confidence)


def test_a_picture_that_vanishes_while_a_folder_is_read(tmp_path: Path) -> None:
    for k in range(3):
        Image.fromarray(np.full((8, 9), k, np.uint8)).save(tmp_path / f"p{k}.png")
    stack = open_stack(tmp_path)
    (tmp_path / "p1.png").unlink()
    assert stack.read(2).max() == 2
    with pytest.raises(FileError, match="no longer there"):
        stack.read(1)


def test_a_picture_whose_chunks_claim_more_than_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(np.ones((8, 9), np.uint8)).save(tmp_path / "a.png")
    stack = open_stack(tmp_path / "a.png")

    def load(self: object) -> None:
        raise MemoryError

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    with pytest.raises(FileError, match="cannot be read"):
        stack.read(0)

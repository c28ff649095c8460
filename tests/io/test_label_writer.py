"""Labels out: exact, described, and never half-written."""

from __future__ import annotations

import errno
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from napari_incontext_seg.core.stack import Stack
from napari_incontext_seg.errors import FileError, InputError, ResourceError
from napari_incontext_seg.io import labels as module
from napari_incontext_seg.io.label_folder import LabelFolder
from napari_incontext_seg.io.labels import LabelWriter, smallest_dtype
from napari_incontext_seg.io.stacks import open_images, open_labels, open_stack

MICROMETERS = {"scale": (0.5, 0.1, 0.2), "units": ("micrometer",) * 3}


def stack(*shape: int, axes: str = "zyx", **options: Any) -> Stack:
    return Stack(np.zeros(shape, np.uint8), axes, **options)


def planes(count: int = 4, largest: int = 9) -> np.ndarray:
    return np.random.default_rng(0).integers(0, largest + 1, (count, 6, 7)).astype(np.uint32)


def write_all(path: Path, like: Stack, labels: np.ndarray, **options: Any) -> list[Path]:
    with LabelWriter(path, like, **options) as writer:
        for position, plane in enumerate(labels):
            writer.write(position, plane, np.full(plane.shape, position / 10, np.float32))
        return writer.finish()


def left_over(folder: Path) -> list[str]:
    return [p.name for p in folder.iterdir() if "partial" in p.name]


@settings(max_examples=20, deadline=None)
@given(
    axes=st.sampled_from(["yx", "zyx", "tyx", "iyx", "tzyx", "czyx", "yxs", "zcyx", "xzy", "ptyx"]),
    largest=st.sampled_from([1, 255, 256, 65535, 65536, 2**32 - 1]),
    suffix=st.sampled_from([".tif", ".ome.tif", ".zarr"]),
)
def test_ids_come_back_whatever_the_axes_and_the_format(axes: str, largest: int, suffix: str) -> None:
    sizes = {"y": 6, "x": 7, "s": 3}
    like = stack(*(sizes.get(a, 2) for a in axes), axes=axes)
    labels = planes(len(like), largest)
    labels.flat[0] = largest
    if suffix == ".ome.tif" and axes == "ptyx":  # OME has one axis for times and other series
        return
    with tempfile.TemporaryDirectory() as folder:
        files = write_all(Path(folder) / f"out{suffix}", like, labels)
        written = open_labels(files[0])

        assert written.data.dtype == smallest_dtype(None, largest)
        assert len(written) == len(like)
        order = list(range(len(like))) if suffix != ".zarr" or axes != "ptyx" else [0, 2, 1, 3]  # Zarr: time first
        for position, source in enumerate(order):
            np.testing.assert_array_equal(written.read(position)[..., 0], labels[source])


@pytest.mark.parametrize("name", ["out.tif", "out.ome.tif", "out.zarr"])
@pytest.mark.parametrize("largest", [9, 2**20])
def test_axes_spacing_and_units_are_those_of_the_image(tmp_path: Path, name: str, largest: int) -> None:
    like = stack(2, 3, 6, 7, axes="tzyx", scale=(30.0, 0.5, 0.1, 0.2), units=("second", *("micrometer",) * 3))
    written = open_labels(write_all(tmp_path / name, like, planes(6, largest))[0])

    assert written.axes == "tzyx"
    assert written.scale == pytest.approx(like.scale, rel=1e-6)
    assert written.units == like.units


def test_units_that_differ_between_axes_become_one_in_a_tiff_which_has_one(tmp_path: Path) -> None:
    like = stack(2, 6, 7, scale=(500.0, 0.1, 200.0), units=("nanometer", "micrometer", "nanometer"))
    written = open_labels(write_all(tmp_path / "out.tif", like, planes(2))[0])
    assert written.scale == pytest.approx((500.0, 100.0, 200.0))
    assert written.units == ("nanometer",) * 3


def test_imagej_and_tifffile_understand_the_tiff(tmp_path: Path) -> None:
    out, confidence, _ = write_all(tmp_path / "out.tif", stack(4, 6, 7, **MICROMETERS), planes())
    with tifffile.TiffFile(out) as file:
        assert file.is_imagej
        assert (file.series[0].axes, file.pages[0].compression.name) == ("ZYX", "ADOBE_DEFLATE")
        assert (file.imagej_metadata["unit"], file.imagej_metadata["spacing"]) == ("micron", 0.5)
        assert json.loads(file.imagej_metadata["Info"])["complete"] is True
    values = tifffile.imread(confidence)
    assert values.dtype == np.float32
    np.testing.assert_allclose(values[3], 0.3, atol=1e-3)
    with tifffile.TiffFile(write_all(tmp_path / "o.ome.tif", stack(4, 6, 7, **MICROMETERS), planes())[0]) as file:
        pixels = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Pixels"]
        assert (pixels["PhysicalSizeZ"], pixels["PhysicalSizeX"], pixels["PhysicalSizeXUnit"]) == (0.5, 0.2, "µm")


@pytest.mark.parametrize("shape", [(4, 6, 7), (2, 6, 3), (2, 6, 4), (1, 6, 7)])
def test_imagej_is_told_the_spacing_of_32_bit_ids_too(tmp_path: Path, shape: tuple[int, ...]) -> None:
    labels = np.full(shape, 70000)
    out = write_all(tmp_path / "out.tif", stack(*shape, **MICROMETERS), labels)[0]
    with tifffile.TiffFile(out) as file:
        assert (file.is_imagej, file.series[0].kind) == (True, "imagej")
        assert (file.imagej_metadata["unit"], file.imagej_metadata["spacing"]) == ("micron", 0.5)
        assert (file.imagej_metadata["images"], len(file.pages)) == (shape[0], shape[0])
        assert json.loads(file.imagej_metadata["Info"])["complete"] is True
        assert file.pages[0].tags["XResolution"].value == (5, 1)
    np.testing.assert_array_equal(tifffile.imread(out), labels.squeeze())
    np.testing.assert_array_equal(open_labels(out).read(len(labels) - 1)[..., 0], labels[-1])


@pytest.mark.parametrize(("axes", "largest"), [("yx", 9), ("iyx", 9), ("zyx", 2**20)])
def test_the_pixel_size_of_a_plain_tiff_is_kept(tmp_path: Path, axes: str, largest: int) -> None:
    image = np.zeros((2, 6, 7)[-len(axes) :], np.uint8)
    tifffile.imwrite(tmp_path / "cm.tif", image, resolution=(40000, 20000), resolutionunit="CENTIMETER", metadata=None)
    like = open_stack(tmp_path / "cm.tif", axes=axes)
    out = write_all(tmp_path / "out.tif", like, planes(len(like), largest))[0]

    assert open_labels(out).spacing == pytest.approx((0.5, 0.25))
    with tifffile.TiffFile(out) as file:  # what Fiji reads: the unit of its own format, or the tags
        count, length = file.pages[0].tags["XResolution"].value
        if file.is_imagej:
            assert (file.imagej_metadata["unit"], count / length) == ("micron", pytest.approx(4))
        else:
            assert (file.pages[0].tags["ResolutionUnit"].value, count / length) == (3, pytest.approx(40000))


def test_provenance_stands_beside_the_tiff(tmp_path: Path) -> None:
    known = {"model": "guess", "digest": "abc", "settings": {"memory": np.int64(2), "out": Path("x")}}
    *_, record_path = write_all(tmp_path / "out.tif", stack(4, 6, 7), planes(), provenance=known)
    record = json.loads(record_path.read_text(encoding="utf-8"))

    assert record_path == tmp_path / "out.json"
    assert (record["model"], record["settings"]) == ("guess", {"memory": 2, "out": "x"})
    assert (record["complete"], record["finished"]) == (True, [0, 1, 2, 3])
    assert {"napari-incontext-seg", "numpy", "python"} <= set(record["versions"])
    assert record["date"].endswith("+00:00")


@pytest.mark.parametrize(
    ("given_dtype", "largest", "expected"),
    [
        (None, 0, "uint8"),
        ("bool", 1, "uint8"),
        ("uint8", 256, "uint16"),
        ("uint16", 3, "uint16"),
        ("int16", 3, "uint16"),
        ("uint32", 3, "uint32"),
        ("int32", 3, "uint8"),  # scipy.ndimage.label
        ("int32", 70000, "uint32"),
        ("int64", 3, "uint8"),
        ("float32", 70000, "uint32"),
    ],
)
def test_the_type_is_the_smallest_that_holds_the_ids_and_the_input(
    given_dtype: str | None, largest: int, expected: str
) -> None:
    assert smallest_dtype(given_dtype, largest) == np.dtype(expected)


@pytest.mark.parametrize("name", ["out.tif", "out.zarr"])
@pytest.mark.parametrize("cut", [RuntimeError("the model failed"), KeyboardInterrupt()])
def test_a_run_that_is_cut_keeps_what_is_finished(tmp_path: Path, name: str, cut: BaseException) -> None:
    labels = planes()

    def run() -> None:
        with LabelWriter(tmp_path / name, stack(4, 6, 7)) as writer:
            writer.write(2, labels[2])
            writer.write(0, labels[0])
            raise cut

    with pytest.raises(type(cut)):
        run()

    written = open_labels(tmp_path / name)
    assert [bool(written.read(k).any()) for k in range(4)] == [True, False, True, False]
    np.testing.assert_array_equal(written.read(2)[..., 0], labels[2])
    if name == "out.zarr":
        record = zarr.open_group(tmp_path / name, mode="r").attrs["napari-incontext-seg"]
    else:
        record = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert (record["complete"], record["finished"]) == (False, [0, 2])
    assert not (tmp_path / "out_confidence.tif").exists()
    assert left_over(tmp_path) == []


def test_a_run_that_fails_before_its_first_plane_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), LabelWriter(tmp_path / "out.tif", stack(4, 6, 7)):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["out.tif", "out_confidence.tif", "out.json"])
def test_existing_outputs_are_refused_before_any_work(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("precious")
    with pytest.raises(FileError, match=rf"{name} exists; use --overwrite"):
        LabelWriter(tmp_path / "out.tif", stack(4, 6, 7))
    assert (tmp_path / name).read_text() == "precious"
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["out.tif", "out.zarr"])
def test_overwrite_replaces_an_earlier_output(tmp_path: Path, name: str) -> None:
    write_all(tmp_path / name, stack(4, 6, 7), planes(4, 3))
    with pytest.raises(FileError, match="exists"):
        LabelWriter(tmp_path / name, stack(4, 6, 7))
    with LabelWriter(tmp_path / name, stack(2, 6, 7), overwrite=True) as writer:
        writer.write(1, planes(1, 300)[0])
    assert open_labels(tmp_path / name).data.shape == (2, 6, 7)
    assert not (tmp_path / "out_confidence.tif").exists(), "that of the earlier run says nothing about this one"
    assert left_over(tmp_path) == []


@pytest.mark.parametrize("beside", ["out.json", "out_confidence.tif"])
def test_what_others_made_is_not_replaced_beside_the_labels_even_so(tmp_path: Path, beside: str) -> None:
    (tmp_path / beside).write_text("{}")
    with pytest.raises(FileError, match=f"{beside} would be replaced, and was not made with out.tif"):
        LabelWriter(tmp_path / "out.tif", stack(4, 6, 7), overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == [beside]
    assert (tmp_path / beside).read_text() == "{}"


def test_what_a_killed_run_had_put_beside_the_labels_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def kill(made: Path, target: Path) -> None:
        if target.suffix == ".json":
            raise Killed
        made.replace(target)

    with monkeypatch.context() as patched:
        patched.setattr(module, "replace_by", kill)
        with pytest.raises(Killed):
            write_all(tmp_path / "out.tif", stack(4, 6, 7), planes())
    assert (tmp_path / "out_confidence.tif").exists()
    assert not (tmp_path / "out.json").exists()
    write_all(tmp_path / "out.tif", stack(4, 6, 7), planes(), overwrite=True)
    assert (tmp_path / "out.json").exists()


def test_two_at_the_same_output_do_not_replace_each_other(tmp_path: Path) -> None:
    first = LabelWriter(tmp_path / "out.tif", stack(4, 6, 7))
    with pytest.raises(FileError, match="is being made already"):
        LabelWriter(tmp_path / "out.tif", stack(4, 6, 7))
    first.write(0, planes()[0])
    (tmp_path / "out.tif").write_text("of a program that was faster")
    with pytest.raises(FileError, match=r"out.tif exists.*The finished slices \(1\) are kept in"):
        first.finish()
    assert (tmp_path / "out.tif").read_text() == "of a program that was faster"


def test_axes_that_an_ome_tiff_cannot_hold_are_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="OME-TIFF cannot hold the axes 'ityx'"):
        LabelWriter(tmp_path / "out.ome.tif", stack(2, 3, 6, 7, axes="ityx"))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_no_output_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "data.zarr").mkdir()
    with pytest.raises(FileError, match="is a folder, not an earlier output"):
        LabelWriter(tmp_path / "data.zarr", stack(4, 6, 7), overwrite=True)


def test_a_folder_that_cannot_be_written_to_is_noticed_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(FileError, match="cannot be written"):
        LabelWriter(tmp_path / "file" / "out.tif", stack(4, 6, 7))

    def refuse(**_: Any) -> str:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("napari_incontext_seg.io.unfinished.tempfile.mkdtemp", refuse)
    with pytest.raises(FileError, match=r"out\.tif cannot be written: Permission denied"):
        LabelWriter(tmp_path / "out.tif", stack(4, 6, 7))


def test_a_full_disk_leaves_the_earlier_output_and_the_finished_planes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = write_all(tmp_path / "out.tif", stack(4, 6, 7), planes())[0]
    before = out.read_bytes()

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "write_tiff", full)
    labels = planes(4, 77)
    with pytest.raises(ResourceError, match=r"the disk is full.*The finished slices \(4\) are kept in") as caught:
        write_all(out, stack(4, 6, 7), labels, overwrite=True)

    assert out.read_bytes() == before
    kept = Path(str(caught.value).split("kept in ")[1].removesuffix(" (Zarr)."))
    np.testing.assert_array_equal(open_labels(kept).read(3)[..., 0], labels[3])


def test_a_disk_that_fills_up_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def run() -> None:
        with LabelWriter(tmp_path / "out.tif", stack(4, 6, 7)) as writer:
            writer.write(0, planes()[0])
            monkeypatch.setattr(zarr.Array, "__setitem__", full)
            try:
                writer.write(1, planes()[1])
            finally:
                monkeypatch.undo()

    with pytest.raises(ResourceError, match="the disk is full"):
        run()
    assert json.loads((tmp_path / "out.json").read_text())["finished"] == [0]


@pytest.mark.parametrize(
    ("position", "labels", "confidence", "message"),
    [
        (4, np.zeros((6, 7), int), None, "slice 4 does not exist"),
        (0, np.zeros((7, 6), int), None, r"must match the image \(6, 7\)"),
        (0, np.full((6, 7), -1), None, "must not be negative"),
        (0, np.zeros((6, 7), int), np.zeros((2, 2)), r"confidence must match the labels \(6, 7\)"),
    ],
)
def test_planes_that_do_not_fit(tmp_path: Path, position: int, labels: Any, confidence: Any, message: str) -> None:
    with LabelWriter(tmp_path / "out.tif", stack(4, 6, 7)) as writer, pytest.raises(InputError, match=message):
        writer.write(position, labels, confidence)


def test_other_formats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"written as \.tif, \.ome\.tif or \.zarr.* got out\.png"):
        LabelWriter(tmp_path / "out.png", stack(4, 6, 7))


@pytest.fixture
def collection(tmp_path: Path) -> list[Stack]:
    folder = tmp_path / "images"
    folder.mkdir()
    Image.fromarray(np.zeros((6, 7), np.uint8)).save(folder / "a.png")
    tifffile.imwrite(folder / "b.tif", np.zeros((5, 5), np.uint16))
    return open_images(folder)


def test_a_collection_gets_a_file_an_image(tmp_path: Path, collection: list[Stack]) -> None:
    with LabelFolder(tmp_path / "out", collection, provenance={"model": "guess"}) as folder:
        folder.write(0, np.full((6, 7), 300), np.full((6, 7), 0.5))
        assert (tmp_path / "out" / "a.png").exists(), "each file is there when its image is done"
        folder.write(1, np.full((5, 5), 4))

    assert open_labels(tmp_path / "out" / "a.png").read(0).max() == 300
    assert open_labels(tmp_path / "out" / "b.tif").data.dtype == np.uint8
    assert open_stack(tmp_path / "out" / "confidence" / "a.tif").read(0).max() == 0.5
    record = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert (record["model"], record["complete"], record["finished"]) == ("guess", True, ["a", "b"])
    with pytest.raises(FileError, match=r"exists; use --overwrite"):
        LabelFolder(tmp_path / "out", collection)


def test_a_collection_that_is_cut_keeps_what_is_finished(tmp_path: Path, collection: list[Stack]) -> None:
    def run() -> None:
        with LabelFolder(tmp_path / "out", collection) as folder:
            folder.write(0, np.full((6, 7), 70000))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run()
    assert open_labels(tmp_path / "out" / "a.tif").read(0).max() == 70000, "too large an id for a PNG"
    assert json.loads((tmp_path / "out" / "provenance.json").read_text())["complete"] is False


def test_images_of_one_name_would_overwrite_each_other(tmp_path: Path, collection: list[Stack]) -> None:
    with pytest.raises(InputError, match=r"a name of its own.*\['a'\]"):
        LabelFolder(tmp_path / "out", [collection[0], collection[0]])


@pytest.mark.parametrize("name", ["thin.tif", "thin.ome.tif", "thin.zarr"])
@pytest.mark.parametrize("shape", [(3, 5, 1), (3, 1, 5), (3, 1, 1), (2, 3, 4, 1)])
def test_stacks_one_pixel_wide(tmp_path: Path, shape: tuple[int, ...], name: str) -> None:
    labels = np.random.default_rng(0).integers(0, 9, shape).astype(np.uint16)
    tifffile.imwrite(tmp_path / "image.tif", labels, photometric="minisblack")
    image = open_stack(tmp_path / "image.tif")
    assert image.axes == "tzyx"[-len(shape) :]
    with LabelWriter(tmp_path / name, image, dtype=np.uint16) as writer:
        for position in range(len(image)):
            writer.write(position, image.read(position)[..., 0], np.ones(image.plane_shape, np.float32))
    written = open_labels(tmp_path / name)
    assert written.axes == image.axes
    np.testing.assert_array_equal(np.asarray(written.data[(slice(None),) * len(shape)]), labels)

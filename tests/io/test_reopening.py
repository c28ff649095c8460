"""Pixels found again by another process."""

import json

import dask.array as da
import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from napari_incontext_seg.core.stack import Stack
from napari_incontext_seg.errors import FileError
from napari_incontext_seg.io.reopening import address, reopen
from napari_incontext_seg.io.stacks import open_stack

PIXELS = np.random.default_rng(0).integers(0, 255, (3, 8, 6), np.uint8)


def written(folder, name):
    """The pixels in a file, or folder, of the format that its name says."""
    path = folder / name
    if name == "slices":
        path.mkdir()
        for z, plane in enumerate(PIXELS):
            Image.fromarray(plane).save(path / f"{z}.png")
    elif name.endswith(".zarr"):
        zarr.save_array(path, PIXELS)
    elif name.endswith(".npy"):
        np.save(path, PIXELS)
    else:
        tifffile.imwrite(path, PIXELS, photometric="minisblack")
    return path


@pytest.mark.parametrize("name", ["stack.tif", "stack.zarr", "stack.npy", "slices"])
def test_files_are_read_where_they_are(tmp_path, name):
    stack = open_stack(written(tmp_path, name))
    found = json.loads(json.dumps(address(stack, tmp_path / "spare.npy")))
    np.testing.assert_array_equal(reopen(found)[0:3], PIXELS)
    assert not (tmp_path / "spare.npy").exists()


def test_a_zarr_array_of_somebody_else_is_read_where_it_is(tmp_path):
    group = zarr.open_group(tmp_path / "group.zarr", mode="w")
    group.create_array("inside", data=PIXELS)
    stack = Stack(zarr.open_group(tmp_path / "group.zarr", mode="r")["inside"], "zyx")
    found = address(stack, tmp_path / "spare.npy")
    assert found["files"] == [str(tmp_path / "group.zarr" / "inside")]
    np.testing.assert_array_equal(reopen(found)[1], PIXELS[1])


@pytest.mark.parametrize(
    "make",
    [
        lambda stored: PIXELS,
        lambda stored: da.from_array(PIXELS, chunks=2),
        lambda stored: np.load(stored, mmap_mode="r")[::-1],  # a view of a file is not the file
        lambda stored: zarr.array(PIXELS),
    ],
    ids=["numpy", "dask", "view", "zarr"],
)
def test_what_is_in_no_file_is_written_once(tmp_path, make):
    data = make(written(tmp_path, "stored.npy"))
    found = address(Stack(data, "zyx"), tmp_path / "spare.npy")
    assert found["files"] == [str(tmp_path / "spare.npy")]
    np.testing.assert_array_equal(reopen(found)[:], np.asarray(data[:]))


def test_a_file_that_is_missing_or_another_is_told(tmp_path):
    path = written(tmp_path, "stack.tif")
    found = address(open_stack(path), tmp_path / "spare.npy")
    tifffile.imwrite(path, PIXELS[:2], photometric="minisblack")
    with pytest.raises(FileError, match=r"holds \(2, 8, 6\) uint8 here, and \(3, 8, 6\)"):
        reopen(found)
    path.unlink()
    with pytest.raises(FileError, match="Is it on a disk that all machines see"):
        reopen(found)

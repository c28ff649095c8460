"""Folders, patterns, single pictures and NumPy files."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_incontext_seg.errors import FileError, InputError
from napari_incontext_seg.io.stacks import open_images, open_label_images, open_labels, open_stack, stack_from_array


def save(path: Path, value: int, shape: tuple[int, ...] = (6, 7), dtype: str = "uint8") -> None:
    Image.fromarray(np.full(shape, value, dtype)).save(path)


def test_a_folder_is_a_stack_in_the_order_people_mean(tmp_path: Path) -> None:
    for number in (10, 2, 1):
        save(tmp_path / f"slice{number}.png", number)
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "._slice1.png").write_bytes(b"what macOS leaves behind")
    stack = open_stack(tmp_path)

    assert (stack.axes, stack.data.shape, stack.name) == ("iyx", (3, 6, 7), tmp_path.name)
    assert [int(stack.read(k).max()) for k in range(3)] == [1, 2, 10]
    assert [int(open_stack(tmp_path / "slice1*.png").read(k).max()) for k in range(2)] == [1, 10]


def test_a_folder_of_volumes_is_a_time_lapse(tmp_path: Path) -> None:
    for t in range(3):
        tifffile.imwrite(tmp_path / f"t{t}.tif", np.full((4, 6, 7), t, np.uint16), metadata={"axes": "ZYX"})
    stack = open_stack(tmp_path)

    assert (stack.axes, stack.grid) == ("tzyx", (3, 4))
    assert stack.read(11).max() == 2


def test_images_of_different_sizes_are_no_stack_but_a_collection(tmp_path: Path) -> None:
    save(tmp_path / "a.png", 1)
    save(tmp_path / "b.png", 2, (9, 9, 3))
    with pytest.raises(InputError, match=r"a.png is \(6, 7\) uint8, but b.png is \(9, 9, 3\).*open_images"):
        open_stack(tmp_path)
    images = open_images(tmp_path)
    assert [(image.name, image.plane_shape, image.axes) for image in images] == [
        ("a", (6, 7), "yx"),
        ("b", (9, 9), "yxs"),
    ]


@pytest.mark.parametrize(
    ("mode", "axes", "dtype"), [("L", "yx", "uint8"), ("RGB", "yxs", "uint8"), ("1", "yx", "bool")]
)
def test_one_picture_is_a_stack_of_one_plane(tmp_path: Path, mode: str, axes: str, dtype: str) -> None:
    Image.new(mode, (7, 6), 1 if mode == "1" else "white").save(tmp_path / "p.png")
    stack = open_stack(tmp_path / "p.png")
    assert (stack.axes, stack.data.dtype, len(stack), stack.name) == (axes, np.dtype(dtype), 1, "p")
    assert stack.read(0).min() == (1 if mode == "1" else 255)


def test_16_bit_png_keeps_its_values(tmp_path: Path) -> None:
    save(tmp_path / "p.png", 40000, dtype="uint16")
    stack = open_stack(tmp_path / "p.png")
    assert (stack.data.dtype, stack.read(0).max()) == (np.uint16, 40000)


def test_palette_png_is_a_colour_image_but_labels_are_its_indices(tmp_path: Path) -> None:
    indices = np.arange(42, dtype=np.uint8).reshape(6, 7)
    image = Image.fromarray(indices, "P")
    image.putpalette([v for k in range(256) for v in (k, 255 - k, 0)])
    image.save(tmp_path / "voc.png")

    assert open_stack(tmp_path / "voc.png").data.shape == (6, 7, 3)
    np.testing.assert_array_equal(open_labels(tmp_path / "voc.png").read(0)[..., 0], indices)
    assert [s.name for s in open_label_images(tmp_path)] == ["voc"]


def test_colours_and_jpegs_are_refused_as_labels(tmp_path: Path) -> None:
    save(tmp_path / "c.png", 3, (6, 7, 3))
    save(tmp_path / "j.jpg", 3)
    with pytest.raises(InputError, match=r"c.png is a colour image; labels need one whole number a pixel"):
        open_labels(tmp_path / "c.png")
    with pytest.raises(InputError, match="JPEG, which changes label numbers"):
        open_labels(tmp_path / "j.jpg")


def test_a_truncated_png_is_an_error_when_read(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "p.png")
    data = (tmp_path / "p.png").read_bytes()
    (tmp_path / "p.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(FileError, match="truncated"):
        open_stack(tmp_path / "p.png").read(0)


def test_numpy_files_are_mapped_not_loaded(tmp_path: Path) -> None:
    array = np.arange(5 * 6 * 7, dtype=np.float32).reshape(5, 6, 7)
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "a.npz", volume=array)
    stack = open_stack(tmp_path / "a.npy")

    assert isinstance(stack.data, np.memmap)
    np.testing.assert_array_equal(stack.read(3)[..., 0], array[3])
    np.testing.assert_array_equal(open_stack(tmp_path / "a.npz").read(3)[..., 0], array[3])


def test_numpy_files_that_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    np.savez(tmp_path / "two.npz", a=np.zeros((4, 4)), b=np.zeros((4, 4)))
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 not a zip")
    with pytest.raises(FileError, match="Pickled objects are never loaded"):
        open_stack(tmp_path / "objects.npy")
    with pytest.raises(InputError, match=r"must hold one array; it has 2: \['a', 'b'\]"):
        open_stack(tmp_path / "two.npz")
    with pytest.raises(FileError, match="cannot be read"):
        open_stack(tmp_path / "bad.npz")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.tif", "does not exist"),
        ("missing/*.png", "holds no image|cannot be read"),
        ("movie.mp4", "cannot be read as a video"),
        ("table.xlsx", "unknown format; can be read: TIFF, PNG"),
        ("void.png", "is empty"),
        ("text.png", "cannot be read as an image"),
        ("folder", "holds no image"),
    ],
)
def test_what_cannot_be_opened_says_why(tmp_path: Path, name: str, message: str) -> None:
    for file, content in {"movie.mp4": "x", "table.xlsx": "x", "void.png": "", "text.png": "hello"}.items():
        (tmp_path / file).write_text(content)
    (tmp_path / "folder").mkdir()
    with pytest.raises(FileError, match=message):
        open_stack(tmp_path / name)


@pytest.mark.parametrize(
    ("shape", "dtype", "axes"),
    [
        ((6, 7), "float32", "yx"),
        ((3, 6, 7), "uint8", "zyx"),
        ((6, 7, 3), "uint8", "yxs"),
        ((6, 7, 3), "uint16", "zyx"),
        ((5, 6, 7, 4), "uint8", "zyxs"),
        ((2, 5, 6, 7), "uint8", "tzyx"),
        ((2, 3, 5, 6, 7), "uint8", "tczyx"),
        ((2, 5, 6, 7, 3), "uint8", "tzyxs"),
    ],
)
def test_axes_of_arrays_are_guessed_by_one_rule(shape: tuple[int, ...], dtype: str, axes: str) -> None:
    assert stack_from_array(np.zeros(shape, dtype)).axes == axes
    assert stack_from_array(np.zeros(shape, dtype), axes="abcdeyx"[-len(shape) :]).axes == "abcdeyx"[-len(shape) :]


def test_an_array_of_one_axis_is_no_image() -> None:
    with pytest.raises(InputError, match=r"two to five axes; got shape \(5,\)"):
        stack_from_array(np.zeros(5))


@pytest.mark.skipif(sys.platform == "win32", reason="limits of open files are set otherwise there")
def test_a_folder_of_thousands_of_files_keeps_none_open(tmp_path: Path) -> None:
    import resource

    for k in range(60):
        tifffile.imwrite(tmp_path / f"f{k}.tif", np.full((4, 5), k, np.uint8))
    with (tmp_path / "f0.tif").open() as file:
        lowest_free = file.fileno()
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free + 20, before[1]))
    try:
        stack, images = open_stack(tmp_path), open_images(tmp_path)
        assert [int(stack.read(k).max()) for k in range(60)] == [int(i.read(0).max()) for i in images] == [*range(60)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)

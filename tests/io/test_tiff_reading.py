"""TIFF as microscopes, ImageJ and Python write it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_incontext_seg.errors import DegradedDataWarning, FileError, InputError
from napari_incontext_seg.io.stacks import open_images, open_labels, open_stack


def ramp(*shape: int, dtype: str = "uint16") -> np.ndarray:
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def write(folder: Path, array: np.ndarray, name: str = "image.tif", **options: Any) -> Path:
    tifffile.imwrite(folder / name, array, **options)
    return folder / name


@pytest.mark.parametrize(
    ("shape", "options", "axes"),
    [
        ((5, 8, 9), {"imagej": True, "metadata": {"axes": "ZYX"}}, "zyx"),
        ((2, 5, 8, 9), {"imagej": True, "metadata": {"axes": "TZYX"}}, "tzyx"),
        ((5, 2, 8, 9), {"imagej": True, "metadata": {"axes": "ZCYX"}, "compression": "zlib"}, "zcyx"),
        ((2, 5, 8, 9), {"ome": True, "metadata": {"axes": "CZYX"}}, "czyx"),
        ((4, 8, 9), {"ome": True, "metadata": {"axes": "TYX"}, "compression": "lzw"}, "tyx"),
        ((1, 5, 8, 9), {"metadata": {"axes": "TZYX"}}, "tzyx"),
        ((5, 8, 9), {"metadata": None}, "iyx"),
        ((5, 8, 9), {}, "zyx"),
        ((2, 5, 8, 9), {}, "tzyx"),
        ((8, 9), {"bigtiff": True}, "yx"),
        ((5, 32, 48), {"tile": (16, 16), "compression": "zlib", "predictor": True, "metadata": {"axes": "ZYX"}}, "zyx"),
        ((5, 8, 9), {"byteorder": ">", "metadata": {"axes": "ZYX"}}, "zyx"),
    ],
)
def test_axes_and_every_plane_come_back(
    tmp_path: Path, shape: tuple[int, ...], options: dict[str, Any], axes: str
) -> None:
    array = ramp(*shape)
    stack = open_stack(write(tmp_path, array, **options))

    assert stack.axes == axes
    assert stack.data.shape == shape
    expected = array.reshape(-1, *shape[-2:]) if "c" not in axes else np.moveaxis(array, axes.index("c"), -1)
    for position in range(len(stack)):
        plane = expected[position][..., None] if "c" not in axes else expected.reshape(-1, *shape[-2:], 2)[position]
        np.testing.assert_array_equal(stack.read(position), plane)


@pytest.mark.parametrize("planar", [False, True])
def test_colour_images_are_one_plane_of_samples(tmp_path: Path, planar: bool) -> None:
    colours = ramp(8, 9, 3, dtype="uint8")
    options = {"photometric": "rgb", "planarconfig": "separate" if planar else "contig"}
    stack = open_stack(write(tmp_path, np.moveaxis(colours, -1, 0) if planar else colours, **options))

    assert len(stack) == 1
    np.testing.assert_array_equal(stack.read(0), colours)


@settings(max_examples=15, deadline=None)
@given(
    step=st.tuples(*[st.floats(1e-3, 1e3)] * 3),
    unit=st.sampled_from(
        [("um", "micrometer"), ("micron", "micrometer"), ("nm", "nanometer"), ("\\u00B5m", "micrometer")]
    ),
)
def test_imagej_spacing_comes_back(
    tmp_path_factory: pytest.TempPathFactory, step: tuple[float, float, float], unit: tuple[str, str]
) -> None:
    z, y, x = step
    path = write(
        tmp_path_factory.mktemp("tiff"), ramp(3, 4, 5), imagej=True, resolution=(1 / x, 1 / y),
        metadata={"axes": "ZYX", "spacing": z, "unit": unit[0]},
    )  # fmt: skip
    stack = open_stack(path)

    np.testing.assert_allclose(stack.scale, step, rtol=1e-5)
    assert stack.units == (unit[1],) * 3
    factor = 1e-3 if unit[1] == "nanometer" else 1
    assert stack.spacing == pytest.approx((y * factor, x * factor), rel=1e-5)


def test_axes_are_named_by_the_file_or_guessed(tmp_path: Path) -> None:
    array = np.zeros((3, 4, 6, 7), np.uint8)
    assert not open_labels(write(tmp_path, array, "plain.tif")).named
    assert open_labels(write(tmp_path, array, "imagej.tif", imagej=True, metadata={"axes": "TZYX"})).named
    assert open_labels(write(tmp_path, array, "a.ome.tif", metadata={"axes": "ZTYX"})).named
    np.save(tmp_path / "a.npy", array)
    assert not open_labels(tmp_path / "a.npy").named


def test_imagej_numbers_that_are_none_say_nothing(tmp_path: Path) -> None:
    metadata = {"axes": "TZYX", "spacing": float("nan"), "finterval": float("inf"), "unit": "um"}
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((2, 3, 4, 5), np.uint8), imagej=True, metadata=metadata)
    assert open_stack(tmp_path / "a.tif").scale[:2] == (1, 1)


def test_ome_spacing_units_and_time_come_back(tmp_path: Path) -> None:
    metadata = {
        "axes": "TZYX", "PhysicalSizeX": 108, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.109,
        "PhysicalSizeZ": 0.5, "PhysicalSizeZUnit": "µm", "TimeIncrement": 3, "TimeIncrementUnit": "min",
    }  # fmt: skip
    stack = open_stack(write(tmp_path, ramp(2, 3, 4, 5), "a.ome.tif", ome=True, metadata=metadata))

    assert stack.name == "a"
    assert stack.scale == (3, 0.5, 0.109, 108)
    assert stack.units == ("minute", "micrometer", "micrometer", "nanometer")


@pytest.mark.parametrize(
    ("unit", "resolution", "spacing"),
    [
        ("CENTIMETER", (40000, 20000), (0.5, 0.25)),
        ("CENTIMETER", (200, 200), (50, 50)),
        ("CENTIMETER", (1, 1), None),
        ("CENTIMETER", (118.11, 118.11), None),  # 300 dpi
        ("INCH", (101600, 101600), (0.25, 0.25)),
        ("INCH", (72, 72), None),
        ("INCH", (600, 600), None),
        ("INCH", (4, 4), None),  # pixels per micrometer, where no unit was given
        ("NONE", (40000, 40000), None),
    ],
)
def test_the_pixel_size_of_a_plain_tiff_is_in_its_tags(
    tmp_path: Path, unit: str, resolution: tuple[int, int], spacing: tuple[float, float] | None
) -> None:
    options = {"resolution": resolution, "resolutionunit": unit, "metadata": None}
    stack = open_stack(write(tmp_path, ramp(8, 9), **options))
    assert stack.spacing == (spacing and pytest.approx(spacing))
    assert set(stack.units) == {"micrometer" if spacing else ""}

    write(tmp_path, ramp(8, 9), "image2.tif", **options)
    assert open_stack(tmp_path).spacing == stack.spacing


def test_what_imagej_or_tifffile_say_of_the_unit_is_heeded(tmp_path: Path) -> None:
    metadata = {"unit": "um"}
    options = {"resolution": (4, 4), "metadata": metadata}
    ours = open_stack(write(tmp_path, ramp(8, 9), imagej=True, resolutionunit="CENTIMETER", **options))
    assert ours.spacing == (0.25, 0.25)
    plain = open_stack(write(tmp_path, ramp(8, 9), **options))  # tifffile then says INCH
    assert plain.spacing == (0.25, 0.25)


def test_axes_can_be_named_by_the_user(tmp_path: Path) -> None:
    path = write(tmp_path, ramp(3, 8, 9, dtype="uint8"))  # what many read as a colour image
    assert len(open_stack(path, axes="zyx")) == 3
    assert open_stack(path, axes="CYX", channels=[2]).channels == (2,)
    with pytest.raises(InputError, match=r"must name the 3 axes of image, which has shape \(3, 8, 9\)"):
        open_stack(path, axes="tzyx")


def test_labels_are_never_colours(tmp_path: Path) -> None:
    three_slices = write(tmp_path, ramp(3, 8, 9, dtype="uint8"))
    assert open_labels(three_slices).axes == "zyx"

    colours = write(tmp_path, ramp(8, 9, 3, dtype="uint8"), "rgb.tif", photometric="rgb")
    with pytest.raises(InputError, match=r"rgb\.tif is a colour image"):
        open_labels(colours)
    channels = write(tmp_path, ramp(2, 5, 8, 9), "c.tif", imagej=True, metadata={"axes": "ZCYX"})
    with pytest.raises(InputError, match="got 5 channels"):
        open_labels(channels)


def test_label_ids_up_to_uint32_are_kept(tmp_path: Path) -> None:
    labels = np.array([[0, 1], [70000, 2**32 - 1]], np.uint32)
    assert open_labels(write(tmp_path, labels)).read(0)[..., 0].tolist() == labels.tolist()


@pytest.mark.filterwarnings("ignore:.*may be truncated")
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_truncated_file_names_the_plane_that_is_missing(tmp_path: Path, compression: str | None) -> None:
    noise = np.random.default_rng(0).integers(0, 65535, (20, 32, 32)).astype(np.uint16)
    path = write(tmp_path, noise, metadata={"axes": "ZYX"}, compression=compression)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    with pytest.raises(FileError, match=r"(plane \d+ of 20 cannot be read|cannot be read as TIFF).*truncated"):
        open_stack(path).read(15)


def test_planes_before_the_damage_are_read(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 65535, (20, 32, 32)).astype(np.uint16)
    path = write(tmp_path, noise, metadata={"axes": "ZYX"}, compression="zlib")
    with tifffile.TiffFile(path) as file:
        where = file.pages[12].dataoffsets[0]
    data = bytearray(path.read_bytes())
    data[where : where + 100] = bytes(100)
    path.write_bytes(data)
    stack = open_stack(path)

    np.testing.assert_array_equal(stack.read(5)[..., 0], noise[5])
    with pytest.raises(FileError, match="plane 12 of 20 cannot be read"):
        stack.read(12)


@pytest.mark.filterwarnings("ignore:.*may be truncated")
@pytest.mark.parametrize("imagej", [False, True])
def test_a_truncated_file_is_never_taken_for_a_shorter_stack(tmp_path: Path, imagej: bool) -> None:
    path = write(tmp_path, ramp(20, 32, 32), imagej=imagej, metadata={"axes": "ZYX"})
    path.write_bytes(path.read_bytes()[: 10 * 32 * 32 * 2])
    with pytest.raises(FileError, match="truncated"):
        open_stack(path).read(15)


def test_a_file_that_says_nothing_and_breaks_off_gives_a_warning(tmp_path: Path) -> None:
    path = write(tmp_path, ramp(20, 32, 32), metadata=None, compression="zlib")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.warns(DegradedDataWarning, match="may be truncated"):
        open_stack(path)


@pytest.mark.parametrize("content", [b"", b"no image at all", b"II*\0\x08\0\0\0"])
def test_files_that_are_no_tiff(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.tif").write_bytes(content)
    with pytest.raises(FileError, match=r"bad.tif (is empty|cannot be read as TIFF|holds no image)"):
        open_stack(tmp_path / "bad.tif")


def test_pages_of_different_size_are_a_collection(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "mixed.tif") as file:
        for side in (4, 6, 8):
            file.write(np.full((side, side), side, np.uint8), metadata=None)

    with pytest.raises(InputError, match="open_images"):
        open_stack(tmp_path / "mixed.tif")
    images = open_images(tmp_path / "mixed.tif")
    assert [image.plane_shape for image in images] == [(4, 4), (6, 6), (8, 8)]
    assert len({image.name for image in images}) == 3
    assert images[2].read(0).max() == 8


def test_pages_of_a_file_are_a_collection_with_names(tmp_path: Path) -> None:
    array = ramp(3, 8, 9)
    images = open_images(write(tmp_path, array, "nuclei.tif", metadata={"axes": "IYX"}))
    assert [image.name for image in images] == ["nuclei_0000", "nuclei_0001", "nuclei_0002"]
    np.testing.assert_array_equal(images[1].read(0)[..., 0], array[1])


def test_further_images_of_a_file_are_told_of(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "two.ome.tif", ome=True) as file:
        file.write(ramp(3, 8, 9), photometric="minisblack", metadata={"axes": "ZYX", "PhysicalSizeX": 1})
        file.write(ramp(3, 4, 5), photometric="minisblack", metadata={"axes": "ZYX", "PhysicalSizeX": 2})
    with pytest.warns(DegradedDataWarning, match="holds 2 images"):
        assert open_stack(tmp_path / "two.ome.tif").data.shape == (3, 8, 9)
    images = open_images(tmp_path / "two.ome.tif")
    assert [(image.plane_shape, image.scale[1]) for image in images] == [((8, 9), 1)] * 3 + [((4, 5), 2)] * 3


def test_threads_may_share_a_stack(tmp_path: Path) -> None:
    array = ramp(40, 64, 64)
    stack = open_stack(write(tmp_path, array, metadata={"axes": "ZYX"}, compression="zlib"))
    wrong: list[int] = []

    def read(start: int) -> None:
        wrong.extend(p for p in range(start, 40, 4) if not np.array_equal(stack.read(p)[..., 0], array[p]))

    threads = [threading.Thread(target=read, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []

"""OME-Zarr in and out, with ome-zarr-py as the oracle."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr
from ome_zarr.format import FormatV04, FormatV05
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader
from ome_zarr.writer import write_image, write_labels

from napari_incontext_seg.core.stack import Stack
from napari_incontext_seg.errors import FileError, InputError
from napari_incontext_seg.io.labels import LabelWriter
from napari_incontext_seg.io.stacks import open_labels, open_stack

IMAGE = np.arange(2 * 3 * 4 * 8 * 9, dtype=np.uint16).reshape(2, 3, 4, 8, 9)
AXES = list("tczyx")
SCALE, TRANSLATE = [2.0, 1.0, 0.5, 0.1, 0.2], [0.0, 0.0, 10.0, 1.0, 2.0]
UNITS = {"t": "second", **dict.fromkeys("zyx", "micrometer")}
STEPS = dict(zip("tczyx", SCALE, strict=True))


@pytest.fixture(params=[FormatV04(), FormatV05()], ids=["0.4", "0.5"])
def image(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "image.ome.zarr"
    group = zarr.open_group(path, mode="w", zarr_format=request.param.zarr_format)
    write_image(IMAGE, group, axes=AXES, scale=STEPS, axes_units=UNITS, fmt=request.param, scale_factors=[2])
    attributes = dict(group.attrs)
    multiscale = attributes.get("ome", attributes)["multiscales"][0]
    # microscopes say where the image lies, and put what all levels share (here: seconds a frame) beside them
    multiscale["datasets"][0]["coordinateTransformations"] = [
        {"type": "scale", "scale": [1.0, *SCALE[1:]]},
        {"type": "translation", "translation": TRANSLATE},
    ]
    multiscale["coordinateTransformations"] = [{"type": "scale", "scale": [2.0, 1.0, 1.0, 1.0, 1.0]}]
    group.attrs.update(attributes)
    return path


def test_what_ome_zarr_py_writes_is_read(image: Path) -> None:
    stack = open_stack(image, channels=[0, 2])

    assert (stack.axes, stack.grid, stack.name) == ("tczyx", (2, 4), "image")
    assert (stack.scale, stack.translate) == (tuple(SCALE), tuple(TRANSLATE))
    assert stack.units == ("second", "", "micrometer", "micrometer", "micrometer")
    np.testing.assert_array_equal(stack.read(6), np.moveaxis(IMAGE[1, :, 2], 0, -1))


def test_the_labels_inside_an_image_are_found(image: Path) -> None:
    labels = (IMAGE[:, 0] % 5).astype(np.uint32)
    group = zarr.open_group(image, mode="a")
    write_labels(labels, group, name="cells", axes=list("tzyx"), scale_factors=[])

    for path in (image, image / "labels" / "cells"):
        stack = open_labels(path)
        assert stack.axes == "tzyx"
        np.testing.assert_array_equal(stack.read(5)[..., 0], labels[1, 1])


def test_plain_arrays_and_levels_open_too(image: Path, tmp_path: Path) -> None:
    level = min(p.name for p in image.iterdir() if p.is_dir())
    assert open_stack(image / level).data.shape == IMAGE.shape
    zarr.save_array(tmp_path / "plain.zarr", IMAGE[0, 0])
    assert open_stack(tmp_path / "plain.zarr").axes == "zyx"


def test_damaged_and_other_zarr_is_refused(image: Path, tmp_path: Path) -> None:
    zarr.open_group(tmp_path / "empty.zarr", mode="w")
    with pytest.raises(FileError, match="without an OME-Zarr image"):
        open_stack(tmp_path / "empty.zarr")
    plate = zarr.open_group(tmp_path / "plate.zarr", mode="w")
    plate.attrs["ome"] = {"version": "0.5", "plate": {}}
    with pytest.raises(FileError, match="is a plate; open one of its fields"):
        open_stack(tmp_path / "plate.zarr")
    (tmp_path / "broken.zarr").mkdir()
    (tmp_path / "broken.zarr" / "zarr.json").write_text("{")
    with pytest.raises(FileError, match="cannot be read as Zarr"):
        open_stack(tmp_path / "broken.zarr")
    stack = open_stack(image)
    for chunk in [p for p in image.rglob("*") if p.is_file() and not p.name.startswith((".z", "zarr"))]:
        chunk.write_bytes(chunk.read_bytes()[:10])
    with pytest.raises(FileError, match="may be damaged"):
        stack.read(0)


def test_metadata_that_are_not_valid_are_told_in_plain_words(image: Path) -> None:
    group = zarr.open_group(image, mode="a")
    attributes = dict(group.attrs)
    axes = attributes.get("ome", attributes)["multiscales"][0]["axes"]
    axes[1], axes[2] = axes[2], axes[1]
    group.attrs.update(attributes)
    with pytest.raises(FileError, match=r"multiscales.0.axes: Axes are not in the required order") as told:
        open_stack(image)
    assert "pydantic" not in str(told.value)
    assert "input_value" not in str(told.value)
    inside = str(told.value).split("such as ")[1].split(",")[0]
    assert open_stack(inside, axes="tzcyx").axes == "tzcyx"


def test_labels_written_are_what_ome_zarr_py_and_we_read(image: Path, tmp_path: Path) -> None:
    like, out = open_stack(image), tmp_path / "out.zarr"
    labels = (IMAGE[:, 0] * 7).astype(np.uint32).reshape(-1, 8, 9)
    with LabelWriter(out, like, dtype=np.uint8, provenance={"model": "guess", "settings": {"memory": 0}}) as writer:
        for position, plane in enumerate(labels):
            writer.write(position, plane, np.full((8, 9), 0.25))
        assert writer.finish() == [out]

    node = next(iter(Reader(parse_url(out))()))
    assert "Label" in {type(spec).__name__ for spec in node.specs}
    np.testing.assert_array_equal(np.asarray(node.data[0]), labels.reshape(2, 4, 8, 9))
    assert node.metadata["coordinateTransformations"][0][0]["scale"] == [2.0, 0.5, 0.1, 0.2]
    assert [a["name"] for a in node.metadata["axes"]] == ["t", "z", "y", "x"]

    ours = open_labels(out)
    assert (ours.axes, ours.data.dtype) == ("tzyx", np.uint16)
    assert ours.units == ("second", "micrometer", "micrometer", "micrometer")
    assert ours.translate == (0.0, 10.0, 1.0, 2.0)
    assert open_stack(out / "confidence").read(0).max() == 0.25
    group = zarr.open_group(out, mode="r")
    assert group["0"].chunks == (1, 1, 8, 9)
    record = group.attrs["napari-incontext-seg"]
    assert (record["model"], record["complete"], record["settings"]) == ("guess", True, {"memory": 0})


def test_axes_are_put_in_the_order_ome_zarr_wants(tmp_path: Path) -> None:
    array = np.arange(3 * 2 * 4 * 5, dtype=np.uint16).reshape(3, 2, 4, 5)
    like = Stack(array, "ztyx")
    with LabelWriter(tmp_path / "o.zarr", like) as writer:
        for position in range(6):
            writer.write(position, like.read(position)[..., 0])
    written = open_labels(tmp_path / "o.zarr")
    assert written.axes == "tzyx"
    np.testing.assert_array_equal(np.asarray(written.data[:, :, :, :]), array.transpose(1, 0, 2, 3))


def test_several_label_images_have_to_be_chosen_from(image: Path) -> None:
    group = zarr.open_group(image, mode="a")
    for name in ("cells", "nuclei"):
        write_labels(np.zeros((8, 9), np.uint8), group, name=name, axes=["y", "x"],
                     scale_factors=[])  # fmt: skip
    with pytest.raises(InputError, match=r"several label images.*cells.*nuclei"):
        open_labels(image)
    shutil.rmtree(image / "labels" / "nuclei")
    assert open_labels(image / "labels" / "cells").axes == "yx"

"""Labels as OME-Zarr: several resolutions, alone or inside an image, as ome-zarr-py and napari read them."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from ome_zarr.format import FormatV04, FormatV05
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader
from ome_zarr.writer import write_image

from napari_incontext_seg.cli.main import main
from napari_incontext_seg.core.example_set import ExampleItem, ExampleSet
from napari_incontext_seg.core.stack import Stack
from napari_incontext_seg.core.types import Example
from napari_incontext_seg.errors import FileError, InputError
from napari_incontext_seg.io.example_sets import save_examples
from napari_incontext_seg.io.labels import LabelWriter, recorded_provenance
from napari_incontext_seg.io.pyramid import level_shapes, levels
from napari_incontext_seg.io.stacks import open_labels, open_stack

SIZE = 600, 520
SCALE = (2.0, 0.5, 0.25)
CLASSES = {"class_names": {1: "wall", 2: "cell"}, "class_colors": {1: (1.0, 0.0, 0.5)}}


def planes() -> np.ndarray:
    labels = np.zeros((3, *SIZE), np.uint32)
    for z in range(3):
        labels[z, 100 + z : 300, 50:400] = 7
        labels[z, 400:500, 300:500] = 300
    return labels


def like() -> Stack:
    micrometers = ("micrometer",) * 3
    return Stack(np.zeros((3, *SIZE), np.uint8), "zyx", SCALE, micrometers, (0.0, 10.0, 0.0), name="image")


def write(path: Path, **options: Any) -> Path:
    with LabelWriter(path, like(), **options) as writer:
        for position, plane in enumerate(planes()):
            writer.write(position, plane, np.full(SIZE, 0.5, np.float32))
    return path


def image(folder: Path, fmt: Any = None) -> Path:
    fmt = fmt or FormatV05()
    group = zarr.open_group(folder / "image.ome.zarr", mode="w", zarr_format=fmt.zarr_format)
    write_image((planes() > 0).astype(np.uint8) * 200, group, axes=list("zyx"), fmt=fmt, scale_factors=[])
    return folder / "image.ome.zarr"


# -- pyramid ----------------------------------------------------------------------------------------------------------
def test_of_four_labels_the_most_frequent_is_kept_and_what_is_thin_does_not_vanish() -> None:
    plane = np.zeros((258, 258), np.uint16)
    plane[0:2, 0:2] = [[5, 5], [5, 9]]
    plane[0:2, 2:4] = [[0, 0], [3, 3]]
    plane[0:2, 4:6] = [[0, 0], [0, 3]]
    plane[0:2, 6:8] = [[1, 2], [3, 4]]
    plane[0:2, 8:10] = [[9, 1], [8, 1]]
    _, half = levels(plane)
    assert half.dtype == np.uint16
    assert half[0, :5].tolist() == [5, 3, 0, 1, 1]


def test_levels_end_where_a_plane_fits_a_screen_and_odd_edges_are_kept() -> None:
    assert level_shapes(1025, 10) == [(1025, 10), (513, 5), (257, 3), (129, 2)]
    assert level_shapes(256, 256) == [(256, 256)]
    assert level_shapes(1, 600) == [(1, 600), (1, 300), (1, 150)]
    plane = np.ones((257, 257), np.float32)
    assert [level.shape for level in levels(plane)] == level_shapes(257, 257)
    assert all((level == 1).all() for level in levels(plane))


# -- alone ------------------------------------------------------------------------------------------------------------
def test_ome_zarr_py_reads_all_resolutions_with_their_places(tmp_path: Path) -> None:
    out = write(tmp_path / "out.zarr", **CLASSES)
    node = next(iter(Reader(parse_url(out))()))
    assert "Label" in {type(spec).__name__ for spec in node.specs}
    assert [level.shape for level in node.data] == [(3, 600, 520), (3, 300, 260), (3, 150, 130)]
    np.testing.assert_array_equal(np.asarray(node.data[0]), planes())
    assert set(np.unique(np.asarray(node.data[2]))) == {0, 7, 300}
    scales = [level[0]["scale"] for level in node.metadata["coordinateTransformations"]]
    starts = [level[1]["translation"] for level in node.metadata["coordinateTransformations"]]
    assert scales == [[2.0, 0.5, 0.25], [2.0, 1.0, 0.5], [2.0, 2.0, 1.0]]
    assert starts == [[0.0, 10.0, 0.0], [0.0, 10.25, 0.125], [0.0, 10.75, 0.375]]
    assert node.metadata["color"][1] == [1.0, 0.0, 128 / 255, 1.0]
    group = zarr.open_group(out, mode="r")
    said = group.attrs["ome"]["image-label"]
    assert said["colors"] == [{"label-value": 1, "rgba": [255, 0, 128, 255]}]
    assert [(p["label-value"], p["name"]) for p in said["properties"]] == [(1, "wall"), (2, "cell")]
    assert group["0"].chunks == (1, 600, 520)
    ours = open_labels(out)
    assert (ours.scale, ours.translate, ours.units) == (SCALE, (0.0, 10.0, 0.0), ("micrometer",) * 3)
    assert open_stack(out / "confidence").read(2).min() == 0.5


def test_napari_shows_the_resolutions_as_one_lazy_layer(tmp_path: Path) -> None:
    layers = pytest.importorskip("napari.layers")
    node = next(iter(Reader(parse_url(write(tmp_path / "out.zarr")))()))
    layer = layers.Labels(node.data, scale=SCALE, multiscale=True)
    assert (layer.multiscale, len(layer.data), layer.data[0].shape) == (True, 3, (3, 600, 520))
    assert np.asarray(layer.data[1][1]).max() == 300


def test_no_volume_is_ever_in_memory(tmp_path: Path) -> None:
    blank = np.broadcast_to(np.zeros(1, np.uint8), (60, 512, 512))
    plane = np.ones((512, 512), np.uint8)
    with LabelWriter(tmp_path / "out.zarr", Stack(blank, "zyx")) as writer:
        for position in range(60):
            writer.write(position, plane, plane.astype(np.float32))
        tracemalloc.start()
        writer.finish()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 12 * plane.size * 4  # a few planes; the volume is 60


# -- inside an image --------------------------------------------------------------------------------------------------
def test_labels_become_a_part_of_an_image(tmp_path: Path) -> None:
    inside = image(tmp_path)
    write(inside / "labels" / "cells", provenance={"model": "guess"})
    write(inside / "labels" / "walls")

    assert zarr.open_group(inside / "labels", mode="r").attrs["ome"]["labels"] == ["cells", "walls"]
    found = [node for node in Reader(parse_url(inside))() if "Label" in {type(spec).__name__ for spec in node.specs}]
    assert len(found) == 2  # ome-zarr-py finds them from the image
    for node in found:
        np.testing.assert_array_equal(np.asarray(node.data[0]), planes())
    said = zarr.open_group(inside / "labels" / "cells", mode="r").attrs["ome"]["image-label"]
    assert said["source"] == {"image": "../../"}
    np.testing.assert_array_equal(open_labels(inside / "labels" / "walls").read(1)[..., 0], planes()[1])
    assert open_stack(inside).data.shape == (3, *SIZE)
    assert recorded_provenance(inside / "labels" / "cells")["model"] == "guess"
    assert [f.name for f in tmp_path.iterdir()] == ["image.ome.zarr"]
    with pytest.raises(FileError, match="exists"):
        write(inside / "labels" / "cells")
    write(inside / "labels" / "cells", overwrite=True)
    assert zarr.open_group(inside / "labels", mode="r").attrs["ome"]["labels"] == ["cells", "walls"]


def test_an_image_of_the_older_version_takes_none(tmp_path: Path) -> None:
    inside = image(tmp_path, FormatV04())
    with pytest.raises(InputError, match=r"written as OME-Zarr 0\.5.*write them beside it"):
        LabelWriter(inside / "labels" / "cells", like())
    assert not (inside / "labels").exists()


def test_the_command_line_writes_into_an_image_with_the_colours_of_its_examples(tmp_path: Path) -> None:
    inside = image(tmp_path)
    stack = open_stack(inside).normalized()
    example = Example(stack.plane(0), (planes()[0] > 0).astype(np.uint32))
    examples = ExampleSet((ExampleItem(example, "first", "image", 0),), "semantic", {1: "cell"}, {1: (0.0, 1.0, 0.0)})
    save_examples(tmp_path / "set.incontext", examples)
    line = ["propagate", str(inside), "--examples", str(tmp_path / "set.incontext"), "--model", "guess"]
    assert main([*line, "--quality", "fast", "--range", "0:2", "--out", str(inside / "labels" / "cells")]) == 0

    said = json.loads((inside / "labels" / "cells" / "zarr.json").read_text())["attributes"]["ome"]["image-label"]
    assert said["colors"] == [{"label-value": 1, "rgba": [0, 255, 0, 255]}]
    assert said["properties"] == [{"label-value": 1, "name": "cell"}]
    assert (tmp_path / "image_cells.png").exists()
    assert sorted(f.name for f in (inside / "labels").iterdir()) == ["cells", "zarr.json"]

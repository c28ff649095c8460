"""``incontext-seg clean``, as a person types it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile

from napari_incontext_seg.cli.main import main
from napari_incontext_seg.io.ome_zarr import write_ome_zarr_image
from napari_incontext_seg.io.stacks import open_labels, open_stack


@pytest.fixture
def painted(tmp_path):
    """Three slices of two touching discs under one label, with specks; the file."""
    y, x = np.mgrid[:40, :60]
    cells = ((y - 20) ** 2 + (x - 20) ** 2 <= 14**2) | ((y - 20) ** 2 + (x - 43) ** 2 <= 11**2)
    labels = np.zeros((3, 40, 60), np.uint8)
    labels[:2] = cells * 5
    labels[0, 2, 2] = labels[1, 38, 58] = 5
    tifffile.imwrite(tmp_path / "labels.tif", labels, imagej=True, metadata={"axes": "ZYX"})
    return tmp_path / "labels.tif"


def run(labels, out, *steps, more=()):
    return main(["clean", str(labels), "--out", str(out), *(a for s in steps for a in ("--do", s)), *more])


def test_steps_are_done_one_after_the_other(painted, tmp_path, capsys):
    out = tmp_path / "clean.tif"
    assert run(painted, out, "drop_small:4", "split:0.75") == 0
    assert "2 of 3 slices changed" in capsys.readouterr().out
    found, before = tifffile.imread(out), tifffile.imread(painted)
    before[0, 2, 2] = before[1, 38, 58] = 0
    np.testing.assert_array_equal(found > 0, before > 0)
    assert [len(np.unique(plane)) for plane in found] == [3, 3, 1]
    assert json.loads((tmp_path / "clean.json").read_text())["cleaned"] == ["drop_small:4", "split:0.75"]


def test_splitting_is_undone_by_joining(painted, tmp_path):
    assert run(painted, tmp_path / "apart.zarr", "split:0.75") == 0
    assert run(tmp_path / "apart.zarr", tmp_path / "joined.tif", "join") == 0
    joined, before = tifffile.imread(tmp_path / "joined.tif"), tifffile.imread(painted)
    np.testing.assert_array_equal(joined > 0, before > 0)
    assert (joined[0][before[0] == 5] == 5).mean() > 0.99  # the speck is an object of its own


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("erode", "clean-up must be one of"),
        ("split:2", "0 to 1"),
        ("smooth:wide", "WHAT:SIZE"),
        ("smooth:-1", "0 or more"),
        ("smooth", "such as smooth:2"),
        ("drop_small", "such as drop_small:30"),
        ("drop_small:0", "such as drop_small:30"),
        ("join:3", "takes no size"),
    ],
)
def test_what_is_no_clean_up_is_refused_before_anything_is_written(painted, tmp_path, capsys, step, message):
    assert run(painted, tmp_path / "clean.tif", step) == 2
    assert message in capsys.readouterr().err
    assert sorted(f.name for f in tmp_path.iterdir()) == ["labels.tif"]


def test_labels_inside_an_image_are_not_written_over_by_what_is_made_of_them(painted, tmp_path, capsys):
    write_ome_zarr_image(
        tmp_path / "image.zarr", iter(np.zeros((3, 40, 60), np.uint8)), open_stack(painted), np.dtype(np.uint8)
    )
    inside = tmp_path / "image.zarr" / "labels" / "cells"
    assert run(painted, inside, "join") == 0
    assert run(tmp_path / "image.zarr", inside, "drop_small:100000", more=["--overwrite"]) == 1
    assert "is an input, which is never written over" in capsys.readouterr().err
    assert open_labels(inside).data[:].max() == 5
    assert run(tmp_path / "image.zarr", inside.with_name("fewer"), "drop_small:100000") == 0


def test_nothing_is_written_over_the_input_or_earlier_results(painted, tmp_path, capsys):
    assert run(painted, painted, "join", more=["--overwrite"]) == 1
    assert run(painted, tmp_path / "clean.tif", "join") == 0
    assert run(painted, tmp_path / "clean.tif", "join") == 1
    assert run(painted, tmp_path / "clean.tif", "join", more=["--overwrite"]) == 0
    capsys.readouterr()

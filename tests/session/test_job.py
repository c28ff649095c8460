"""A run into a file, and what is said about it."""

import json

import numpy as np
import pytest
import tifffile
from fakes import ThresholdPredictor
from PIL import Image

from napari_incontext_seg.core.stack import Stack
from napari_incontext_seg.errors import DegradedDataWarning, FileError, InputError
from napari_incontext_seg.infer.propagate import propagate
from napari_incontext_seg.session.job import run_to_file


@pytest.fixture
def stack():
    """Bright blocks that move; slice 4 is dim, so that a threshold is unsure of it."""
    data = np.zeros((6, 20, 16), np.uint8)
    for z in range(6):
        data[z, 3:9, z : z + 6] = 160 if z == 4 else 250
    return Stack(data, "zyx")


def truth(stack):
    return (stack.data > 0).astype(np.uint8) * 2


def run(stack, **settings):
    return propagate(stack, {0: truth(stack)[0]}, ThresholdPredictor(), **settings)


def test_files_dice_and_the_least_sure_slice(stack, tmp_path):
    report = run_to_file(
        run(stack),
        tmp_path / "out.tif",
        picture=tmp_path / "out.png",
        truth=Stack(truth(stack), "zyx"),
        settings={"a": 1},
    )
    assert report.complete
    assert report.annotated == [0]
    assert sorted(report.confidence) == [1, 2, 3, 4, 5]
    assert report.least_sure[0] == 4
    assert report.mean_dice == 1
    assert [f.name for f in report.files] == ["out.tif", "out_confidence.tif", "out.json", "out.png"]
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif"), truth(stack))
    record = json.loads((tmp_path / "out.json").read_text())
    assert record["model"] == "threshold"
    assert record["settings"] == {"a": 1}
    assert record["value_range"] == {"low": [0], "high": [250]}
    assert record["complete"]
    assert Image.open(tmp_path / "out.png").width > 100
    assert json.loads(json.dumps(report.as_dict()))["dice"] == 1


def test_what_is_finished_when_a_run_is_cut_short_is_kept(stack, tmp_path):
    def stop(step):
        if step.position == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_to_file(run(stack), tmp_path / "out.tif", on_step=stop)
    out = tifffile.imread(tmp_path / "out.tif")
    assert [bool(plane.any()) for plane in out] == [True, True, True, False, False, False]
    record = json.loads((tmp_path / "out.json").read_text())
    assert not record["complete"]
    assert record["finished"] == [0, 1, 2]


def test_an_existing_picture_is_refused_before_the_run(stack, tmp_path):
    (tmp_path / "out.png").write_text("mine")
    with pytest.raises(FileError, match="exists"):
        run_to_file(run(stack), tmp_path / "out.tif", picture=tmp_path / "out.png")
    assert not (tmp_path / "out.tif").exists()


def test_a_run_that_was_to_replace_another_goes_on_with_its_picture_too(stack, tmp_path):
    files = {"out": tmp_path / "out.tif", "picture": tmp_path / "out.png"}
    run_to_file(run(stack), **files)

    def stop(step):
        if step.position == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_to_file(run(stack), **files, overwrite=True, settings={"a": 1}, on_step=stop)
    assert run_to_file(run(stack), **files, resume=True, settings={"a": 1}).complete


@pytest.mark.parametrize("value", [255, 1])
def test_a_truth_that_counts_in_another_way_is_doubted(stack, tmp_path, value):
    other = np.where(truth(stack) > 0, value, 0).astype(np.uint8)
    with pytest.warns(DegradedDataWarning, match=f"the truth holds the labels {value}, the examples .*: Dice compares"):
        run_to_file(run(stack), tmp_path / "out.tif", truth=Stack(other, "zyx"))


def test_a_truth_of_another_shape_is_refused(stack, tmp_path):
    with pytest.raises(InputError, match="the truth must match the image, 6 slices"):
        run_to_file(run(stack), tmp_path / "out.tif", truth=Stack(truth(stack)[:3], "zyx"))


def test_the_picture_of_a_long_run_shows_a_dozen_slices(tmp_path):
    data = np.zeros((40, 8, 8), np.uint8)
    data[:, 2:5, 2:5] = 200
    stack = Stack(data, "zyx")
    labels = (data[0] > 0).astype(int)
    report = run_to_file(
        propagate(stack, dict.fromkeys(range(0, 40, 4), labels), ThresholdPredictor()),
        tmp_path / "out.zarr",
        picture=tmp_path / "out.png",
    )
    assert len(report.annotated) == 10
    assert (tmp_path / "out.png").exists()


def test_slices_of_several_axes_are_told_by_all_of_them(stack, tmp_path):
    hyper = Stack(stack.data.reshape(2, 3, 20, 16), "tzyx")
    report = run_to_file(propagate(hyper, {0: truth(stack)[0]}, ThresholdPredictor()), tmp_path / "out.tif")
    assert report.name(report.least_sure[0]) == "t 1, z 1 (slice 4)"
    assert report.as_dict()["least_sure"][0] == 4
    assert "4" in report.as_dict()["confidence"]

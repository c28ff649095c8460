"""A run that another process takes over paints the same."""

import numpy as np
import pytest
from fakes import ThresholdPredictor

from napari_incontext_seg.core.stack import Stack
from napari_incontext_seg.core.types import Context, Example
from napari_incontext_seg.errors import FileError
from napari_incontext_seg.infer.portable import load_run, save_run
from napari_incontext_seg.infer.propagate import propagate


def full_run(predictor):
    """A run that uses everything a run can have."""
    noise = np.random.default_rng(0)
    image = noise.integers(0, 60000, (2, 3, 2, 12, 10), np.uint16)
    scribble = np.full((12, 10), 255)
    scribble[:3], scribble[8:] = 0, 5
    other = Example(noise.random((20, 16, 3), np.float32), noise.integers(0, 2, (20, 16)), spacing=(0.25, 0.3))
    stack = Stack(
        image, "tzcyx", (2, 1, 1, 0.5, 0.6), ("second", "micrometer", "", "um", "um"), (0, 3, 0, 0, 0), (1, 0)
    )
    return propagate(
        stack, {1: scribble, 4: (image[1, 1, 0] > 30000) * 3}, predictor, memory=2, num_examples=1, select="similar",
        ignore_label=255, context=Context((other,), "semantic", {1: "nucleus"}),
    )  # fmt: skip


def test_everything_of_a_run_is_kept(tmp_path):
    here, there = ThresholdPredictor(), ThresholdPredictor()
    run = full_run(here)
    save_run(tmp_path, run)
    again = load_run(tmp_path, there)
    assert again.positions == run.positions
    assert again.context.class_names == {1: "nucleus"}
    for a, b in zip(run, again, strict=True):
        assert (a.position, a.annotated) == (b.position, b.annotated)
        np.testing.assert_array_equal(a.segmentation.labels, b.segmentation.labels)
        np.testing.assert_array_equal(a.segmentation.confidence, b.segmentation.confidence)
    assert [c.fingerprint for c in there.contexts] == [c.fingerprint for c in here.contexts]


def test_colours_mixed_from_channels_are_kept(tmp_path):
    stack = Stack(np.random.default_rng(0).random((2, 4, 6, 5)), "zcyx", mix=np.eye(4, 3, dtype=np.float32))
    run = propagate(stack, {0: np.eye(6, 5)}, ThresholdPredictor())
    save_run(tmp_path, run)
    np.testing.assert_array_equal(load_run(tmp_path, ThresholdPredictor()).stack.plane(1), run.stack.plane(1))


def test_a_run_that_is_not_there_or_damaged_is_told(tmp_path):
    with pytest.raises(FileError, match="on a disk that all machines see"):
        load_run(tmp_path, ThresholdPredictor())
    save_run(tmp_path, full_run(ThresholdPredictor()))
    file = tmp_path / "run.safetensors"
    file.write_bytes(file.read_bytes().replace(b"nucleus", b"nucle\xff\xff"))
    with pytest.raises(FileError, match="damaged"):
        load_run(tmp_path, ThresholdPredictor())

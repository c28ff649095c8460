"""Examples from another image are brought to this image's pixel size."""

import numpy as np
import pytest

from napari_incontext_seg.core.spacing import match_context, match_spacing
from napari_incontext_seg.core.stack import Stack
from napari_incontext_seg.core.types import Context, Example


def example(spacing=None):
    labels = np.zeros((20, 30), np.uint32)
    labels[5:15, 10:20] = 4_000_000_000
    valid = np.ones((20, 30), bool)
    valid[:, :4] = False
    return Example((labels > 0).astype(np.float32), labels, valid, spacing)


def test_finer_pixels_make_the_example_larger():
    matched = match_spacing(example((1.0, 1.0)), (0.5, 0.25))
    assert matched.labels.shape == (40, 120)
    assert matched.spacing == (0.5, 0.25)
    assert set(np.unique(matched.labels)) == {0, 4_000_000_000}
    assert (matched.labels > 0).sum() == 20 * 40
    assert not matched.valid[:, :15].any()
    assert matched.valid[:, 17:].all()


def test_coarser_pixels_make_it_smaller():
    matched = match_spacing(example((1.0, 1.0)), (2.0, 2.0))
    assert matched.image.shape == (10, 15, 1)
    assert matched.image.max() <= 1


def test_unknown_or_equal_sizes_change_nothing():
    for own, other in (((1.0, 1.0), None), (None, (1.0, 1.0)), ((1.0, 1.0), (1.01, 1.0))):
        one = example(own)
        assert match_spacing(one, other) is one
        context = Context((one,))
        assert match_context(context, other) is context


def test_pixel_sizes_are_compared_in_micrometers_whatever_the_file_said():
    fine = Stack(np.zeros((3, 4), np.uint8), "yx", scale=(250, 250), units=("nanometer",) * 2)
    assert fine.spacing == pytest.approx((0.25, 0.25))
    assert Stack(fine.data, "yx", scale=(0.25, 0.5), units=("µm", "um")).spacing == (0.25, 0.5)
    for unit in ("", "pixel", "second"):
        assert Stack(fine.data, "yx", units=(unit,) * 2).spacing is None

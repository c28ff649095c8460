"""Examples from another image are brought to this image's pixel size."""

import numpy as np
import pytest
from skimage.transform import resize

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


@pytest.mark.parametrize("size", [0.2, 0.3, 0.4, 0.5, 3.0])
def test_thin_strokes_stay_where_pixels_become_larger(size):
    labels = np.zeros((60, 60), np.uint32)
    labels[10, 5:40], labels[41, 5:50] = 1, 4_000_000_000
    one = Example(np.zeros((60, 60), np.float32), labels, labels > 0, (0.1, 0.1))
    matched = match_spacing(one, (size, size))
    n = len(matched.labels)
    wanted = np.zeros((n, n), np.uint32)
    for y, x in np.argwhere(labels):
        wanted[(2 * y + 1) * n // 120, (2 * x + 1) * n // 120] = labels[y, x]
    np.testing.assert_array_equal(matched.labels, wanted)
    np.testing.assert_array_equal(matched.valid, wanted > 0)


def test_the_most_frequent_annotated_label_is_taken_and_an_object_before_background():
    labels = np.array([[1, 1, 0, 2, 0, 5], [0, 9, 0, 2, 9, 9]], np.uint32)
    valid = np.array([[1, 1, 1, 1, 0, 1], [1, 0, 1, 1, 0, 0]], bool)
    matched = match_spacing(Example(np.zeros((2, 6), np.float32), labels, valid, (1.0, 1.0)), (2.0, 2.0))
    assert matched.labels.tolist() == [[1, 2, 5]]
    taller = match_spacing(Example(np.zeros((2, 6), np.float32), labels, valid, (1.0, 1.0)), (0.5, 3.0))
    assert taller.labels.tolist() == [[1, 5]] * 2 + [[0, 2]] * 2
    assert taller.valid.all()


def test_what_is_annotated_throughout_is_sampled_as_ever():
    labels = np.random.default_rng(0).integers(0, 4, (37, 53)).astype(np.uint32)
    one = Example(np.zeros((37, 53), np.float32), labels, spacing=(1.0, 1.0))
    matched = match_spacing(one, (2.3, 1.7))
    nearest = resize(labels.astype(float), (16, 31), order=0, preserve_range=True, anti_aliasing=False)
    np.testing.assert_array_equal(matched.labels, nearest)
    assert matched.valid.all()


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

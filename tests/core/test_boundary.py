"""J and F of the DAVIS challenge, on masks whose scores are known by hand."""

from __future__ import annotations

import numpy as np
import pytest

from napari_incontext_seg.core.boundary import boundary_f, jaccard
from napari_incontext_seg.errors import InputError


def square(y: int, x: int, side: int = 20, shape: tuple[int, int] = (100, 100)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[y : y + side, x : x + side] = True
    return mask


def test_equal_masks_score_one() -> None:
    assert jaccard(square(10, 10), square(10, 10)) == boundary_f(square(10, 10), square(10, 10)) == 1


def test_two_empty_masks_score_one_and_an_empty_one_beside_a_full_one_zero() -> None:
    empty = np.zeros((100, 100), bool)
    assert jaccard(empty, empty) == boundary_f(empty, empty) == 1
    assert jaccard(empty, square(10, 10)) == boundary_f(square(10, 10), empty) == 0


def test_jaccard_is_intersection_over_union() -> None:
    assert jaccard(square(10, 10), square(10, 20)) == pytest.approx(200 / 600)


def test_a_boundary_within_the_tolerance_counts_as_found() -> None:
    # 0.008 of the diagonal of 100 x 100 is 1.13 px, rounded up to 2
    assert boundary_f(square(12, 10), square(10, 10)) == 1
    assert boundary_f(square(15, 10), square(10, 10)) < 1
    assert boundary_f(square(60, 60), square(10, 10)) == 0


def test_half_of_the_boundary_found_is_recall_and_not_precision() -> None:
    both = square(10, 10) | square(60, 60)
    assert boundary_f(square(10, 10), both) == pytest.approx(2 / 3)


def test_masks_of_different_shape_are_refused() -> None:
    with pytest.raises(InputError, match="one shape"):
        jaccard(np.zeros((3, 3)), np.zeros((4, 4)))

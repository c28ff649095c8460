"""Clean-up of painted labels: what goes, what stays, and that ids are never changed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from napari_incontext_seg.core.cleanup import (
    OPERATIONS,
    Operation,
    clean_up,
    drop_small,
    fill_holes,
    join,
    keep_largest,
    smooth,
    split,
)
from napari_incontext_seg.errors import InputError

LARGE_ID = 2**32 - 1
SIZES = st.sampled_from([0, 0.75, 1, 2, 4])
PLANES = arrays.arrays(
    np.uint32,
    arrays.array_shapes(min_dims=2, max_dims=2, max_side=12),
    elements=st.sampled_from([0, 0, 1, 7, LARGE_ID]),
)


def disc(shape: tuple[int, int], center: tuple[int, int], radius: float) -> np.ndarray:
    rows, columns = np.indices(shape)
    return (rows - center[0]) ** 2 + (columns - center[1]) ** 2 <= radius**2


# -- fill holes ---------------------------------------------------------------------------------------------------
def test_a_hole_is_filled_with_the_label_around_it() -> None:
    ring = disc((20, 20), (10, 10), 8) & ~disc((20, 20), (10, 10), 3)
    np.testing.assert_array_equal(fill_holes(ring * np.uint32(9)), disc((20, 20), (10, 10), 8) * np.uint32(9))


def test_another_label_in_a_hole_is_not_painted_over() -> None:
    """A nucleus in a cell stays a nucleus; the gap between the two becomes cell."""
    cell, nucleus = disc((30, 30), (15, 15), 12), disc((30, 30), (15, 15), 4)
    gap = disc((30, 30), (15, 15), 6) & ~nucleus
    filled = fill_holes(np.where(nucleus, 2, np.where(gap, 0, cell)).astype(np.uint32))
    np.testing.assert_array_equal(filled, np.where(nucleus, 2, cell))


@pytest.mark.parametrize(("outer", "inner"), [(1, 2), (2, 1)])
def test_of_two_rings_the_inner_one_fills_its_hole(outer: int, inner: int) -> None:
    rings = np.zeros((9, 9), np.uint32)
    rings[0:9, 0:9], rings[1:8, 1:8] = outer, 0
    rings[2:7, 2:7], rings[3:6, 3:6] = inner, 0
    filled = fill_holes(rings)
    assert (filled[3:6, 3:6] == inner).all()
    assert (filled[1, 1:8] == outer).all()


def test_holes_between_walls_can_be_left() -> None:
    """Of labelled cell walls the cells themselves are holes: only those up to a size are filled."""
    walls = np.ones((12, 12), np.uint32)
    walls[1:11, 1:6] = 0  # a cell
    walls[4, 9] = 0  # a missing pixel
    filled = fill_holes(walls, max_area=10)
    assert (filled[1:11, 1:6] == 0).all()
    assert filled[4, 9] == 1


def test_a_bay_at_the_border_of_the_image_is_no_hole() -> None:
    bay = np.ones((6, 6), np.uint32)
    bay[0, 2:4] = 0
    np.testing.assert_array_equal(fill_holes(bay), bay)


# -- drop small ---------------------------------------------------------------------------------------------------
def test_small_pieces_become_background() -> None:
    labels = disc((20, 20), (8, 8), 5) * np.uint32(3)
    specked = labels.copy()
    specked[18, 18], specked[17:19, 1] = 3, LARGE_ID
    np.testing.assert_array_equal(drop_small(specked, min_area=3), labels)


def test_a_diagonal_line_is_one_piece() -> None:
    line = np.eye(8, dtype=np.uint32)
    np.testing.assert_array_equal(drop_small(line, min_area=8), line)
    assert not drop_small(line, min_area=9).any()


# -- keep largest -------------------------------------------------------------------------------------------------
def test_the_largest_piece_of_each_label_stays() -> None:
    labels = np.array([[1, 1, 0, 1], [0, 0, 0, 0], [7, 0, 7, 7], [7, 0, 0, 0]], np.uint32)
    expected = np.array([[1, 1, 0, 0], [0, 0, 0, 0], [7, 0, 0, 0], [7, 0, 0, 0]], np.uint32)
    np.testing.assert_array_equal(keep_largest(labels), expected)


# -- smooth -------------------------------------------------------------------------------------------------------
def test_smoothing_takes_bumps_and_notches_away() -> None:
    clean = disc((40, 40), (20, 20), 12)
    rough = clean.copy()
    rough[20, 32:36], rough[8:11, 20] = True, False
    smoothed = smooth(rough * np.uint32(4), radius=2) == 4
    assert np.count_nonzero(smoothed ^ clean) < np.count_nonzero(rough ^ clean)
    assert not smoothed[20, 34:].any()
    assert smoothed[10, 20]


def test_smoothing_opens_no_gap_between_two_objects() -> None:
    halves = np.where(np.arange(20) < 10, 5, 6).astype(np.uint32) * np.ones((20, 1), np.uint32)
    halves[::3, 9] = 6  # a ragged border
    smoothed = smooth(halves, radius=2)
    assert set(np.unique(smoothed)) == {5, 6}
    assert len(np.unique(smoothed[4:-4], axis=0)) == 1  # straight


def test_an_object_too_small_to_smooth_is_kept() -> None:
    labels = np.zeros((20, 20), np.uint32)
    labels[4, 4], labels[10:18, 10:18] = 11, 12
    assert smooth(labels, radius=2)[4, 4] == 11


def test_thin_walls_survive_a_little_smoothing() -> None:
    walls = np.zeros((20, 20), np.uint32)
    walls[:, 8:10] = 1
    np.testing.assert_array_equal(smooth(walls, radius=1), walls)


# -- split and join -----------------------------------------------------------------------------------------------
def two_touching() -> np.ndarray:
    """Two discs of one label that overlap a little, the left one larger."""
    return disc((40, 60), (20, 20), 14) | disc((40, 60), (20, 43), 11)


def test_two_cells_that_touch_are_split_at_their_waist_and_the_larger_keeps_its_number() -> None:
    apart = split(two_touching() * np.uint32(9), neck=0.75)
    assert set(np.unique(apart)) == {0, 1, 9}
    np.testing.assert_array_equal(apart > 0, two_touching())
    assert (apart[:, :30][two_touching()[:, :30]] == 9).mean() > 0.98
    assert (apart[:, 36:][two_touching()[:, 36:]] == 1).mean() > 0.98


def test_pieces_that_do_not_touch_become_objects_and_a_neck_of_0_cuts_no_piece() -> None:
    far = np.concatenate([two_touching(), disc((40, 20), (20, 10), 6)], axis=1)
    apart = split(far * np.uint32(1), neck=0)
    assert set(np.unique(apart)) == {0, 1, 2}
    np.testing.assert_array_equal(apart == 1, np.concatenate([two_touching(), np.zeros((40, 20), bool)], axis=1))


def test_numbers_of_other_objects_are_not_given_away() -> None:
    plane = np.concatenate([two_touching() * np.uint32(2), disc((40, 20), (20, 10), 6) * np.uint32(1)], axis=1)
    apart = split(plane, neck=0.75)
    assert set(np.unique(apart)) == {0, 1, 2, 3}
    np.testing.assert_array_equal(apart == 1, plane == 1)


def test_what_touches_is_joined_under_the_number_of_the_largest() -> None:
    apart = np.where(two_touching(), np.where(np.arange(60) < 33, np.uint32(4), np.uint32(2)), np.uint32(0))
    np.testing.assert_array_equal(join(apart), two_touching() * np.uint32(4))
    far = np.concatenate([apart, disc((40, 20), (20, 10), 6) * np.uint32(4)], axis=1)
    np.testing.assert_array_equal(join(far)[:, 60:], far[:, 60:])  # one number, but it does not touch


# -- all of them --------------------------------------------------------------------------------------------------
@settings(max_examples=60, deadline=None)
@given(PLANES, st.sampled_from(OPERATIONS), SIZES)
def test_ids_shape_and_type_are_kept_and_the_input_too(labels: np.ndarray, operation: Operation, size: int) -> None:
    before = labels.copy()
    cleaned = clean_up(labels, operation, min(size, 1) if operation == "split" else size)
    assert cleaned.shape == labels.shape
    assert cleaned.dtype == np.uint32
    if operation != "split":
        assert set(np.unique(cleaned)) <= {0, *np.unique(labels).tolist()}
    np.testing.assert_array_equal(labels, before)


@settings(max_examples=60, deadline=None)
@given(PLANES, st.integers(0, 4))
def test_what_holds_for_any_plane(labels: np.ndarray, size: int) -> None:
    filled = clean_up(labels, "fill_holes", size)
    np.testing.assert_array_equal(filled[labels > 0], labels[labels > 0])  # only background is filled
    for operation in ("drop_small", "keep_largest"):
        cleaned = clean_up(labels, operation, size)
        np.testing.assert_array_equal(cleaned[cleaned > 0], labels[cleaned > 0])  # only taken away
        np.testing.assert_array_equal(clean_up(cleaned, operation, size), cleaned)  # and once is enough
    for operation in ("fill_holes", "keep_largest", "smooth"):  # no label is lost
        assert set(np.unique(labels)) - {0} <= set(np.unique(clean_up(labels, operation, size)).tolist())


@settings(max_examples=40, deadline=None)
@given(PLANES, st.sampled_from([o for o in OPERATIONS if o != "split"]), st.integers(0, 4))
def test_the_numbers_that_labels_have_do_not_matter(labels: np.ndarray, operation: Operation, size: float) -> None:
    """Another number for a label gives the same plane with that number, unless two shares are exactly equal."""
    renumbered = np.where(labels == 7, np.uint32(1000), labels)  # order of labels kept: so are ties
    expected = clean_up(labels, operation, size)
    np.testing.assert_array_equal(
        clean_up(renumbered, operation, size), np.where(expected == 7, np.uint32(1000), expected)
    )


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_empty_plane_stays_empty(operation: Operation) -> None:
    assert not clean_up(np.zeros((5, 4), np.uint8), operation, 1).any()


@pytest.mark.parametrize(
    ("operation", "size", "message"),
    [("erode", 1, "fill_holes, drop_small"), ("smooth", -1, "0 or more pixels"), ("split", 1.5, "0 to 1")],
)
def test_wrong_wishes_are_named(operation: Operation, size: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        clean_up(np.ones((3, 3), np.uint32), operation, size)

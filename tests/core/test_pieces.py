"""Masks that hold one number for all objects."""

from __future__ import annotations

import numpy as np
import pytest

from napari_incontext_seg.core.pieces import one_number, pieces
from napari_incontext_seg.core.stack import Stack


def plane(*objects):
    """(top, left, side, number) each."""
    labels = np.zeros((20, 30), np.uint8)
    for top, left, side, number in objects:
        labels[top : top + side, left : left + side] = number
    return labels


TWO = plane((1, 1, 6, 255), (10, 12, 6, 255))


@pytest.mark.parametrize(
    ("planes", "number"),
    [
        ([TWO, plane()], 255),
        ([TWO > 0], 1),
        ([TWO, TWO, plane((1, 1, 6, 255))], 255),
        ([plane((1, 1, 6, 1), (10, 12, 6, 2))], None),
        ([TWO, plane((1, 1, 6, 3))], None),
        ([plane((1, 1, 9, 255))], None),
        ([plane((1, 1, 9, 255), (15, 20, 2, 255))], None),  # an object and a speck
        ([TWO, plane((1, 1, 6, 255)), plane((2, 1, 6, 255))], None),  # one object, once hidden in part
        ([plane()], None),
    ],
)
def test_one_number_in_several_pieces_is_shared(planes, number):
    assert one_number(planes) == number


def test_pieces_have_numbers_of_their_own_in_the_geometry_of_the_stack():
    stack = Stack(np.stack([TWO, TWO[::-1]], axis=-1), "yxt", (2.0, 3.0, 5.0), ("um", "um", "s"))
    apart = pieces(stack)
    assert (apart.axes, apart.scale, apart.units) == ("tyx", (5.0, 2.0, 3.0), ("s", "um", "um"))
    for position in range(2):
        found = apart.read(position)[..., 0]
        np.testing.assert_array_equal(found > 0, stack.read(position)[..., 0] > 0)
        assert set(np.unique(found)) == {0, 1, 2}

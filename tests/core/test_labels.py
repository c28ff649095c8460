"""Label planes: ids come back unchanged or not at all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_incontext_seg.core.labels import MAX_LABEL, as_labels, split_ignored, unused_ids
from napari_incontext_seg.errors import InputError


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.uint32, (2, 3)), st.sampled_from([np.uint32, np.int64, np.uint64, np.float64]))
def test_ids_are_unchanged_whatever_holds_them(labels: np.ndarray, dtype: Any) -> None:
    checked = as_labels(labels.astype(dtype))
    assert checked.dtype == np.uint32
    assert np.array_equal(checked, labels)


def test_masks_are_labels() -> None:
    assert as_labels([[True, False]]).tolist() == [[1, 0]]


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([[1, -1]], "negative"),
        ([[0.5, 1.0]], "fractions"),
        ([[np.nan, 1.0]], "NaN"),
        ([[np.inf, 1.0]], "whole"),
        ([[MAX_LABEL + 1, 0]], str(MAX_LABEL)),
        ([1, 2, 3], "one plane"),
        ([["a", "b"]], "dtype"),
        ([[1j, 0]], "dtype"),
    ],
)
def test_what_is_no_label_is_refused(labels: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        as_labels(labels)


def test_another_shape_is_refused_with_what_to_do() -> None:
    with pytest.raises(InputError, match=r"image \(3, 4\); got \(2, 4\)\. Resample them with order 0"):
        as_labels(np.zeros((2, 4), int), (3, 4))


@pytest.mark.parametrize("ignore", [255, 0, -1])
def test_ignored_pixels_are_masked(ignore: int) -> None:
    labels, valid = split_ignored(np.array([[7, ignore, 3]], np.int64), ignore)
    assert labels.tolist() == [[7, 0, 3]]
    assert valid.tolist() == [[True, False, True]]


def test_nothing_is_ignored_unless_told() -> None:
    labels, valid = split_ignored(np.array([[255, 0]], np.uint8), None)
    assert labels.tolist() == [[255, 0]]
    assert valid.all()
    assert split_ignored(np.array([[255, 0]], np.uint8), -1)[1].all()


@pytest.mark.parametrize("dtype", ["V4", "M8[s]", "U3", "O"])
def test_what_is_no_number_cannot_be_ignored_either(dtype):
    with pytest.raises(InputError, match="whole numbers"):
        split_ignored(np.zeros((4, 5), dtype), -1)


def test_transposed_labels_are_told_as_such() -> None:
    with pytest.raises(InputError, match=r"got \(5, 4\)\. They seem to be transposed"):
        as_labels(np.zeros((5, 4), int), (4, 5))


def test_new_ids_are_above_those_taken_and_between_them_where_there_is_no_room() -> None:
    assert unused_ids(np.array([2, 5]), 2).tolist() == [6, 7]
    assert unused_ids(np.array([], np.int64), 1).tolist() == [1]
    assert unused_ids(np.array([2, MAX_LABEL]), 2).tolist() == [1, 3]

"""Figures of merit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from napari_incontext_seg.core.metrics import auroc, average_precision, dice, slice_confidence, spearman
from napari_incontext_seg.core.types import Segmentation
from napari_incontext_seg.errors import InputError

PREDICTED = np.array([[1, 1, 0, 2]], np.uint32)
TRUTH = np.array([[1, 0, 0, 3]], np.uint32)


def test_dice_by_hand() -> None:
    assert dice(PREDICTED, TRUTH, [1]) == pytest.approx(2 / 3)
    assert dice(PREDICTED, TRUTH, [2]) == 0  # one empty
    assert dice(PREDICTED, TRUTH, [5]) == 1  # both empty
    assert dice(PREDICTED, TRUTH, [1, 2, 5]) == pytest.approx((2 / 3 + 0 + 1) / 3)
    assert dice(PREDICTED > 0, TRUTH > 0, [1]) == pytest.approx(0.8)


def test_overlap_needs_ids_and_equal_shapes() -> None:
    with pytest.raises(InputError, match="id"):
        dice(PREDICTED, TRUTH, [])
    with pytest.raises(InputError, match="match"):
        dice(PREDICTED, TRUTH[:, :2], [1])


def test_slice_confidence_looks_at_objects_and_their_surroundings() -> None:
    labels, confidence = np.zeros((50, 50), np.uint32), np.ones((50, 50), np.float32)
    confidence[20:30, 20:30] = 0.2
    assert slice_confidence(labels, confidence) > 0.9
    labels[20:30, 20:30] = 1
    assert 0.2 < slice_confidence(labels, confidence) < 0.8
    assert Segmentation(labels, confidence).slice_confidence == slice_confidence(labels, confidence)


def test_spearman_is_blind_to_monotone_change() -> None:
    x = np.array([3, 1, 4, 1, 5])
    assert spearman(x, np.exp(x)) == pytest.approx(1)
    assert spearman(x, -x) == pytest.approx(-1)
    assert np.isnan(spearman(x, np.ones(5)))
    assert np.isnan(spearman([1], [2]))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30))
def test_auroc_agrees_with_scikit_learn(pairs: list[tuple[int, bool]]) -> None:
    score, positive = zip(*pairs, strict=True)
    if len(set(positive)) == 1:
        assert np.isnan(auroc(score, positive))
    else:
        assert auroc(score, positive) == pytest.approx(roc_auc_score(positive, score))


def test_average_precision_counts_objects_found_missed_and_invented() -> None:
    truth = np.zeros((20, 20), int)
    truth[2:8, 2:8], truth[12:18, 2:8], truth[2:8, 12:18] = 1, 2, 3
    found = np.zeros_like(truth)
    found[2:8, 2:8] = 9  # one found exactly
    found[12:18, 2:6] = 4  # one at IoU 2/3
    found[12:18, 12:18] = 5  # one invented, one missed
    assert average_precision(found, truth) == pytest.approx(2 / 4)
    assert average_precision(found, truth, 0.75) == pytest.approx(1 / 5)
    assert average_precision(truth * 0, truth * 0) == 1
    assert average_precision(truth * 0, truth) == 0

"""Figures of merit: overlap with the truth, and how well confidence tells of it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from ..errors import InputError

NEIGHBOURHOOD = 3  # px around what was painted that count for a slice's confidence


def dice(predicted: ArrayLike, truth: ArrayLike, ids: Iterable[int]) -> float:
    """Return the mean Dice coefficient over ``ids``: 1 for an id that is in neither plane, 0 if in one only.

    Parameters
    ----------
    predicted, truth
        (Y, X) labels or masks (id 1).

    Raises
    ------
    InputError
        Shapes that differ, or no id.
    """
    predicted, truth, ids = np.asarray(predicted), np.asarray(truth), list(ids)
    if predicted.shape != truth.shape:
        raise InputError(f"the prediction must match the truth {truth.shape}; got {predicted.shape}.")
    if not ids:
        raise InputError("Dice needs at least one label id; got none.")
    scores = []
    for i in ids:
        ours, theirs = predicted == i, truth == i
        total = int(ours.sum()) + int(theirs.sum())
        scores.append(2 * int((ours & theirs).sum()) / total if total else 1.0)
    return float(np.mean(scores))


def slice_confidence(labels: NDArray[np.uint32], confidence: NDArray[np.float32]) -> float:
    """Return one number in [0, 1] for a plane: mean confidence over objects and `NEIGHBOURHOOD` px around them.

    Background far from any object is easy and would hide doubt; with no object at all every pixel counts.

    Parameters
    ----------
    labels, confidence
        (Y, X), 0 is background; confidence in [0, 1].
    """
    near = ndimage.maximum_filter(labels > 0, size=2 * NEIGHBOURHOOD + 1)
    return float(confidence.mean(where=near if near.any() else True, dtype=np.float64))


def spearman(a: ArrayLike, b: ArrayLike) -> float:
    """Return Spearman's rank correlation of two sequences; NaN where one is constant or shorter than two."""
    ranks = [_ranks(values) for values in (a, b)]
    if len(ranks[0]) < 2 or any(np.ptp(r) == 0 for r in ranks):
        return float("nan")
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def auroc(score: ArrayLike, positive: ArrayLike) -> float:
    """Return the area under the ROC curve: how often a positive's score is above a negative's, ties counting half.

    NaN where all or none are positive.
    """
    is_positive = np.asarray(positive, bool).ravel()
    ranks = _ranks(np.asarray(score).ravel())
    positives = int(is_positive.sum())
    negatives = is_positive.size - positives
    if not positives or not negatives:
        return float("nan")
    return float((ranks[is_positive].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def _ranks(values: ArrayLike) -> NDArray[np.float64]:
    """Ranks from 1, ties sharing their mean."""
    from scipy.stats import rankdata  # here, not above: it takes a second to import, and only benchmarks rank

    ranks: NDArray[np.float64] = rankdata(values)
    return ranks

"""Figures of merit: overlap with the truth, and how well confidence tells of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

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


def average_precision(predicted: ArrayLike, truth: ArrayLike, threshold: float = 0.5) -> float:
    """Return TP / (TP + FP + FN) of objects: 1 where neither has any.

    A predicted object is a true positive if its intersection over union with a true one is above ``threshold``, which
    at 0.5 and more only one can be. The figure is that of StarDist and Cellpose (Schmidt et al., MICCAI 2018).

    Parameters
    ----------
    predicted, truth
        Object ids of one shape, planes or volumes; 0 is background.
    threshold
        From 0.5 to 1.

    Raises
    ------
    InputError
        Shapes that differ, or a threshold out of range.
    """
    return precision_of_overlaps(object_overlaps(predicted, truth), threshold)


def object_overlaps(predicted: ArrayLike, truth: ArrayLike) -> NDArray[np.int64]:
    """Return the pixels (P + 1, T + 1) that each predicted object shares with each true one; background comes first.

    Raises
    ------
    InputError
        Shapes that differ.
    """
    predicted, truth = np.asarray(predicted), np.asarray(truth)
    if predicted.shape != truth.shape:
        raise InputError(f"the prediction must match the truth {truth.shape}; got {predicted.shape}.")
    (ours, rows), (theirs, columns) = (_numbered(labels) for labels in (predicted, truth))
    shape = (len(ours), len(theirs))
    return np.bincount(rows * shape[1] + columns, minlength=shape[0] * shape[1]).reshape(shape)


def precision_of_overlaps(shared: NDArray[np.int64], threshold: float) -> float:
    """Return `average_precision` from what `object_overlaps` counted."""
    if not 0.5 <= threshold < 1:
        raise InputError(f"the threshold of IoU must be from 0.5 to below 1; got {threshold}.")
    sizes = [shared.sum(axis)[1:] for axis in (1, 0)]
    inside = shared[1:, 1:]
    found = int((inside > threshold * (sizes[0][:, None] + sizes[1] - inside)).sum())
    total = sum(int((size > 0).sum()) for size in sizes) - found
    return found / total if total else 1.0


def _numbered(labels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """Ids, 0 first whether it occurs or not, and the number of each pixel's among them."""
    ids, numbers = np.unique(labels, return_inverse=True)
    if not len(ids) or ids[0] != 0:
        return np.concatenate([[0], ids]), numbers.ravel() + 1
    return ids, numbers.ravel()


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

"""How well a region and its boundary are followed, as the DAVIS challenge scores it: J and F.

Source: Perazzi et al., *A benchmark dataset and evaluation methodology for video object segmentation*, CVPR 2016.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from ..errors import InputError

TOLERANCE = 0.008  # of the plane's diagonal: so far may a boundary lie from the true one


def jaccard(predicted: ArrayLike, truth: ArrayLike) -> float:
    """Return the intersection over union of two masks (Y, X): 1 where both are empty.

    Raises
    ------
    InputError
        Masks that differ in shape.
    """
    ours, theirs = _masks(predicted, truth)
    union = int((ours | theirs).sum())
    return int((ours & theirs).sum()) / union if union else 1.0


def boundary_f(predicted: ArrayLike, truth: ArrayLike, *, tolerance: float = TOLERANCE) -> float:
    """Return the F-measure of the boundaries of two masks (Y, X): 1 where neither has one, 0 where one only has.

    Parameters
    ----------
    predicted, truth
        (Y, X) masks.
    tolerance
        How far, as a share of the plane's diagonal and rounded up to whole pixels, a boundary may lie from the other.

    Raises
    ------
    InputError
        Masks that differ in shape, or are no planes.
    """
    ours, theirs = (_boundary(mask) for mask in _masks(predicted, truth))
    if not ours.any() or not theirs.any():
        return float(not ours.any() and not theirs.any())
    reach = int(np.ceil(tolerance * np.hypot(*ours.shape)))
    near_ours, near_theirs = (ndimage.distance_transform_edt(~line) <= reach for line in (ours, theirs))
    precision, recall = near_theirs[ours].mean(), near_ours[theirs].mean()
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def _masks(predicted: ArrayLike, truth: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    ours, theirs = np.asarray(predicted, bool), np.asarray(truth, bool)
    if ours.shape != theirs.shape or ours.ndim != 2:
        raise InputError(f"both masks must be planes (Y, X) of one shape; got {ours.shape} and {theirs.shape}.")
    return ours, theirs


def _boundary(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels whose right, lower or lower right neighbour is on the other side, as DAVIS draws it, one pixel wide."""
    padded = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    line: NDArray[Any] = (mask != padded[:-1, 1:]) | (mask != padded[1:, :-1]) | (mask != padded[1:, 1:])
    return line

"""Objects: connected components of what was painted, and whether labels look like one object each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from skimage import measure

from .labels import split_ignored
from .types import Kind, Labels

MANY = 5  # more ids than this, each in one piece, are hardly classes


def connected_regions(labels: Labels, *, corners: bool) -> NDArray[np.intp]:
    """Number the connected regions of equal label (Y, X) from 1; pixels connect across corners too if ``corners``."""
    regions: NDArray[np.intp] = measure.label(labels, background=0, connectivity=2 if corners else 1)
    return regions


def components(labels: Labels, *, min_size: int = 0) -> Labels:
    """Give each connected component of each class an id of its own.

    Parameters
    ----------
    labels
        (Y, X) class ids, 0 is background. Pixels that touch only by a corner are not connected.
    min_size
        Components of fewer pixels become background.

    Returns
    -------
    (Y, X) uint32, ids 1..n.
    """
    found = connected_regions(labels, corners=False)
    keep = np.bincount(found.ravel()) >= min_size
    keep[0] = False
    renumbered: Labels = np.where(keep, keep.cumsum(), 0).astype(np.uint32)[found]
    return renumbered


def guess_kind(planes: Sequence[NDArray[np.generic]], ignore_label: int | None = None) -> Kind:
    """Guess whether ids are classes or objects.

    "instance" when some plane has more than `MANY` ids and most ids are one connected component.

    Parameters
    ----------
    planes
        Annotated label planes (Y, X).
    ignore_label
        Id of pixels that are not annotated.
    """
    for plane in planes:
        labels, _ = split_ignored(plane, ignore_label)
        ids = np.unique(labels[labels > 0])
        if len(ids) > MANY and len(ids) >= 0.75 * connected_regions(labels, corners=True).max():
            return "instance"
    return "semantic"

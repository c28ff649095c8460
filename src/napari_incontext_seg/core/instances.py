"""Objects: connected components of what was painted, and whether labels look like one object each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from skimage import measure, segmentation

from .labels import split_ignored
from .types import Kind, Labels

NEAR = 4  # px; objects whose surroundings of this width meet are neighbours
MANY = 5  # more ids than this, each in one piece, are hardly classes
SPECK = 8  # px; in pieces of this size on average, several of each, lie the numbers of an image
GREYS = 30  # with fewer numbers than this a plane is not taken for one
WINDOW = 512  # px; so much of its middle is looked at


def connected_regions(labels: Labels, *, corners: bool) -> NDArray[np.intp]:
    """Number the connected regions of equal label (Y, X) from 1; pixels connect across corners too if ``corners``."""
    regions: NDArray[np.intp] = measure.label(labels, background=0, connectivity=2 if corners else 1)
    return regions


def components(labels: Labels) -> Labels:
    """Give each connected component of each class an id of its own.

    Parameters
    ----------
    labels
        (Y, X) class ids, 0 is background. Pixels that touch only by a corner are not connected.

    Returns
    -------
    (Y, X) uint32, ids 1..n.
    """
    return connected_regions(labels, corners=False).astype(np.uint32)


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
    counts = [_ids_and_pieces(plane, ignore_label) for plane in planes]
    return "instance" if any(ids > MANY and ids >= 0.75 * pieces for ids, pieces in counts) else "semantic"


def one_piece_each(planes: Sequence[NDArray[np.generic]], ignore_label: int | None = None) -> bool:
    """Whether several ids are shown, and each as one piece in all planes (Y, X): as objects would be, or organs."""
    counts = [_ids_and_pieces(plane, ignore_label) for plane in planes]
    return any(ids > 1 for ids, _ in counts) and all(ids == pieces for ids, pieces in counts)


def looks_like_image(plane: NDArray[np.generic]) -> bool:
    """Whether a plane (Y, X) seems to hold brightness: most of its many numbers lie scattered, as specks."""
    top, left = (max(0, (n - WINDOW) // 2) for n in plane.shape)
    ids, inverse = np.unique(plane[top : top + WINDOW, left : left + WINDOW], return_inverse=True)
    if len(ids) <= GREYS:
        return False
    index = inverse.reshape(min(plane.shape[0], WINDOW), -1)
    regions = connected_regions((index + 1).astype(np.uint32), corners=True)
    number_of = np.zeros(int(regions.max()) + 1, np.intp)
    number_of[regions] = index
    pieces, areas = np.bincount(number_of[1:], minlength=len(ids)), np.bincount(index.ravel(), minlength=len(ids))
    scattered = (pieces >= 3) & (areas <= SPECK * pieces)
    return bool(2 * np.count_nonzero(scattered[ids != 0]) > np.count_nonzero(ids))


def _ids_and_pieces(plane: NDArray[np.generic], ignore_label: int | None) -> tuple[int, int]:
    labels, _ = split_ignored(plane, ignore_label)
    return len(np.unique(labels[labels > 0])), int(connected_regions(labels, corners=True).max())


def distinct_neighbours(labels: Labels, *, count: int = 7) -> Labels:
    """Renumber objects with few ids, so that no two near each other share one: a coloured map.

    Objects are then painted in one pass however many there are, and `components` tells them apart again.

    Parameters
    ----------
    labels
        (Y, X) object ids, 0 is background.
    count
        Ids to use; with more neighbours than that, two of them share one.

    Returns
    -------
    (Y, X) uint32, ids 1..count, each used about equally often.
    """
    ids, inverse = np.unique(labels, return_inverse=True)
    index = inverse.reshape(labels.shape)  # compact: expand_labels counts up to the largest id
    if ids[0] != 0:
        ids, index = np.concatenate([[0], ids]), index + 1
    grown = segmentation.expand_labels(index, NEAR)
    beside = [(grown[1:], grown[:-1]), (grown[:, 1:], grown[:, :-1])]
    pairs = np.concatenate([np.stack([a[a != b], b[a != b]], axis=1) for a, b in beside])
    neighbours: dict[int, set[int]] = {}
    for a, b in np.unique(np.concatenate([pairs, pairs[:, ::-1]]), axis=0).tolist():
        neighbours.setdefault(a, set()).add(b)
    given, used = np.zeros(len(ids), np.uint32), [0] * (count + 1)
    for i in range(1, len(ids)):
        taken = {int(given[n]) for n in neighbours.get(i, ())}
        given[i] = min((c for c in range(1, count + 1)), key=lambda c: (c in taken, used[c]))
        used[given[i]] += 1
    renumbered: Labels = given[index]
    return renumbered

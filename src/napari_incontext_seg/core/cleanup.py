"""Clean up painted labels: fill holes, drop specks, smooth outlines, keep the largest piece, split and join objects.

Every operation takes a plane and returns a new one. Only `split` gives pixels numbers that the plane did not hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..errors import InputError
from .instances import connected_regions
from .labels import as_labels
from .splitting import cut_at_waists
from .types import Labels

Operation: TypeAlias = Literal["fill_holes", "drop_small", "smooth", "keep_largest", "split", "join"]
OPERATIONS: tuple[Operation, ...] = get_args(Operation)
_REACH = 3  # standard deviations, beyond which a Gaussian is as good as zero


def clean_up(labels: Any, operation: Operation, size: float = 0) -> Labels:
    """Apply an operation by its name, as a menu or a script knows it.

    Parameters
    ----------
    labels
        (Y, X) ids up to uint32, 0 is background.
    operation
        One of `OPERATIONS`.
    size
        What the operation takes: ``max_area``, ``min_area``, ``radius`` or ``neck``; ``keep_largest`` and ``join`` take
        none. 0 is all holes, no change for ``drop_small`` and ``smooth``, and for ``split`` no cut within a piece.

    Raises
    ------
    InputError
        An unknown operation, a size that does not fit, or labels that are none.
    """
    check_operation(operation, size)
    plane = as_labels(labels)
    if operation == "fill_holes":
        return fill_holes(plane, max_area=size or None)
    if operation == "drop_small":
        return drop_small(plane, min_area=size)
    if operation == "smooth":
        return smooth(plane, radius=size)
    if operation == "split":
        return split(plane, neck=size)
    return keep_largest(plane) if operation == "keep_largest" else join(plane)


def check_operation(operation: str, size: float = 0) -> None:
    """Raise InputError unless `clean_up` knows the operation and takes the size."""
    if operation not in OPERATIONS:
        raise InputError(f"clean-up must be one of {', '.join(OPERATIONS)}; got {operation!r}.")
    if not 0 <= size < np.inf:
        raise InputError(f"the size for clean-up must be 0 or more pixels; got {size}.")
    if operation == "split" and size > 1:
        raise InputError(f"objects are split where they are narrower than a share from 0 to 1; got {size}.")


def fill_holes(labels: Labels, *, max_area: float | None = None) -> Labels:
    """Fill background that one label encloses; where two do, the inner one fills it.

    Parameters
    ----------
    labels
        (Y, X), 0 is background.
    max_area
        Leave holes of more pixels than this: cells whose walls are labelled are holes too. Default: fill all.
    """
    filled, innermost = labels.copy(), np.full(labels.shape, np.inf)
    background = labels == 0
    for label, box, mask in _masks(labels):
        whole = ndimage.binary_fill_holes(mask)
        holes = whole & ~mask
        if max_area is not None and holes.any():
            pieces, _ = ndimage.label(holes)
            holes &= np.bincount(pieces.ravel())[pieces] <= max_area
        area = np.count_nonzero(whole)
        holes &= background[box] & (area < innermost[box])
        filled[box][holes], innermost[box][holes] = label, area
    return filled


def drop_small(labels: Labels, *, min_area: float) -> Labels:
    """Turn connected pieces of fewer than ``min_area`` pixels into background; pieces connect across corners."""
    pieces = connected_regions(labels, corners=True)
    small = np.bincount(pieces.ravel()) < min_area
    return np.where(small[pieces], np.uint32(0), labels)


def smooth(labels: Labels, *, radius: float) -> Labels:
    """Smooth outlines: every pixel takes the label that prevails around it, so no gap opens between two objects.

    What is much thinner than ``radius`` goes, but never the whole of a label: one that would vanish stays as it is.

    Parameters
    ----------
    labels
        (Y, X), 0 is background.
    radius
        Standard deviation, in pixels, of the Gaussian that says what "around" is.
    """
    if not radius:
        return labels.copy()
    reach = int(np.ceil(_REACH * radius))
    best = _share(labels == 0, radius)
    smoothed = np.zeros_like(labels)
    for label, box, _ in _masks(labels):
        wide = tuple(slice(max(s.start - reach, 0), s.stop + reach) for s in box)
        share = _share(labels[wide] == label, radius)
        wins = share > best[wide]
        smoothed[wide][wins], best[wide][wins] = label, share[wins]
    lost = np.setdiff1d(labels, smoothed)
    return np.where(np.isin(labels, lost[lost > 0]), labels, smoothed)


def keep_largest(labels: Labels) -> Labels:
    """Keep the largest connected piece of each label; the others become background. Pieces connect across corners."""
    pieces = connected_regions(labels, corners=True)
    numbers, first, areas = np.unique(pieces, return_index=True, return_counts=True)
    owners = labels.ravel()[first]
    # by owner, largest first; of two that are as large, the one that comes first in the plane
    order = np.lexsort((numbers, -areas, owners))
    _, leaders = np.unique(owners[order], return_index=True)
    return np.where(np.isin(pieces, numbers[order][leaders]), labels, np.uint32(0))


def split(labels: Labels, *, neck: float) -> Labels:
    """Make every piece of a label an object of its own, cut apart where it has a waist.

    The largest piece of a label keeps its number; the others get the lowest that the plane does not hold.

    Parameters
    ----------
    labels
        (Y, X), 0 is background.
    neck
        In [0, 1]: parts are cut apart where the passage between them is narrower than this share of the narrower one.
    """
    areas = np.bincount(connected_regions(labels, corners=False).ravel())[1:]
    radius = float(np.sqrt(np.median(areas) / np.pi)) if len(areas) else 0.0
    apart, held = labels.copy(), {0, *np.unique(labels).tolist()}
    unused = (number for number in count(1) if number not in held)
    for _, box, mask in _masks(labels):
        pieces = cut_at_waists(mask, radius, neck)
        numbers, sizes = np.unique(pieces[mask], return_counts=True)
        for number in np.delete(numbers, sizes.argmax()):
            apart[box][pieces == number] = next(unused)
    return apart


def join(labels: Labels) -> Labels:
    """Make one object of those that touch, with the number of the largest."""
    pieces = connected_regions((labels > 0).astype(np.uint32), corners=False)
    pairs, areas = np.unique(np.stack([pieces.ravel(), labels.ravel()]), axis=1, return_counts=True)
    owners = np.zeros(pieces.max(initial=0) + 1, np.uint32)
    order = np.argsort(areas, kind="stable")
    owners[pairs[0, order]] = pairs[1, order]  # of several the last, the largest, stays
    joined: Labels = owners[pieces]
    return joined


def _masks(labels: Labels) -> Iterator[tuple[int, tuple[slice, slice], NDArray[np.bool_]]]:
    """Each label but 0, its bounding box, and where in that box it is; the work is that of the boxes, not of planes."""
    ids, inverse = np.unique(labels, return_inverse=True)
    index = inverse.reshape(labels.shape) + 1  # compact, and 0 is of no label
    for number, box in enumerate(ndimage.find_objects(index), start=1):
        label = int(ids[number - 1])
        if label:
            yield label, box, index[box] == number


def _share(mask: NDArray[np.bool_], radius: float) -> NDArray[np.float32]:
    """How much of what is around each pixel belongs to the mask, 0 to 1."""
    share: NDArray[np.float32] = ndimage.gaussian_filter(
        mask.astype(np.float32), radius, mode="nearest", truncate=_REACH
    )
    return share

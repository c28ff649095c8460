"""Objects that ran together in one frame are parted again where they were two before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..core.labels import unused_ids
from ..core.objects import Objects
from .motion import Vectors, overlap_counts, volume

FOUNDED = 3  # frames for which an object must have been followed to be believed in; one annotated is at once
COVERED = 0.5  # share of an object that must lie on what it has run together with
WHOLE = 0.75  # least area of what ran together, in that of its parts before
PART = 0.3  # a part that has shrunk to less than this is none
NECK = 0.9  # deepest point of the cut, in the depth of the shallower part: more is no waist
USUAL = 0.5  # least area, in the median of a frame, of what is a cell and not a piece of one
LARGE = 1.3  # least area, in the same, of what is more than a cell: parted even where it has no waist
CORE = 0.5  # share of its largest distance to the rim at which an object's core begins


def find_fused(
    before: NDArray[Any], after: NDArray[Any], moved: Vectors, tables: tuple[Objects, Objects],
    links: NDArray[np.int64], age: NDArray[np.int64],
) -> dict[int, list[int]]:  # fmt: skip
    """Find objects that several well-known objects of the frame before have run together into.

    Parameters
    ----------
    before, after
        (Z, Y, X) or (Y, X) labels of neighbouring frames.
    moved
        (N, 3) pixels by which objects of the frame before have moved.
    tables
        Of both frames.
    links
        (M,) number in the frame before of each object, -1 for none.
    age
        (N,) for how many frames each object of the frame before has been followed.

    Returns
    -------
    dict
        Number of an object -> numbers, in the frame before, of all that it consists of.
    """
    a, b = tables
    lost = np.setdiff1d(np.flatnonzero(age >= FOUNDED), links)
    if not len(lost):
        return {}
    rows, columns, shared = overlap_counts(volume(before), volume(after), moved)
    inside = shared >= COVERED * a.area[rows]
    home = dict(zip(rows[inside].tolist(), columns[inside].tolist(), strict=True))
    fused: dict[int, list[int]] = {}
    for row in lost.tolist():
        if row in home:
            fused.setdefault(home[row], []).append(row)
    found = {}
    for column, parts in fused.items():
        first = int(links[column])
        if first >= 0 and age[first] >= FOUNDED and home.get(first) == column:
            parts = [first, *parts]
        if len(parts) > 1 and b.area[column] >= WHOLE * a.area[parts].sum():
            found[column] = parts
    return found


def part_fused(
    before: NDArray[Any], after: NDArray[Any], moved: Vectors, tables: tuple[Objects, Objects],
    fused: Mapping[int, Sequence[int]], spacing: Vectors,
) -> NDArray[np.uint32] | None:  # fmt: skip
    """Return the labels of a frame in which fused objects are parted, None if none is.

    The first part keeps the id, others get new ones.

    The cut follows a watershed of the distance to the rim, from the cores of the objects as they were, where they
    have moved to. Nothing is cut where a part would be a sliver, and only at a waist what might be one cell whose
    pieces were taken for several: those were smaller than is usual, or it is no larger than that.
    """
    from skimage.segmentation import watershed

    flat = after.ndim == 2
    before, parted = volume(before), volume(after).astype(np.uint32)
    usual = float(np.median(tables[0].area))
    unused = unused_ids(tables[1].ids, sum(len(rows) for rows in fused.values()))
    given = 0
    for column, rows in fused.items():
        mask = parted == tables[1].ids[column]
        box = tuple(ndimage.find_objects(mask.astype(np.uint8))[0])
        markers = _markers(before, tables[0], rows, moved, mask[box], box, spacing)
        depth = _depth(mask[box], spacing)
        parts = watershed(-depth, markers, mask=mask[box])
        areas = tables[0].area[list(rows)]
        if areas.min() < USUAL * usual or tables[1].area[column] < LARGE * usual:
            parts = _joined(parts, depth)
        if parts.max() < 2 or _least_share(parts, areas) < PART:
            continue
        ids = np.array([0, tables[1].ids[column], *unused[given : given + len(rows) - 1]], np.uint32)
        parted[box] = np.where(mask[box], ids[parts], parted[box])
        given += len(rows) - 1
    if not given:
        return None
    return parted[0] if flat else parted


def _markers(
    before: NDArray[Any], table: Objects, rows: Sequence[int], moved: Vectors, mask: NDArray[np.bool_],
    box: tuple[slice, ...], spacing: Vectors,
) -> NDArray[np.int32]:  # fmt: skip
    """Where the core of each object lies now, inside the mask (Z, Y, X) of what they ran together into: 1, 2, ..."""
    markers = np.zeros(mask.shape, np.int32)
    corner = np.array([s.start for s in box])
    for number, row in enumerate(rows, start=1):
        own = before == table.ids[row]
        around = tuple(ndimage.find_objects(own.astype(np.uint8))[0])
        depth = _depth(own[around], spacing)
        at = np.argwhere(depth >= CORE * depth.max()) + [s.start for s in around]
        at = at + np.rint(moved[row]).astype(int) - corner
        at = at[((at >= 0) & (at < mask.shape)).all(axis=1)]
        at = at[mask[tuple(at.T)]]
        markers[tuple(at.T)] = number
    return markers


def _joined(parts: NDArray[np.int32], depth: NDArray[np.float64]) -> NDArray[np.int32]:
    """Join parts (Z, Y, X) without a waist between them: the cut is nearly as deep as the shallower of the two."""
    count = int(parts.max())
    deepest = np.concatenate([[0], ndimage.maximum(depth, parts, range(1, count + 1))])
    cuts = np.zeros((count + 1, count + 1))
    for axis in range(parts.ndim):
        one, other = (np.moveaxis(parts, axis, 0)[s] for s in (slice(1, None), slice(None, -1)))
        level = np.minimum(*(np.moveaxis(depth, axis, 0)[s] for s in (slice(1, None), slice(None, -1))))
        meet = (one != other) & (one > 0) & (other > 0)
        pair = np.sort(np.stack([one[meet], other[meet]]), axis=0)
        np.maximum.at(cuts, (pair[0], pair[1]), level[meet])
    joined = parts
    for a, b in np.argwhere(cuts > NECK * np.minimum.outer(deepest, deepest)).tolist():
        joined = np.where(joined == b, a, joined)
    return joined.astype(np.int32)


def _least_share(parts: NDArray[np.int32], areas: NDArray[np.int64]) -> float:
    """The least area of a part, in that of the object it was; parts joined to others do not count."""
    sizes = np.bincount(parts.ravel(), minlength=len(areas) + 1)[1:]
    return float((sizes / areas)[sizes > 0].min())


def _depth(mask: NDArray[np.bool_], spacing: Vectors) -> NDArray[np.float64]:
    """Distance to the rim (Z, Y, X), in units of the spacing; a mask of one plane has no rim above or below."""
    padded = np.pad(mask, [(0, 0) if mask.shape[0] == 1 else (1, 1), (1, 1), (1, 1)])
    if mask.shape[0] == 1:
        depth = ndimage.distance_transform_edt(padded[0], sampling=spacing[1:])[None, 1:-1, 1:-1]
    else:
        depth = ndimage.distance_transform_edt(padded, sampling=spacing)[1:-1, 1:-1, 1:-1]
    result: NDArray[np.float64] = depth
    return result

"""The rows of a table of tracks, frame by frame, as edits change them: only what changed is measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..core.objects import measure_objects
from ..core.tracks import COLUMNS, Tracks
from ..errors import InputError

Columns = tuple[NDArray[Any], ...]  # of `core.tracks.COLUMNS`
Box = tuple[slice, ...]  # a part of a frame
_FEW = 8  # ids that are looked for one by one, which is faster


def no_rows() -> Columns:
    """Rows of a frame without objects."""
    nothing = np.zeros(0, np.int64)
    return nothing, nothing, np.zeros((0, 3)), nothing, np.zeros(0), np.zeros(0)


def measured_rows(frame: int, labels: NDArray[Any], image: Any, known: Mapping[int, float]) -> Columns:
    """Rows of a whole frame; ``known`` is the confidence of tracks, those that are not in it have 1."""
    o = measure_objects(labels, image)
    sure = np.array([known.get(i, 1.0) for i in o.ids.tolist()], float)
    return o.ids, np.full(len(o), frame), o.centroid, o.area, o.mean_intensity, sure


def box_of(labels: NDArray[Any], rows: Columns, ids: Iterable[int]) -> Box:
    """A part of a frame that holds all of some objects, found by what the table says of them; else the whole frame."""
    at = np.flatnonzero(np.isin(rows[0], list(ids)))
    low, high = np.array(labels.shape), np.zeros(labels.ndim, int)
    for k in at:
        reach = 8 + 2 * float(rows[3][k]) ** (1 / labels.ndim)
        center = rows[2][k][3 - labels.ndim :]
        first = np.maximum(np.floor(center - reach), 0).astype(int)
        last = np.minimum(np.ceil(center + reach) + 1, labels.shape).astype(int)
        window = tuple(slice(a, b) for a, b in zip(first.tolist(), last.tolist(), strict=True))
        if np.count_nonzero(labels[window] == rows[0][k]) != rows[3][k]:  # it reaches farther
            return (slice(None),) * labels.ndim
        low, high = np.minimum(low, first), np.maximum(high, last)
    if not len(at):
        return (slice(None),) * labels.ndim
    return tuple(slice(a, b) for a, b in zip(low.tolist(), high.tolist(), strict=True))


def changed_rows(
    frame: int, box: Box, labels: NDArray[Any], before: NDArray[Any], rows: Columns, image: Any
) -> Columns:
    """Rows of a frame whose labels were ``before``: what did not change keeps its row, the rest has confidence 1.

    Parameters
    ----------
    box
        The part of the frame that is given; it holds all of every object that changed.
    labels, before
        (Y, X) or (Z, Y, X) ids in the box.
    rows
        Of the frame as it was.
    image
        Of the whole frame, as `core.objects.measure_objects` takes it.
    """
    at = labels != before
    touched = np.unique(np.concatenate([labels[at], before[at]]))
    touched = touched[touched > 0]
    kept = ~np.isin(rows[0], touched)
    mask = _any_of(labels, touched)
    if not mask.any():
        return tuple(column[kept] for column in rows)
    o = measure_objects(np.where(mask, labels, 0), None if image is None else np.asarray(image)[box])
    corner = np.array([0] * (3 - labels.ndim) + [s.start or 0 for s in box], float)
    area = o.area[:, None]
    centroid = (np.rint(o.centroid * area) + area * corner) / area  # sums of whole numbers: exactly as measured at once
    new: Columns = (o.ids, np.full(len(o), frame), centroid, o.area, o.mean_intensity, np.ones(len(o)))
    both = [np.concatenate([column[kept], added]) for column, added in zip(rows, new, strict=True)]
    order = np.argsort(both[0], kind="stable")
    return tuple(column[order] for column in both)


def _any_of(labels: NDArray[Any], ids: NDArray[Any]) -> NDArray[np.bool_]:
    if len(ids) > _FEW:
        found: NDArray[np.bool_] = np.isin(labels, ids)
        return found
    return reduce(np.logical_or, (labels == i for i in ids), np.zeros(labels.shape, bool))


def in_order(tracks: Tracks, parents: Mapping[int, tuple[int, ...]]) -> dict[int, tuple[int, ...]]:
    """Those of ``parents`` that are there and begin before their children, as after somebody painted in the labels."""
    left = {
        child: tuple(p for p in its if p in tracks and tracks.begin(p) < tracks.begin(child))
        for child, its in parents.items()
        if child in tracks
    }
    return {child: its for child, its in left.items() if its}


def table_of(rows: Mapping[int, Columns], parents: Mapping[int, tuple[int, ...]], like: Tracks) -> Tracks:
    """The table that rows by frame make. Raises InputError where parents are no tracks or do not begin before."""
    parts = [rows[t] for t in sorted(rows)] or [no_rows()]
    columns: list[Any] = [np.concatenate(column) for column in zip(*parts, strict=True)]
    return Tracks(
        **dict(zip(COLUMNS, columns, strict=True)), parents=parents, axes=like.axes, scale=like.scale, units=like.units
    )


def smaller_part(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The smaller of two parts of an object, cut at its waist; where it has none, across its length."""
    from skimage.feature import peak_local_max
    from skimage.segmentation import watershed

    if mask.sum() < 2:
        raise InputError("an object of one pixel cannot be parted.")
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[tuple(slice(1, -1) for _ in mask.shape)]
    depth = np.where(mask, ndimage.gaussian_filter(depth, 1.0), 0)
    peaks = peak_local_max(depth, labels=mask.astype(int), num_peaks=2, exclude_border=False, min_distance=2)
    if len(peaks) == 2:
        markers = np.zeros(mask.shape, np.int32)
        markers[tuple(peaks.T)] = 1, 2
        parts = watershed(-depth, markers, mask=mask)
        first, second = parts == 1, mask & (parts != 1)
    else:
        at = np.argwhere(mask) - np.argwhere(mask).mean(0)
        along = at @ np.linalg.svd(at, full_matrices=False)[2][0]
        second = np.zeros_like(mask)
        second[tuple(np.argwhere(mask)[along > np.median(along)].T)] = True
        first = mask & ~second
    smaller: NDArray[np.bool_] = first if first.sum() < second.sum() else second
    return smaller

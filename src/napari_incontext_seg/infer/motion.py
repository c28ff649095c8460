"""How objects move from one frame to the next: drift of the whole frame, overlap of single objects, typical sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from ..core.objects import Objects, measure_objects, numbered
from ..errors import InputError

Vectors = NDArray[np.float64]

REGISTERED = 256  # samples along an axis in which drift is looked for; larger frames are averaged down to this
GAIN = 0.02  # by how much a drift must raise the correlation of two frames to be believed
MAJORITY = 0.5  # share of objects that must follow a drift
SAMPLED = 12  # places in a series where motion is estimated
TYPICAL_AREA = 0.15  # least spread of log area between frames that counts as usual
REACH = (0.75, 2.5)  # least and largest distance, in diameters, at which an object is looked for again


@dataclass(frozen=True)
class Motion:
    """What is typical in a series.

    Parameters
    ----------
    diameter
        Of an object of median size, in units of the spacing.
    max_distance
        How far from where it is expected an object is looked for, in units of the spacing.
    persistence
        0 to 1, how much of an object's last step it makes again: 0 where cells jitter, 1 where they fly straight.
    area_spread, intensity_spread
        Standard deviation of the change from frame to frame of log area, and of mean intensity; the latter is NaN
        without images.
    """

    diameter: float
    max_distance: float
    persistence: float
    area_spread: float
    intensity_spread: float


def volume(frame: Any) -> NDArray[Any]:
    """A frame (Y, X) or (Z, Y, X) in memory, as (Z, Y, X)."""
    array = np.asarray(frame)
    return array[None] if array.ndim == 2 else array


def overlap_counts(
    before: NDArray[Any], after: NDArray[Any], moved: Vectors
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Count the pixels that objects share once those of the frame before have moved.

    Parameters
    ----------
    before, after
        (Z, Y, X) labels.
    moved
        (N, 3) pixels by which each object of ``before``, in the order of ids, has moved.

    Returns
    -------
    rows, columns, counts, each (M,): numbers of the objects in both frames, and how many pixels they share.
    """
    at = np.flatnonzero(before)
    _, row = numbered(before.ravel()[at])
    step = np.rint(moved).astype(np.int64)
    index = [part + step[row, k] for k, part in enumerate(np.unravel_index(at, before.shape))]
    inside = np.logical_and.reduce([(i >= 0) & (i < n) for i, n in zip(index, after.shape, strict=True)])
    met = after[tuple(i[inside] for i in index)]
    both = met > 0
    ids = np.flatnonzero(after)  # numbered over the whole frame, so that columns are the rows of its table
    found, _ = numbered(after.ravel()[ids])
    column = np.searchsorted(found, met[both])
    width = max(len(found), 1)
    pairs, counts = np.unique(row[inside][both] * width + column, return_counts=True)
    rows, columns = np.divmod(pairs, width)
    return rows.astype(np.int64), columns.astype(np.int64), counts.astype(np.int64)


def find_drift(before: Any, after: Any) -> Vectors:
    """Find how far a whole frame has moved, by phase cross-correlation.

    A drift that does not make the frames more alike is not believed: 0 then.

    Parameters
    ----------
    before, after
        (Y, X) or (Z, Y, X) images; or masks of objects, where there is no image.

    Returns
    -------
    (3,) z, y, x in pixels.

    Raises
    ------
    InputError
        The frames differ in shape.
    """
    if np.shape(before) != np.shape(after):
        raise InputError(f"all frames must have one shape; got {np.shape(before)} and {np.shape(after)}.")
    from skimage.registration import phase_cross_correlation

    a, b = (np.nan_to_num(volume(frame).astype(np.float32), posinf=0, neginf=0) for frame in (before, after))
    factors = tuple(math.ceil(n / REGISTERED) for n in a.shape)
    small = [_averaged(v, factors) for v in (a, b)]
    if any(np.ptp(v) == 0 for v in small):
        return np.zeros(3)
    best, likeness = np.zeros(3), _correlation(*small) + GAIN
    for normalization in ("phase", None):
        shift, _, _ = phase_cross_correlation(small[1], small[0], upsample_factor=4, normalization=normalization)
        # what leaves comes in on the other side: a drift that pushes what does not fit out of sight gains nothing
        shifted = ndimage.shift(small[0], shift, order=1, mode="grid-wrap")
        if (found := _correlation(shifted, small[1])) > likeness:
            best, likeness = np.asarray(shift, float) * factors, found
    return best


def _averaged(image: NDArray[Any], factors: Sequence[int]) -> NDArray[np.float64]:
    from skimage.measure import block_reduce

    small: NDArray[np.float64] = block_reduce(image, tuple(factors), np.mean).astype(np.float64)
    smooth: NDArray[np.float64] = ndimage.gaussian_filter(small, [min(1.0, (n - 1) / 4) for n in small.shape])
    return smooth


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def frame_drift(
    labels: Sequence[NDArray[Any]], images: Sequence[Any] | None, tables: tuple[Objects, Objects]
) -> Vectors:
    """The drift between two frames, by their images (channels are averaged) or, without any, by their labels.

    A drift that does not bring most objects nearer to one of the next frame is not believed: 0 then.
    """
    a, b = (table.centroid for table in tables)
    if not len(a) or not len(b):
        return np.zeros(3)
    if images is None:
        drift = find_drift(*(frame > 0 for frame in labels))
    else:
        grey = [np.asarray(i) for i in images]
        drift = find_drift(*(i.mean(axis=-1) if i.ndim > f.ndim else i for i, f in zip(grey, labels, strict=True)))
    there = cKDTree(b)
    nearer = there.query(a + drift)[0] < there.query(a)[0]
    return drift if nearer.mean() > MAJORITY else np.zeros(3)


def estimate_motion(
    frames: Sequence[Any], images: Sequence[Any] | None, spacing: Vectors, max_distance: float | None
) -> Motion:
    """Estimate what is typical from a few places of a series, from objects that are each other's nearest.

    Parameters
    ----------
    frames, images
        Of the whole series; about `SAMPLED` times three of them are read.
    spacing
        (3,) size of a voxel.
    max_distance
        Taken as it is when given.
    """
    starts = sorted({int(s) for s in np.linspace(0, max(len(frames) - 3, 0), SAMPLED).round()})
    steps, followed, areas, intensities, sizes = [], [], [], [], []
    for start in starts:
        last: dict[int, Vectors] = {}
        tables: list[tuple[Any, Objects]] = []
        for t in range(start, min(start + 3, len(frames))):
            tables.append((frames[t], measure_objects(frames[t], None if images is None else images[t])))
            sizes.append(diameters(tables[-1][1], spacing, np.ndim(frames[t]) == 2))
            if len(tables) < 2:
                continue
            (labels_a, a), (labels_b, b) = tables[-2:]
            pair = None if images is None else (images[t - 1], images[t])
            drift = frame_drift((np.asarray(labels_a), np.asarray(labels_b)), pair, (a, b))
            i, j = _mutual_nearest((a.centroid + drift) * spacing, b.centroid * spacing)
            step = (b.centroid[j] - a.centroid[i] - drift) * spacing
            steps.append(np.linalg.norm(step, axis=1))
            areas.append(np.log(b.area[j] / a.area[i]))
            intensities.append(b.mean_intensity[j] - a.mean_intensity[i])
            followed += [(last[k], s) for k, s in zip(i.tolist(), step, strict=True) if k in last]
            last = dict(zip(j.tolist(), step, strict=True))
    diameter = _median(np.concatenate(sizes) if sizes else np.zeros(0), 1.0)
    far = float(np.quantile(np.concatenate(steps), 0.9)) if steps and sum(map(len, steps)) else 0.0
    return Motion(
        diameter,
        max_distance if max_distance is not None else float(np.clip(3 * far, REACH[0] * diameter, REACH[1] * diameter)),
        _persistence(followed),
        max(_spread(areas), TYPICAL_AREA),
        _spread(intensities) if images is not None else math.nan,
    )


def diameters(objects: Objects, spacing: Vectors, flat: bool) -> Vectors:
    """(N,) diameter of the disc, or ball, of each object's size, in units of the spacing."""
    size: Vectors
    if flat:
        size = 2 * np.sqrt(objects.area * spacing[1] * spacing[2] / np.pi)
    else:
        size = 2 * np.cbrt(objects.area * np.prod(spacing) * 3 / (4 * np.pi))
    return size


def _mutual_nearest(a: Vectors, b: Vectors) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Numbers of the points that are each other's nearest."""
    if not len(a) or not len(b):
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    _, to_b = cKDTree(b).query(a)
    _, to_a = cKDTree(a).query(b)
    mutual = np.flatnonzero(to_a[to_b] == np.arange(len(a)))
    return mutual, to_b[mutual]


def _persistence(followed: Sequence[tuple[Vectors, Vectors]]) -> float:
    """The slope of an object's step over its last one, by least squares; 0 where that is not clear."""
    if len(followed) < 3:
        return 0.0
    last, this = (np.array(side) for side in zip(*followed, strict=True))
    power = float((last**2).sum())
    return float(np.clip((last * this).sum() / power, 0, 1)) if power > 0 else 0.0


def _median(values: Vectors, default: float) -> float:
    return float(np.median(values)) if len(values) else default


def _spread(changes: Sequence[Vectors]) -> float:
    """Standard deviation, told by the median absolute deviation, which a few wrong pairs do not change."""
    values = np.concatenate(changes) if changes else np.zeros(0)
    values = values[np.isfinite(values)]
    return 1.4826 * float(np.median(np.abs(values - np.median(values)))) if len(values) else 0.0

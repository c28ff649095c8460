"""The objects of one frame as a table: where each is, how large, how bright. A frame may be 2-D or 3-D, and lazy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .labels import MAX_LABEL

DIRECT = 1 << 22  # ids below this count in a table of their own; larger ones are sorted


@dataclass(frozen=True, eq=False)
class Objects:
    """What was measured of the objects of a frame, one row an object, sorted by id.

    Parameters
    ----------
    ids
        (N,) int64.
    centroid
        (N, 3) float64, z, y, x in pixels; z is 0 in a 2-D frame.
    area
        (N,) int64, pixels or voxels.
    mean_intensity
        (N,) float64, NaN without an image.
    confidence
        (N,) float64, mean over the object's pixels, NaN where unknown.
    """

    ids: NDArray[np.int64]
    centroid: NDArray[np.float64]
    area: NDArray[np.int64]
    mean_intensity: NDArray[np.float64]
    confidence: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.ids)


def measure_objects(labels: Any, image: Any = None, confidence: Any = None) -> Objects:
    """Measure every object of a frame, plane by plane, so that of a lazy 3-D frame one plane is held at a time.

    Parameters
    ----------
    labels
        (Y, X) or (Z, Y, X) ids, 0 is background; anything that can be indexed along z.
    image
        The same shape, or with a last axis of channels, which are averaged; for `Objects.mean_intensity`.
    confidence
        The same shape as ``labels``.

    Raises
    ------
    InputError
        Labels that are no 2-D or 3-D integers, or shapes that differ.
    """
    shape = tuple(np.shape(labels))
    if len(shape) == 3 and shape[0] == 0:
        raise InputError(f"labels of a frame need at least one plane; got shape {shape}.")
    for name, other in (("the image", image), ("confidence", confidence)):
        if other is not None and tuple(np.shape(other))[: len(shape)] != shape:
            raise InputError(f"{name} must match the labels {shape}; got {tuple(np.shape(other))}.")
    rows = [_measure_plane(plane, z, _at(image, z, shape), _at(confidence, z, shape)) for z, plane in planes_of(labels)]
    found, inverse = np.unique(np.concatenate([r[0] for r in rows]), return_inverse=True)
    sums = np.zeros((len(found), 6))
    np.add.at(sums, inverse, np.concatenate([r[1] for r in rows]))
    area = sums[:, 0]
    means = sums[:, 1:] / np.maximum(area, 1)[:, None]
    nothing = np.full(len(found), np.nan)
    return Objects(
        found, means[:, :3], area.astype(np.int64), nothing if image is None else means[:, 3],
        nothing if confidence is None else means[:, 4],
    )  # fmt: skip


def planes_of(labels: Any) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield (z, plane) of a 2-D or 3-D frame of labels; a 2-D frame is one plane at z 0."""
    if len(np.shape(labels)) not in (2, 3):
        raise InputError(f"labels of a frame must be (Y, X) or (Z, Y, X); got shape {tuple(np.shape(labels))}.")
    planes = [labels] if len(np.shape(labels)) == 2 else labels
    for z in range(len(planes)):
        plane = np.asarray(planes[z])
        if plane.dtype.kind == "b":
            plane = plane.astype(np.uint8)  # indexing with a mask means something else
        if plane.dtype.kind not in "bui":
            raise InputError(f"labels must be whole numbers; got dtype {plane.dtype}.")
        if plane.dtype.kind == "i" and plane.size and plane.min() < 0:
            raise InputError(f"labels must not be negative; got {plane.min()}.")
        if plane.dtype.itemsize > 4 and plane.size and plane.max() > MAX_LABEL:
            raise InputError(f"label ids must be at most {MAX_LABEL} (uint32); got {plane.max()}.")
        yield z, plane


def numbered(values: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
    """Return the sorted distinct ids of ``values`` (N,), and for each value its number among them."""
    if values.size and int(values.max()) < DIRECT:  # counting is several times faster than sorting
        present = np.zeros(int(values.max()) + 1, bool)
        present[values] = True
        return np.flatnonzero(present).astype(np.int64), (np.cumsum(present) - 1)[values]
    ids, inverse = np.unique(values, return_inverse=True)
    return ids.astype(np.int64), inverse


def _at(image: Any, z: int, shape: tuple[int, ...]) -> Any:
    return None if image is None else np.asarray(image if len(shape) == 2 else image[z])


def _measure_plane(
    plane: NDArray[Any], z: int, image: Any, confidence: Any
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Ids of a plane, and for each the sums over its pixels of 1, z, y, x, intensity and confidence."""
    at = np.flatnonzero(plane)
    ids, inverse = numbered(plane.ravel()[at])
    y, x = np.divmod(at, plane.shape[1])
    columns = [None, np.full(len(at), float(z)), y, x]
    for values in (image, confidence):
        columns.append(np.zeros(len(at)) if values is None else _pixels(values, plane.ndim)[at])
    sums = [np.bincount(inverse, weights=c, minlength=len(ids)).astype(np.float64) for c in columns]
    return ids, np.stack(sums, axis=1).reshape(len(ids), 6)


def _pixels(values: NDArray[Any], ndim: int) -> NDArray[Any]:
    """(pixels,) values of a plane; channels are averaged."""
    return (values.mean(axis=-1) if values.ndim > ndim else values).ravel()

"""Coarser and coarser copies of a plane, for viewers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

_COARSEST = 256  # pixels; a plane of this size needs no coarser copy


def level_shapes(height: int, width: int) -> list[tuple[int, int]]:
    """(Y, X) of each level, each half of the one before, rounded up."""
    shapes = [(height, width)]
    while max(shapes[-1]) > _COARSEST:
        shapes.append((-(-shapes[-1][0] // 2), -(-shapes[-1][1] // 2)))
    return shapes


def levels(plane: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """The plane (Y, X) at each level: of whole numbers the most frequent of four, of others the mean."""
    for _ in level_shapes(*plane.shape):
        yield plane
        plane = _halved(plane)


def _halved(plane: NDArray[Any]) -> NDArray[Any]:
    even = np.pad(plane, [(0, n % 2) for n in plane.shape], mode="edge")
    four = np.stack([even[i::2, k::2] for i in (0, 1) for k in (0, 1)])
    if plane.dtype.kind == "f":
        return np.asarray(four.mean(axis=0, dtype=plane.dtype))
    least, low, high, most = np.sort(four, axis=0)
    # two against two: the larger one, so that thin objects do not vanish in the background
    return np.asarray(np.where(high == most, most, np.where(low == high, low, np.where(least == low, least, four[0]))))

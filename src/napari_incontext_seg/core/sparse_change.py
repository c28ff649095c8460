"""`SparseChange`: what changed in a plane of labels, small enough to keep thousands."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .labels import as_labels
from .types import Labels

_LEVEL = 1  # of compression: fast; what changes lies together, and compresses well anyway


@dataclass(frozen=True, eq=False)
class SparseChange:
    """The pixels of a plane that changed, with what they held before and after.

    Parameters
    ----------
    shape
        (Y, X) of the plane.
    count
        How many pixels changed.
    packed
        Their places and both values, compressed.
    """

    shape: tuple[int, int]
    count: int
    packed: bytes

    @classmethod
    def between(cls, before: Any, after: Any) -> SparseChange:
        """What makes ``after`` of ``before``, both (Y, X)."""
        old, new = as_labels(before), as_labels(after)
        if old.shape != new.shape:
            raise InputError(f"both planes must have one shape; got {old.shape} and {new.shape}.")
        places = np.flatnonzero(old != new)
        steps = np.diff(places, prepend=0).astype(np.uint32)  # small numbers, alike: they compress better
        values = np.stack([steps, old.ravel()[places], new.ravel()[places]])
        return cls((old.shape[0], old.shape[1]), len(places), zlib.compress(values.tobytes(), _LEVEL))

    @property
    def nbytes(self) -> int:
        """Bytes that it takes in memory, about."""
        return len(self.packed)

    def apply(self, plane: Any, *, spared: NDArray[np.bool_] | None = None) -> Labels:
        """Write what came after, where ``plane`` still holds what was before.

        Parameters
        ----------
        plane
            (Y, X) labels; pixels that somebody changed since are left alone.
        spared
            (Y, X), True where nothing is written.
        """
        return self._written(plane, spared, 1, 2)

    def revert(self, plane: Any, *, spared: NDArray[np.bool_] | None = None) -> Labels:
        """Write what was before, where ``plane`` still holds what came after; see `apply`."""
        return self._written(plane, spared, 2, 1)

    def _written(self, plane: Any, spared: NDArray[np.bool_] | None, expected: int, wanted: int) -> Labels:
        labels = as_labels(plane, self.shape)
        values = np.frombuffer(zlib.decompress(self.packed), np.uint32).reshape(3, self.count)
        places = np.cumsum(values[0], dtype=np.int64)
        flat = labels.ravel()  # a copy of its own: as_labels makes one
        free = flat[places] == values[expected]
        if spared is not None:
            free &= ~spared.ravel()[places]
        flat[places[free]] = values[wanted][free]
        return flat.reshape(self.shape)

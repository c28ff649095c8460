"""Masks and maps of many slices, packed: a few KB each, so that thousands fit in memory."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

MAPS_BYTES = 2**28  # of compressed maps, some thousand slices


class PackedMasks:
    """A mask (Y, X) for some slices, one bit a pixel."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self._shape, self._packed = shape, dict[int, NDArray[np.uint8]]()

    def add(self, position: int, mask: NDArray[np.bool_]) -> None:
        """Add the pixels of ``mask`` to those of a slice."""
        if mask.any():
            packed, known = np.packbits(mask), self._packed.get(position)
            self._packed[position] = packed if known is None else known | packed

    def remove(self, position: int, mask: NDArray[np.bool_]) -> None:
        """Take the pixels of ``mask`` from those of a slice."""
        left = self._packed.pop(position, np.packbits(mask)) & ~np.packbits(mask)
        if left.any():
            self._packed[position] = left

    def __getitem__(self, position: int) -> NDArray[np.bool_]:
        packed = self._packed.get(position)
        if packed is None:
            return np.zeros(self._shape, bool)
        return np.unpackbits(packed, count=self._shape[0] * self._shape[1]).astype(bool).reshape(self._shape)

    def __contains__(self, position: int) -> bool:
        return position in self._packed

    def __iter__(self) -> Iterator[int]:
        return iter(self._packed)


class PackedMaps:
    """A map (Y, X) of floats in [0, 1] for some slices, in steps of 1/255, compressed.

    Parameters
    ----------
    shape
        (Y, X) of a map.
    max_bytes
        Beyond it, those that were put longest ago are forgotten.
    """

    def __init__(self, shape: tuple[int, int], *, max_bytes: int = MAPS_BYTES) -> None:
        self._shape, self._packed, self._limit = shape, dict[int, bytes](), max_bytes
        self.nbytes = 0

    def put(self, position: int, values: NDArray[np.float32] | None) -> None:
        """Keep the map of a slice; None: it has none."""
        self.nbytes -= len(self._packed.pop(position, b""))
        if values is not None:
            self._packed[position] = zlib.compress(np.rint(values * 255).astype(np.uint8).tobytes(), 1)
            self.nbytes += len(self._packed[position])
        while self.nbytes > self._limit and len(self._packed) > 1:
            self.nbytes -= len(self._packed.pop(next(iter(self._packed))))

    def get(self, position: int) -> NDArray[np.float32] | None:
        """The map of a slice, None if it has none."""
        packed = self._packed.get(position)
        if packed is None:
            return None
        levels = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(self._shape)
        return levels.astype(np.float32) / np.float32(255)

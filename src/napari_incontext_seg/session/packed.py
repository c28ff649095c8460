"""Masks and maps of many slices, packed: a few KB each, so that thousands fit in memory."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


class PackedMasks:
    """A mask (Y, X) for some slices, one bit a pixel."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self._shape, self._packed = shape, dict[int, NDArray[np.uint8]]()

    def add(self, position: int, mask: NDArray[np.bool_]) -> None:
        """Add the pixels of ``mask`` to those of a slice."""
        packed, known = np.packbits(mask), self._packed.get(position)
        self._packed[position] = packed if known is None else known | packed

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
    """A map (Y, X) of floats in [0, 1] for some slices, in steps of 1/255, compressed."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self._shape, self._packed = shape, dict[int, bytes]()

    def put(self, position: int, values: NDArray[np.float32] | None) -> None:
        """Keep the map of a slice; None: it has none."""
        if values is None:
            self._packed.pop(position, None)
        else:
            self._packed[position] = zlib.compress(np.rint(values * 255).astype(np.uint8).tobytes(), 1)

    def get(self, position: int) -> NDArray[np.float32] | None:
        """The map of a slice, None if it has none."""
        packed = self._packed.get(position)
        if packed is None:
            return None
        levels = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(self._shape)
        return levels.astype(np.float32) / np.float32(255)

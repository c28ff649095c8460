"""Masks that hold one number for all objects (0 and 255): each connected piece is taken for an object."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .instances import components
from .labels import as_labels
from .stack import Stack

_SPECK = 0.1  # of the largest piece; what is smaller is no object beside it


def one_number(planes: Iterable[Any]) -> int | None:
    """The number that all objects of some planes (Y, X) share, None where numbers tell objects apart.

    It is shared if there is no other, and in at least half of the planes that hold it it lies in several pieces.
    """
    ids, several = set[int](), list[bool]()
    for plane in planes:
        labels = as_labels(plane)
        ids.update(np.unique(labels[labels > 0]).tolist())
        if len(ids) > 1:
            return None
        if labels.any():
            areas = np.bincount(components(labels).ravel())[1:]
            several.append(bool((areas >= _SPECK * areas.max()).sum() > 1))
    return ids.pop() if several and 2 * sum(several) >= len(several) else None


class _Pieces:
    """The planes of a stack, each connected piece with a number of its own; read when asked for."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.shape = (*stack.grid, *stack.plane_shape)
        self.dtype = np.dtype(np.uint32)

    def __getitem__(self, index: Any, /) -> NDArray[np.uint32]:
        """Index with a number for each axis that counts planes, then slices."""
        *at, rows, columns = index
        position = int(np.ravel_multi_index(tuple(at), self._stack.grid)) if at else 0
        found: NDArray[np.uint32] = components(as_labels(self._stack.read(position)[..., 0]))[rows, columns]
        return found


def pieces(stack: Stack) -> Stack:
    """The same labels, each connected piece of a plane with a number of its own, from 1 in every plane."""
    axes = stack.plane_axes + "yx"
    at = [stack.axes.index(a) for a in axes]
    return Stack(
        _Pieces(stack),
        axes,
        tuple(stack.scale[k] for k in at),
        tuple(stack.units[k] for k in at),
        tuple(stack.translate[k] for k in at),
        name=stack.name,
    )

"""`Strokes`: what a person painted in a labels layer, which napari's own undo and redo take back and give again."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_KEPT = 100  # strokes: as many as napari can undo


@dataclass(frozen=True, eq=False)
class _Stroke:
    """An item of napari's paint history, and the pixels that nobody had painted before: plane -> flat indices."""

    atoms: list[Any]
    fresh: dict[int, NDArray[np.intp]]


class Strokes:
    """The last strokes in the ``data`` of a labels layer. napari does not tell of its undo; the pixels do."""

    def __init__(self, data: Any = None) -> None:
        self.data = data
        self._done: deque[_Stroke] = deque(maxlen=_KEPT)
        self._undone: list[_Stroke] = []

    def add(self, value: Any, fresh: dict[int, NDArray[np.bool_]]) -> None:
        """Note a stroke: what napari's paint event tells, and masks (Y, X) of what nobody had painted before."""
        self._undone.clear()
        self._done.append(_Stroke(list(value), {p: np.flatnonzero(mask) for p, mask in fresh.items()}))

    def forget_undone(self, position: int) -> None:
        """Give up what was undone in a slice, since the model writes there: its paint is no redo."""
        self._undone = [stroke for stroke in self._undone if position not in stroke.fresh]

    def follow(self) -> Iterator[tuple[bool, dict[int, NDArray[np.intp]]]]:
        """See in the data what was undone and redone since; yields whether it was undone, and `fresh`."""
        while self._done and _holds(self.data, self._done[-1].atoms[0], before=True):
            self._undone.append(self._done.pop())
            yield True, self._undone[-1].fresh
        while self._undone and _holds(self.data, self._undone[-1].atoms[-1], before=False):
            self._done.append(self._undone.pop())
            yield False, self._done[-1].fresh


def painted_indices(atom: Any) -> tuple[NDArray[np.intp], ...]:
    """The pixels of an entry of napari's paint history: indices, or (napari 0.9) a box and a mask in it."""
    box = getattr(atom, "slice_key", None)
    if box is None:
        return tuple(np.atleast_1d(np.asarray(axis)).ravel() for axis in np.broadcast_arrays(*atom[0]))
    shape = tuple(s.stop - s.start for s in box)
    mask = np.ones(shape, bool) if atom.mask is None else np.broadcast_to(atom.mask, shape)
    return tuple(axis + s.start for axis, s in zip(np.nonzero(mask), box, strict=True))


def _holds(data: Any, atom: Any, *, before: bool) -> bool:
    """Whether the pixels of an entry of the paint history are as they were before it, or as they were after it."""
    box = getattr(atom, "slice_key", None)
    if box is None:
        now, expected = np.asarray(data[atom[0]]), atom[1] if before else atom[2]
    else:
        region = np.asarray(data[box])
        now = region.ravel() if atom.mask is None else region[np.broadcast_to(atom.mask, region.shape)]
        expected = np.ravel(atom.old_values) if before else atom.new_value
    return bool(np.all(now == expected))

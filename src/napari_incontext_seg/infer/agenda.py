"""What can be painted next, where several paint one run at the same time."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable

from .propagation import Propagation


class Agenda:
    """Hands out the planes of a run in pieces, each when all that it follows is finished.

    Without memory every plane stands alone. With memory a plane waits for those that are shown with it: a sequence is
    painted one after another, and sequences (each way from an annotated plane, each z through time) side by side.

    Parameters
    ----------
    run
        The planes, and what they follow.
    size
        Planes in a piece, at most.
    finished
        Planes that are painted already.
    """

    def __init__(self, run: Propagation, size: int, finished: Collection[int] = ()) -> None:
        self._size = size
        self._waits_for = {p: {*run.predecessors(p)} - {*finished} for p in run.positions if p not in finished}
        self._followers: dict[int, list[int]] = {}
        for position, needed in self._waits_for.items():
            for p in needed:
                self._followers.setdefault(p, []).append(position)
        self._ready = deque(p for p, needed in self._waits_for.items() if not needed)

    def take(self) -> list[int]:
        """The next piece, in order; empty if nothing can be painted now."""
        piece: list[int] = []
        while len(piece) < self._size and (position := self._next(piece)) is not None:
            del self._waits_for[position]
            piece.append(position)
        return piece

    def _next(self, piece: list[int]) -> int | None:
        if not piece or not self._followers:
            return self._ready.popleft() if self._ready else None
        same = (f for f in self._followers.get(piece[-1], ()) if self._waits_for.get(f, {-1}) <= set(piece))
        return next(same, None)

    def finish(self, piece: Iterable[int]) -> None:
        """Say that a piece is painted."""
        for position in piece:
            for follower in self._followers.get(position, ()):
                needed = self._waits_for.get(follower)
                if needed is not None and position in needed:
                    needed.remove(position)
                    if not needed:
                        self._ready.appendleft(follower)  # a sequence goes on before another begins

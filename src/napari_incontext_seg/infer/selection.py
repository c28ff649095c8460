"""Which of many annotated planes are shown to the model for one plane: all, the nearest, or the most similar."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..core.stack import Stack
from ..core.types import Example, Kind, Plane
from ..errors import InputError

Selection: TypeAlias = Literal["nearest", "similar"]
Side: TypeAlias = Literal["onward", "backward"]
SELECTIONS: tuple[Selection, ...] = ("nearest", "similar")
THUMBNAIL = 16  # blocks a side: coarse enough to forgive small shifts between slices


@dataclass
class ExampleSelector:
    """Chooses at most ``num_examples`` of the annotated planes for a plane; None means all of them.

    At least one of them shows an object, if any does: from empty planes alone nothing can be learned.

    Parameters
    ----------
    stack, examples
        The image, and its annotated planes by number.
    num_examples, select
        How many, and by what.
    always
        Numbers of annotated planes that are shown besides, whatever the plane.
    side, axis
        Show only annotated planes that lie before (``onward``: a run comes from there) or after (``backward``) a plane
        along this axis of the grid, or beside it; and, for each label that these do not show, the nearest that does.
    kind
        Of ``instance``, one object stands for all: a side need not show each of them.
    """

    stack: Stack
    examples: Mapping[int, Example]
    num_examples: int | None = None
    select: Selection = "nearest"
    always: frozenset[int] = frozenset()
    side: Side | None = None
    axis: int = 0
    kind: Kind = "semantic"
    _thumbnails: dict[int, NDArray[np.float32]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        if self.num_examples is not None and self.num_examples < 1:
            raise InputError(f"the number of examples must be at least 1; got {self.num_examples}.")
        if self.select not in SELECTIONS:
            raise InputError(f"select must be one of {', '.join(SELECTIONS)}; got {self.select!r}.")

    def __call__(self, position: int, plane: Plane) -> tuple[Example, ...]:
        """The examples for one plane, in stack order."""
        candidates = self._candidates(position)
        if self.num_examples is None or self.num_examples >= len(candidates):
            return tuple(self.examples[p] for p in sorted(candidates))
        rank = self._by_distance(position) if self.select == "nearest" else self._by_likeness(plane)
        ranked = sorted(candidates, key=lambda p: (rank[p], p))
        chosen = ranked[: self.num_examples]
        showing = [p for p in ranked if any(self.examples[p].ids)]
        if showing and showing[0] not in chosen:
            chosen[-1] = showing[0]
        return tuple(self.examples[p] for p in sorted({*chosen, *(self.always & candidates)}))

    def _candidates(self, position: int) -> set[int]:
        """The annotated planes of which some are shown for a plane."""
        if self.side is None:
            return set(self.examples)
        here, ahead = self.stack.unravel(position), 1 if self.side == "onward" else -1
        found = {p for p in self.examples if ahead * (here[self.axis] - self.stack.unravel(p)[self.axis]) >= 0}
        known = {i for p in found for i in self._classes(p)}
        distance = self._by_distance(position)
        for p in sorted(set(self.examples) - found, key=lambda p: (distance[p], p)):
            if not known.issuperset(self._classes(p)):
                found.add(p)
                known.update(self._classes(p))
        return found | self.always

    def _classes(self, position: int) -> set[int]:
        """What an annotated plane shows: its labels, background too; of objects, 1 says that there is any."""
        ids = self.examples[position].ids
        return {min(i, 1) for i in ids} if self.kind == "instance" else set(ids)

    def _by_distance(self, position: int) -> dict[int, float]:
        here = np.array(self.stack.unravel(position))
        return {p: float(np.abs(np.array(self.stack.unravel(p)) - here).sum()) for p in self.examples}

    def _by_likeness(self, plane: Plane) -> dict[int, float]:
        for p, example in self.examples.items():
            if p not in self._thumbnails:
                self._thumbnails[p] = thumbnail(example.image)
        query = thumbnail(plane)
        return {p: -float(query @ self._thumbnails[p]) for p in self.examples}


def thumbnail(plane: Plane) -> NDArray[np.float32]:
    """A unit vector that tells planes apart: block means of the grey plane, less their mean, and its histogram."""
    grey = plane.mean(axis=2)
    rows, columns = (np.linspace(0, n, THUMBNAIL + 1).astype(int)[:-1].clip(max=n - 1) for n in grey.shape)
    sums = np.add.reduceat(np.add.reduceat(grey, rows, axis=0), columns, axis=1)
    counts = np.add.reduceat(np.add.reduceat(np.ones_like(grey), rows, axis=0), columns, axis=1)
    blocks = (sums / counts).ravel()
    histogram = np.histogram(grey, 32, (0, 1))[0] / grey.size
    parts = [part / max(float(np.linalg.norm(part)), 1e-6) for part in (blocks - blocks.mean(), histogram)]
    vector = np.concatenate(parts).astype(np.float32)
    return vector / np.float32(max(float(np.linalg.norm(vector)), 1e-6))

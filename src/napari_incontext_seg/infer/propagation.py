"""`Propagation`: a run over the planes of a stack that is ready to go, and `Step`, one finished plane of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ..core.stack import Stack
from ..core.types import Context, Example, Labels, Plane, Predictor, Segmentation, Segmenter
from .memory import memory_errors
from .route import Stop, ancestors
from .selection import ExampleSelector


@dataclass(frozen=True, eq=False)
class Step:
    """One finished plane of a run: its number, what was painted, and whether a person had annotated it."""

    position: int
    segmentation: Segmentation
    annotated: bool = False


class Propagation:
    """A run that is ready to go: checked at construction, iterated once, its length known before it begins.

    Made by `propagate`, which documents the parameters. Closing the iterator cancels the run.

    Attributes
    ----------
    stack, predictor, context
        The image with its value range, the model, and all that it is shown, ``shared`` examples first.
    route
        The planes, in the order in which they will come.
    examples
        Annotated planes by number.
    shared
        Examples from elsewhere, shown for every plane.
    selector
        Which of ``examples`` are shown for a plane.
    memory
        How many of the planes before it join them.
    """

    def __init__(
        self, stack: Stack, examples: Mapping[int, Example], predictor: Predictor, context: Context,
        route: list[Stop], selector: ExampleSelector, memory: int, shared: tuple[Example, ...],
    ) -> None:  # fmt: skip
        self.stack, self.predictor, self.context = stack, predictor, context
        self.examples, self.route, self.selector, self.shared, self.memory = examples, route, selector, shared, memory
        self._bound: dict[str, Segmenter] = {}
        self._recall: Callable[[int], Labels] | None = None

    @property
    def positions(self) -> list[int]:
        """Plane numbers in the order in which they will come."""
        return [stop.position for stop in self.route]

    @property
    def annotated(self) -> set[int]:
        """Numbers of the annotated planes."""
        return set(self.examples)

    @cached_property
    def _places(self) -> tuple[dict[int, Stop], dict[int, int]]:
        """The planes of the route by number, and when each has its turn."""
        return {s.position: s for s in self.route}, {s.position: turn for turn, s in enumerate(self.route)}

    def predecessors(self, position: int) -> list[int]:
        """Planes whose predictions are shown to the model for this one, nearest first; they have their turn before."""
        if not self.memory:
            return []
        stops, turns = self._places
        before = ancestors(stops, position, self.memory)
        return [p for p in before if p not in self.examples and turns[p] < turns[position]]

    def limited(self, keep: Callable[[int], bool]) -> Propagation:
        """The same run on those planes alone whose numbers ``keep`` accepts; the others are not even read."""
        return self._on([stop for stop in self.route if keep(stop.position)])

    def part(self, positions: Iterable[int], recall: Callable[[int], Labels]) -> Propagation:
        """Go on where others have finished: some planes of the run, in its order.

        Each comes out as in the whole run, if its `predecessors` are among these, or finished.

        Parameters
        ----------
        positions
            Plane numbers.
        recall
            Gives the labels (Y, X) that a finished plane got.
        """
        stops, _ = self._places
        part = self._on([stops[p] for p in positions])
        part._places = self._places  # predecessors are those in the whole run
        part._bound, part._recall = self._bound, recall
        return part

    def _on(self, route: list[Stop]) -> Propagation:
        return Propagation(
            self.stack, self.examples, self.predictor, self.context, route, self.selector, self.memory, self.shared
        )

    def __len__(self) -> int:
        return len(self.route)

    def __iter__(self) -> Iterator[Step]:
        return self._in_turn() if self.memory else self._in_portions()

    def _in_portions(self) -> Iterator[Step]:
        """Planes that need no other's outcome: as many at a time as the segmenter likes, one if it does not say."""
        waiting: list[tuple[int, Plane]] = []
        segmenter: Segmenter | None = None
        for position in self.positions:
            plane = self.stack.plane(position)
            needed = None if self._is_given(position) else self._segmenter(position, plane, [])
            if waiting and needed is not segmenter:
                yield from self._painted(waiting, segmenter)
                waiting = []
            segmenter = needed
            waiting.append((position, plane))
            if len(waiting) >= getattr(segmenter, "at_once", 1):
                yield from self._painted(waiting, segmenter)
                waiting = []
        if waiting:
            yield from self._painted(waiting, segmenter)

    def _in_turn(self) -> Iterator[Step]:
        """Each plane after those whose outcome it is shown."""
        chains = [self.predecessors(stop.position) for stop in self.route]
        last_use = {p: i for i, chain in enumerate(chains) for p in chain}
        remembered: dict[int, Example] = {}
        for i, stop in enumerate(self.route):
            plane = self.stack.plane(stop.position)
            if self._recall is not None:
                for p in chains[i]:
                    if p not in remembered:
                        remembered[p] = Example(self.stack.plane(p), self._recall(p), spacing=self.stack.spacing)
            recent = [remembered[p] for p in reversed(chains[i]) if p in remembered]
            step = self._visit(stop.position, plane, recent)
            if last_use.get(stop.position, i) > i:
                remembered[stop.position] = Example(plane, step.segmentation.labels, spacing=self.stack.spacing)
            for p in [p for p in remembered if last_use[p] <= i]:
                del remembered[p]
            yield step

    def _visit(self, position: int, plane: Plane, recent: list[Example]) -> Step:
        segmenter = None if self._is_given(position) else self._segmenter(position, plane, recent)
        return self._painted([(position, plane)], segmenter)[0]

    def _is_given(self, position: int) -> bool:
        return position in self.examples and bool(self.examples[position].valid.all())

    def _segmenter(self, position: int, plane: Plane, recent: list[Example]) -> Segmenter:
        chosen = self.selector(position, plane)
        return self._bind(replace(self.context, examples=(*self.shared, *chosen, *recent)))

    def _painted(self, planes: list[tuple[int, Plane]], segmenter: Segmenter | None) -> list[Step]:
        """The steps of planes, by number, that one segmenter paints; None for planes that a person has annotated."""
        if segmenter is None:
            given = [(position, self.examples[position].labels) for position, _ in planes]
            return [Step(p, Segmentation(y, np.ones(y.shape, np.float32)), annotated=True) for p, y in given]
        position, first = planes[0]
        with memory_errors(f"slice {position} of {first.shape[0]} x {first.shape[1]} pixels"):
            several: Any = segmenter  # those that ask for several planes have `many`
            painted = [segmenter(first)] if len(planes) == 1 else several.many([plane for _, plane in planes])
        return [self._kept(p, one) for (p, _), one in zip(planes, painted, strict=True)]

    def _kept(self, position: int, painted: Segmentation) -> Step:
        given = self.examples.get(position)
        if given is None:
            return Step(position, painted)
        return Step(position, keep_given(painted, given), annotated=True)

    def _bind(self, context: Context) -> Segmenter:
        if context.fingerprint not in self._bound:
            with memory_errors("the examples"):
                segmenter = self.predictor.bind(context)
            self._bound.clear()
            self._bound[context.fingerprint] = segmenter
        return self._bound[context.fingerprint]


def keep_given(painted: Segmentation, given: Example) -> Segmentation:
    """What was painted, with the pixels that a person annotated put back exactly, at confidence 1."""
    return replace(
        painted,
        labels=np.where(given.valid, given.labels, painted.labels),
        confidence=np.where(given.valid, np.float32(1), painted.confidence),
    )

"""`propagate`: annotated planes in, every other plane out, one at a time, as a generator."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ..core.spacing import match_context
from ..core.stack import Stack
from ..core.types import Context, Example, Kind, Labels, Plane, Predictor, Segmentation, Segmenter
from ..errors import InputError
from .memory import memory_errors
from .route import Direction, Stop, ancestors, plan_route
from .selection import ExampleSelector, Selection


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


def propagate(
    stack: Stack,
    annotations: Mapping[int, Any],
    predictor: Predictor,
    *,
    kind: Kind = "semantic",
    direction: Direction = "both",
    along: str | None = None,
    span: tuple[int, int] | None = None,
    memory: int = 0,
    num_examples: int | None = None,
    select: Selection = "nearest",
    ignore_label: int | None = None,
    context: Context | None = None,
) -> Propagation:
    """Paint in every other plane what was annotated in some.

    Iterating runs it: planes are read when it is their turn, so memory does not grow with the stack. Annotated
    planes come out exactly as given (of a sparsely annotated plane, the annotated pixels do).

    Parameters
    ----------
    stack
        The image; its value range is fitted here if it has none.
    annotations
        Plane number -> labels (Y, X), ids up to uint32. May be empty if there is a ``context``.
    predictor
        From `load_predictor`.
    kind
        ``semantic``: ids are classes. ``instance``: ids are objects.
    direction, along, span
        Where to go: see `plan_route`.
    memory
        How many of the last predicted planes join the examples.
    num_examples, select
        How many annotated planes are shown for one plane, the ``nearest`` or the most ``similar``; default all.
    ignore_label
        Id of pixels that were not annotated (scribbles).
    context
        More examples, from other images; resampled to this stack's pixel size where both are known.

    Returns
    -------
    Propagation
        An iterable of `Step` with a length.

    Raises
    ------
    InputError
        Labels that do not fit, no annotated plane or object, plane numbers out of range.
    """
    if memory < 0:
        raise InputError(f"memory must be 0 or more planes; got {memory}.")
    stack = stack.normalized()
    examples = {p: _example(stack, p, labels, ignore_label) for p, labels in annotations.items()}
    starts = list(examples) or ([] if context is None else _first_planes(stack, along))
    route = plan_route(stack, starts, direction=direction, along=along, span=span)
    shared = match_context(context, stack.spacing).examples if context is not None else ()
    names = context.class_names if context is not None else {}
    whole = Context((*shared, *(examples[p] for p in sorted(examples))), kind, names)
    return Propagation(
        stack, examples, predictor, whole, route, ExampleSelector(stack, examples, num_examples, select), memory, shared
    )


def _first_planes(stack: Stack, along: str | None) -> list[int]:
    """Where to begin if no plane is annotated: the first plane of every series that is travelled."""
    travelled = [i for i, axis in enumerate(stack.plane_axes) if along is None or axis in along]
    return [p for p in range(len(stack)) if not any(stack.unravel(p)[i] for i in travelled)]


def _example(stack: Stack, position: int, labels: Any, ignore_label: int | None) -> Example:
    stack.unravel(position)  # a plane number out of range is named before anything is read
    try:
        return Example.from_labels(stack.plane(position), labels, ignore_label, stack.spacing)
    except InputError as error:
        raise InputError(f"annotated slice {position}: {error}") from error


def segment_images(
    images: Iterable[Stack], context: Context, predictor: Predictor
) -> Iterator[tuple[Stack, Segmentation]]:
    """Paint what ``context`` shows in every plane of a collection, image by image.

    Each image is normalised on its own; the examples are resampled to its pixel size where both are known.
    Yields (image, segmentation of its first plane).
    """
    bound: tuple[str, Segmenter] | None = None
    for image in images:
        matched = match_context(context, image.spacing)
        if bound is None or bound[0] != matched.fingerprint:
            bound = matched.fingerprint, predictor.bind(matched)
        segmenter, plane = bound[1], image.normalized().plane(0)
        with memory_errors(f"{image.name or 'an image'} of {plane.shape[0]} x {plane.shape[1]} pixels"):
            yield image, segmenter(plane)

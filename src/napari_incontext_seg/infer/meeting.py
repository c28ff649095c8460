"""`Meeting`: between two annotated planes a run comes from both, and what they paint is put together."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Set
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..core.types import Kind, Labels, Segmentation
from ..io.spool import PlaneSpool
from ..io.storing import storing
from .propagation import Propagation, Step
from .route import Stop
from .selection import Side


class Meeting(Propagation):
    """A run in which planes between annotated ones are painted twice: from those before, and from those after.

    Each way sees the annotated planes of its own side, and, with memory, what it has painted itself. Planes that are
    reached from one side only are painted as in a run that does not meet, from all annotated planes.

    Without memory, planes come in the order of the route, two paintings at a time. With memory, the first way through a
    gap is kept on disk until the other has come back through it; a part of such a run paints again all that its memory
    goes back to.

    Parameters
    ----------
    plain
        The run that does not meet.
    onward, backward
        The runs from the planes before and after, whose selectors show their side.
    wanted
        Numbers of the planes that are to come, in order; default all.
    """

    def __init__(
        self, plain: Propagation, onward: Propagation, backward: Propagation, wanted: Iterable[int] | None = None
    ) -> None:
        stops = {stop.position: stop for stop in plain.route}
        route = plain.route if wanted is None else [stops[p] for p in wanted]
        super().__init__(
            plain.stack, plain.examples, plain.predictor, plain.context, route, plain.selector, plain.memory,
            plain.shared,
        )  # fmt: skip
        self.plain, self.onward, self.backward = plain, onward, backward
        before, after = ({stop.position: stop.source for stop in way.route} for way in (onward, backward))
        self._gaps = {p: (before[p], after[p]) for p in before if p in after and before[p] != after[p]}

    @classmethod
    def of(cls, plain: Propagation, onward: list[Stop], backward: list[Stop], *, axis: int) -> Meeting:
        """The run that a plain one becomes.

        Parameters
        ----------
        plain
            The run.
        onward, backward
            The routes each way.
        axis
            Number of the axis that they go along first.
        """

        def way(side: Side, route: list[Stop]) -> Propagation:
            selector = replace(plain.selector, side=side, axis=axis, kind=plain.context.kind)
            return Propagation(
                plain.stack, plain.examples, plain.predictor, plain.context, route, selector, plain.memory, plain.shared
            )

        return cls(plain, way("onward", onward), way("backward", backward))

    @property
    def met(self) -> Set[int]:
        """Numbers of the planes that are painted from both sides."""
        return self._gaps.keys()

    def predecessors(self, position: int) -> list[int]:
        """None that need to be painted before: what a way remembers, it paints itself."""
        return []

    def limited(self, keep: Callable[[int], bool]) -> Meeting:
        """The same run on those planes alone whose numbers ``keep`` accepts; the others are not even read."""
        plain, onward, backward = (way.limited(keep) for way in self._ways())
        return Meeting(plain, onward, backward)

    def part(self, positions: Iterable[int], recall: Callable[[int], Labels]) -> Meeting:
        """Some planes of the run; of what others have finished nothing is used, as it was put together."""
        plain, onward, backward = self._ways()
        return Meeting(plain, onward, backward, positions)

    def _ways(self) -> tuple[Propagation, Propagation, Propagation]:
        """Plain, onward and backward, with the predictor that the run has now: it may have been given a tuned one."""
        for way in (self.plain, self.onward, self.backward):
            way.predictor = self.predictor
        return self.plain, self.onward, self.backward

    def __iter__(self) -> Iterator[Step]:
        self._ways()
        return self._by_gap() if self.memory else self._side_by_side()

    def _side_by_side(self) -> Iterator[Step]:
        met = [p for p in self.positions if p in self.met]
        once = iter(self.plain.part([p for p in self.positions if p not in self.met], _nothing))
        there, back = (iter(way.part(met, _nothing)) for way in (self.onward, self.backward))
        for position in self.positions:
            yield self._put_together(next(there), next(back)) if position in self.met else next(once)

    def _by_gap(self) -> Iterator[Step]:
        wanted = set(self.positions)
        through = {way: _with_predecessors(way, wanted & self.met) for way in (self.onward, self.backward)}
        beside = {p for needed in through.values() for p in needed if p not in self.met}
        with tempfile.TemporaryDirectory(prefix=".incontext-", ignore_cleanup_errors=True) as folder:
            with storing(Path(folder)):
                there, back = (PlaneSpool.create(Path(folder) / name, self.stack) for name in ("onward", "backward"))

            def keep(spool: PlaneSpool, step: Step) -> Step:
                with storing(Path(folder)):
                    spool.write(step.position, step.segmentation.labels, step.segmentation.confidence)
                return step

            once = _with_predecessors(self.plain, (wanted - self.met) | beside)
            for step in self.plain.part(_in_order(self.plain, once), there.labels):
                if keep(there, step).position in wanted:
                    yield step
            for gap in dict.fromkeys(self._gaps.values()):
                inside = {p for p, between in self._gaps.items() if between == gap}
                for step in self.onward.part(_in_order(self.onward, through[self.onward] & inside), there.labels):
                    keep(there, step)
                for step in self.backward.part(
                    _in_order(self.backward, through[self.backward] & inside),
                    lambda p: back.labels(p) if p in self.met else there.labels(p),
                ):
                    keep(back, step)
                    if step.position in wanted:
                        yield self._put_together(_kept(there, step.position), step)

    def _put_together(self, there: Step, back: Step) -> Step:
        return Step(there.position, put_together(there.segmentation, back.segmentation, self.context.kind))


def put_together(onward: Segmentation, backward: Segmentation, kind: Kind) -> Segmentation:
    """Join what two ways painted on one plane.

    Where they agree, confidence is the mean of both. Where they do not, the label with more confidence is taken, with
    half of that confidence, and ``disagreement`` is 1. Of kind ``instance``, objects of the two that cover each other
    best are one object.
    """
    there, back = onward.labels, backward.labels
    if kind == "instance":
        back = renamed(back, there)
    differ = there != back
    sure, other = onward.confidence, backward.confidence
    labels = np.where(differ & (other > sure), back, there)
    confidence = np.where(differ, np.maximum(sure, other), sure + other) / 2
    return Segmentation(labels, confidence.astype(np.float32), onward.provenance, differ.astype(np.float32))


def renamed(labels: Labels, like: Labels) -> Labels:
    """Objects (Y, X) under the ids that they have in ``like``; those that are not there get ids of their own.

    Two objects are one if each overlaps none other by more pixels.
    """
    both = (labels > 0) & (like > 0)
    pairs, counts = np.unique(np.stack([labels[both], like[both]]), axis=1, return_counts=True)
    ours: dict[int, tuple[int, int]] = {}
    theirs: dict[int, tuple[int, int]] = {}
    for (a, b), n in zip(pairs.T.tolist(), counts.tolist(), strict=True):
        ours[a] = max(ours.get(a, (0, 0)), (n, b))
        theirs[b] = max(theirs.get(b, (0, 0)), (n, a))
    ids, inverse = np.unique(labels, return_inverse=True)
    unused = int(like.max(initial=0)) + 1
    table = np.zeros(len(ids), np.uint32)
    for k, i in enumerate(ids.tolist()):
        if i == 0:
            continue
        partner = ours.get(i, (0, 0))[1]
        if partner and theirs[partner][1] == i:
            table[k] = partner
        else:
            table[k], unused = unused, unused + 1
    return table[inverse].reshape(labels.shape)


def _with_predecessors(way: Propagation, positions: Collection[int]) -> set[int]:
    """Planes, and all that their memory goes back to."""
    found, waiting = set(positions), list(positions)
    while waiting:
        for p in way.predecessors(waiting.pop()):
            if p not in found:
                found.add(p)
                waiting.append(p)
    return found


def _in_order(way: Propagation, positions: Collection[int]) -> list[int]:
    return [p for p in way.positions if p in positions]


def _kept(spool: PlaneSpool, position: int) -> Step:
    return Step(position, Segmentation(spool.labels(position), spool.confidence(position)))


def _nothing(position: int) -> Labels:
    raise LookupError(position)  # without memory nothing is recalled

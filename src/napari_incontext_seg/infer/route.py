"""The order in which planes are visited: away from the annotated ones, each plane after its neighbour."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from ..core.stack import Stack
from ..errors import InputError

Direction: TypeAlias = Literal["onward", "backward", "both", "meet"]
DIRECTIONS: tuple[Direction, ...] = ("onward", "backward", "both", "meet")


@dataclass(frozen=True, slots=True)
class Stop:
    """One plane on the way: its number, the annotated plane it is reached from, and the neighbour visited before it.

    ``parent`` is None for an annotated plane.
    """

    position: int
    source: int
    parent: int | None


def plan_route(
    stack: Stack,
    annotated: Sequence[int],
    *,
    direction: Direction = "both",
    along: str | None = None,
    span: tuple[int, int] | None = None,
) -> list[Stop]:
    """Order the planes that can be reached from annotated ones.

    Every plane belongs to its nearest annotated plane, compared along the first axis first: in a time-lapse of
    z-stacks the annotated stack is filled along z, then each z goes through time. Each annotated plane is
    followed by the planes onward from it, then by those back from it, so that only one chain is live at a time.

    Parameters
    ----------
    stack
        Gives the grid of planes.
    annotated
        Plane numbers, at least one.
    direction
        ``onward`` (growing index), ``backward`` or ``both``, along the first axis travelled; ``meet`` as ``both``.
    along
        Letters of the axes to travel (``"z"``, ``"t"``, ``"tz"``); default all of ``stack.plane_axes``.
    span
        (first, end) indices on the first axis travelled; planes outside are not visited.

    Raises
    ------
    InputError
        No annotated plane, one out of range, an unknown axis or direction, an empty span.
    """
    axes = stack.plane_axes
    travelled = _travelled(axes, along)
    if direction not in DIRECTIONS:
        raise InputError(f"direction must be one of {', '.join(DIRECTIONS)}; got {direction!r}.")
    if not annotated:
        raise InputError("no slice is annotated: give labels for at least one slice.")
    marked = sorted(set(annotated))
    sources = np.array([stack.unravel(p) for p in marked], int).reshape(len(marked), len(axes))
    first = axes.index(travelled[0]) if travelled else None
    low, high = _span(span, stack.grid[first] if first is not None else 1)
    fixed = [i for i, a in enumerate(axes) if a not in travelled]

    rows: list[tuple[tuple[int, ...], Stop]] = []
    for position in range(len(stack)):
        here = np.array(stack.unravel(position), int)
        if first is not None and not low <= here[first] < high:
            continue
        steps = here - sources
        reachable = (steps[:, fixed] == 0).all(axis=1)
        if first is not None and direction in ("onward", "backward"):
            reachable &= steps[:, first] >= 0 if direction == "onward" else steps[:, first] <= 0
        if not reachable.any():
            continue
        candidates = np.flatnonzero(reachable)
        best = candidates[0]
        if stack.grid:  # row-major numbers of the steps compare them along the first axis first
            best = candidates[np.ravel_multi_index(tuple(np.abs(steps[candidates]).T), stack.grid).argmin()]
        rows.append(_stop(stack, position, here, int(best), sources))
    return [stop for _, stop in sorted(rows, key=lambda row: row[0])]


def _stop(
    stack: Stack, position: int, here: np.ndarray, best: int, sources: np.ndarray
) -> tuple[tuple[int, ...], Stop]:
    """The stop at a plane, with the key that sorts it: source, then an axis at a time onward before backward."""
    step = here - sources[best]
    key = [best]
    for s in step:
        key += [0 if s == 0 else 1 if s > 0 else 2, abs(int(s))]
    source = _ravel(stack, sources[best])
    if not step.any():
        return tuple(key), Stop(position, source, None)
    axis = int(np.flatnonzero(step)[0])
    back = here.copy()
    back[axis] -= np.sign(step[axis])
    return tuple(key), Stop(position, source, _ravel(stack, back))


def _ravel(stack: Stack, index: np.ndarray) -> int:
    return int(np.ravel_multi_index(tuple(index), stack.grid)) if stack.grid else 0


def first_axis(stack: Stack, along: str | None) -> int:
    """Number, among the axes that count planes, of the first one travelled; 0 where there is none."""
    travelled = _travelled(stack.plane_axes, along)
    return stack.plane_axes.index(travelled[0]) if travelled else 0


def _travelled(axes: str, along: str | None) -> str:
    if along is None:
        return axes
    if not along or any(a not in axes for a in along):
        raise InputError(f"along must name axes of the stack ({axes or 'a single image'}); got {along!r}.")
    return "".join(a for a in axes if a in along)


def _span(span: tuple[int, int] | None, size: int) -> tuple[int, int]:
    low, high = span if span is not None else (0, size)
    if not 0 <= low < high <= size:
        raise InputError(f"the range must lie within 0:{size} and hold at least one slice; got {low}:{high}.")
    return low, high


def ancestors(stops: Mapping[int, Stop], position: int, count: int) -> Iterator[int]:
    """The ``count`` planes visited before ``position`` on its chain, nearest first."""
    at = stops[position].parent
    while at is not None and at in stops and count > 0:
        yield at
        at, count = stops[at].parent, count - 1

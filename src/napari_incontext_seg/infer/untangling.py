"""A correction reaches back: a track that a person's word contradicts is changed where it most likely went wrong."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .lineage import Nodes
from .motion import Motion

STEP = 4.5  # cost of a step of `max_distance`
LOOKS = 2.0  # most that a change of area costs
NEW = 8.0  # cost of a track that begins


def untangle(nodes: Nodes, motion: Motion) -> None:
    """Exchange what two tracks are before a jump that a person's word makes one of them do.

    A person names an object that the tracks so named did not reach: the link to it is a jump. The track that did
    reach it, and the one that jumps, have been mistaken for each other somewhere since the last frame in which a
    person named one of them. There the exchange is made that costs least.
    """
    for row in np.flatnonzero((nodes.group >= 0) & (nodes.before >= 0)).tolist():
        jumper = int(nodes.before[row])
        rival = _nearest_before(nodes, motion, row)
        if rival < 0 or rival == jumper or _step(nodes, motion, jumper, row) <= _step(nodes, motion, rival, row):
            continue
        place = _exchange(nodes, motion, jumper, rival)
        if place is None:
            continue
        a, b = place  # from here on the two are exchanged
        before_a, before_b = int(nodes.before[a]), int(nodes.before[b])
        follower = int(nodes.after[rival])
        for cut in (a, b, row, follower):
            if cut >= 0:
                nodes.cut(cut)
        nodes.connect(before_a, b, 0.0)
        if before_b >= 0:
            nodes.connect(before_b, a, 0.0)
        nodes.connect(rival, row, 0.0)
        if follower >= 0 and (nodes.group[follower] >= 0 or _step(nodes, motion, jumper, follower) < STEP):
            nodes.connect(jumper, follower, 0.0)


def _nearest_before(nodes: Nodes, motion: Motion, row: int) -> int:
    """The object of the frame before that an object most likely was, -1 if none is near."""
    rows = nodes.rows(int(nodes.frame[row]) - 1)
    costs = _steps(nodes, motion, rows, row)
    best = int(costs.argmin()) if len(rows) else -1
    return int(rows[best]) if len(rows) and costs[best] < STEP else -1


def _exchange(nodes: Nodes, motion: Motion, a: int, b: int) -> tuple[int, int] | None:
    """The objects, of the same frame, from which on two tracks that end here are best exchanged; None if they cannot.

    Not before anything that a person named. Where one track begins, the other may go over to it.
    """
    best, least = None, np.inf
    while nodes.group[a] < 0 and nodes.group[b] < 0:
        before_a, before_b = int(nodes.before[a]), int(nodes.before[b])
        if before_a < 0 or nodes.frame[before_a] != nodes.frame[a] - 1:
            break
        cost = _step(nodes, motion, before_a, b) - _step(nodes, motion, before_a, a)
        if before_b < 0:
            cost += NEW
        elif nodes.frame[before_b] == nodes.frame[b] - 1:
            cost += _step(nodes, motion, before_b, a) - _step(nodes, motion, before_b, b)
        else:
            break
        if cost < least:
            best, least = (a, b), cost
        if before_b < 0:
            break
        a, b = before_a, before_b
    return best


def _step(nodes: Nodes, motion: Motion, row: int, later: int) -> float:
    """What it costs to take an object for one of the next frame."""
    return float(_steps(nodes, motion, np.array([row]), later)[0])


def _steps(nodes: Nodes, motion: Motion, rows: NDArray[np.intp], later: int) -> NDArray[np.float64]:
    """What it costs to take each of some objects for one of the next frame."""
    expected = nodes.place[rows] + motion.persistence * nodes.velocity[rows]
    distance = np.linalg.norm(nodes.place[later] - expected, axis=1) / motion.max_distance
    change = np.log(nodes.area[later] / nodes.area[rows]) / motion.area_spread
    costs: NDArray[np.float64] = STEP * distance**2 + np.minimum(change**2 / 8, LOOKS)
    return costs

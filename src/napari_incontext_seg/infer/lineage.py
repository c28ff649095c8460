"""From links between neighbouring frames to tracks: divisions are found, gaps closed, tracks numbered."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations, count
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ..core.labels import MAX_LABEL
from ..core.objects import Objects
from .assignment import assign
from .identity import Identities
from .motion import Motion, Vectors

PULL = 4.5  # cost of daughters whose middle is `max_distance` from where their mother was
UNEQUAL = 2.5  # daughters whose areas differ by more than this factor are none
TOGETHER = (0.4, 1.5)  # what daughters' areas may add up to, in those of the mother
APART = 2.0  # daughters farther apart than so many diameters of the mother are none
REMEMBERED = 3  # frames before it divides in which the mother's area is looked at: it shrinks when it rounds up
DIVISION = 6.0  # a division of this cost is not believed
GAP = 5.0  # nor a gap of this cost


@dataclass(eq=False)
class Nodes:
    """All objects of a series in one table, and who follows whom; row numbers stand for objects, -1 for nobody."""

    spacing: Vectors
    frame: Any = field(default_factory=list)
    ids: Any = field(default_factory=list)
    place: Any = field(default_factory=list)  # (N, 3) in units of the spacing, as if no frame had drifted
    velocity: Any = field(default_factory=list)  # in the same units
    area: Any = field(default_factory=list)
    intensity: Any = field(default_factory=list)
    before: Any = field(default_factory=list)
    sure: Any = field(default_factory=list)
    group: Any = field(default_factory=list)
    after: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    mother: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    starts: list[int] = field(default_factory=lambda: [0])  # first row of each frame
    _drift: Vectors = field(default_factory=lambda: np.zeros(3))

    def add(
        self, frame: int, objects: Objects, before: NDArray[np.int64], sure: NDArray[np.float64],
        group: NDArray[np.int64], drift: Vectors, velocity: Vectors,
    ) -> None:  # fmt: skip
        """Add a frame; ``before`` counts within the frame before."""
        self._drift = self._drift + drift
        first = self.starts[frame - 1] if frame else 0
        self.frame.append(np.full(len(objects), frame))
        self.ids.append(objects.ids)
        self.place.append((objects.centroid - self._drift) * self.spacing)
        self.velocity.append(velocity * self.spacing)
        self.area.append(objects.area)
        self.intensity.append(objects.mean_intensity)
        self.before.append(np.where(before >= 0, before + first, -1))
        self.sure.append(sure)
        self.group.append(group)
        self.starts.append(self.starts[-1] + len(objects))

    def close(self) -> None:
        """Make one table of all frames."""
        for name in ("frame", "ids", "place", "velocity", "area", "intensity", "before", "sure", "group"):
            setattr(self, name, np.concatenate(getattr(self, name)))
        self.after = np.full(len(self.ids), -1)
        self.after[self.before[self.before >= 0]] = np.flatnonzero(self.before >= 0)
        self.mother = np.full(len(self.ids), -1)

    def rows(self, frame: int) -> NDArray[np.intp]:
        """Rows of a frame."""
        return np.arange(self.starts[frame], self.starts[frame + 1])

    def row(self, frame: int, object_id: int) -> int:
        """The row of an object, -1 where it is not in the labels."""
        rows = self.rows(frame)
        at = np.flatnonzero(self.ids[rows] == object_id)
        return int(rows[at[0]]) if len(at) else -1

    def connect(self, row: int, later: int, sure: float) -> None:
        """Let an object be the next of another's track."""
        self.after[row], self.before[later], self.sure[later] = later, row, sure

    def cut(self, later: int) -> None:
        """Take an object from the one before it."""
        if self.before[later] >= 0:
            self.after[self.before[later]] = -1
        self.before[later] = -1

    def bear(self, mother: int, daughters: tuple[int, int] | list[int], sure: float) -> None:
        """Let an object divide; its track ends."""
        for daughter in daughters:
            self.cut(daughter)
            self.mother[daughter], self.sure[daughter] = mother, sure

    def heads(self) -> NDArray[np.intp]:
        """Rows at which tracks begin out of nothing."""
        return np.flatnonzero((self.before < 0) & (self.mother < 0))

    def tails(self) -> NDArray[np.intp]:
        """Rows at which tracks end without dividing."""
        tail = self.after < 0
        tail[self.mother[self.mother >= 0]] = False
        return np.flatnonzero(tail)


def divide(nodes: Nodes, motion: Motion, identities: Identities) -> None:
    """Find the tracks that begin as one of two daughters; the surest first, each object in one division at most."""
    _confirmed_divisions(nodes, identities)
    proposed = sorted(_proposed_divisions(nodes, motion, identities))
    used: set[int] = set()
    for cost, mother, a, b in proposed:
        if used.isdisjoint((mother, a, b)):
            used |= {mother, a, b}
            nodes.bear(mother, (a, b), 1 - cost / DIVISION)


def _confirmed_divisions(nodes: Nodes, identities: Identities) -> None:
    for (frame, i), (frame_before, j) in identities.mothers.items():
        daughter, mother = nodes.row(frame, i), nodes.row(frame_before, j)
        if min(daughter, mother) >= 0:
            nodes.bear(mother, [daughter], 1.0)


def _proposed_divisions(nodes: Nodes, motion: Motion, identities: Identities) -> list[tuple[float, int, int, int]]:
    """(cost, mother, daughter, daughter) of all divisions that can be believed."""
    proposed = []
    new = np.zeros(len(nodes.ids), bool)
    new[nodes.heads()] = True
    mothers = {*nodes.mother[nodes.mother >= 0].tolist()}
    for t in range(1, len(nodes.starts) - 1):
        fresh = nodes.rows(t)[new[nodes.rows(t)]]
        earlier = nodes.rows(t - 1)
        if not len(fresh) or not len(earlier):
            continue
        tree = cKDTree(nodes.place[fresh])
        reach = APART * motion.diameter + motion.max_distance
        for mother, near in zip(earlier.tolist(), tree.query_ball_point(nodes.place[earlier], reach), strict=True):
            follower = int(nodes.after[mother])
            if not near or mother in mothers or (follower >= 0 and nodes.frame[follower] != t):
                continue
            others = fresh[near].tolist()
            pairs = [(follower, o) for o in others] if follower >= 0 else list(combinations(others, 2))
            for a, b in pairs:
                cost = _division_cost(nodes, motion, mother, a, b)
                if cost < DIVISION and _may_divide(nodes, identities, mother, a, b):
                    proposed.append((cost, mother, a, b))
    return proposed


def _division_cost(nodes: Nodes, motion: Motion, mother: int, a: int, b: int) -> float:
    """How unlike a mother and her two daughters they are; infinite where they cannot be."""
    areas = nodes.area[[a, b]].astype(float)
    usual, row = float(nodes.area[mother]), mother
    for _ in range(REMEMBERED - 1):
        row = int(nodes.before[row])
        if row < 0:
            break
        usual = max(usual, float(nodes.area[row]))
    unequal, together = float(areas.max() / areas.min()), float(areas.sum() / usual)
    apart = float(np.linalg.norm(nodes.place[a] - nodes.place[b])) / motion.diameter
    middle = areas @ nodes.place[[a, b]] / areas.sum()
    pull = float(np.linalg.norm(middle - nodes.place[mother])) / motion.max_distance
    if unequal > UNEQUAL or not TOGETHER[0] <= together <= TOGETHER[1] or areas.max() > usual:
        return np.inf
    if apart > APART or pull > 1 or _flickers(nodes, a) or _flickers(nodes, b):
        return np.inf
    cost = PULL * pull**2 + 2 * np.log(unequal) ** 2 + 2 * np.log(together) ** 2 + apart / 2
    if motion.intensity_spread > 0:
        differ = float(nodes.intensity[a] - nodes.intensity[b]) / motion.intensity_spread
        cost += min(differ**2 / 8, 1.0) if np.isfinite(differ) else 0.0
    return float(cost)


def _flickers(nodes: Nodes, row: int) -> bool:
    """Whether a track that begins here is gone in the next frame: an object that fell apart once, not a daughter."""
    return bool(nodes.after[row] < 0 and nodes.frame[row] < len(nodes.starts) - 2)


def _may_divide(nodes: Nodes, identities: Identities, mother: int, a: int, b: int) -> bool:
    """False where a person said that the object before and after is one, or that a daughter was there before."""
    frame = int(nodes.frame[a])
    follows = int(nodes.before[a]) == mother
    for daughter in (a, b):
        group = int(nodes.group[_next_said(nodes, daughter)])
        if group >= 0 and identities.span(group)[0] < frame:
            return False
    said = int(nodes.group[_next_said(nodes, mother, back=True)])
    return not (follows and said >= 0 and identities.span(said)[1] >= frame)


def _next_said(nodes: Nodes, row: int, *, back: bool = False) -> int:
    """The first row from here on along the track of which a person said who it is, or the last row there is."""
    step = nodes.before if back else nodes.after
    while nodes.group[row] < 0 and step[row] >= 0:
        row = int(step[row])
    return row


def close_gaps(nodes: Nodes, motion: Motion, max_gap: int) -> None:
    """Join tracks that end to tracks that begin a few frames later."""
    heads, tails = nodes.heads(), nodes.tails()
    rows: list[Any] = [np.zeros(0, np.int64)]
    columns: list[Any] = [np.zeros(0, np.int64)]
    costs: list[Any] = [np.zeros(0)]
    for missing in range(1, max_gap + 1):
        for t in range(missing + 1, len(nodes.starts) - 1):
            ends = tails[nodes.frame[tails] == t - missing - 1]
            begins = heads[nodes.frame[heads] == t]
            if not len(ends) or not len(begins):
                continue
            reach = motion.max_distance * np.sqrt(missing + 1)
            expected = nodes.place[ends] + motion.persistence * (missing + 1) * nodes.velocity[ends]
            near = cKDTree(expected).sparse_distance_matrix(
                cKDTree(nodes.place[begins]), reach, output_type="coo_matrix"
            )
            row, column = ends[near.row], begins[near.col]
            cost = PULL * (near.data / reach) ** 2 + missing / 2
            cost += np.minimum((np.log(nodes.area[column] / nodes.area[row]) / motion.area_spread) ** 2 / 8, GAP)
            allowed = [_may_join(nodes, a, b) for a, b in zip(row.tolist(), column.tolist(), strict=True)]
            kept = np.array(allowed, bool)
            for parts, values in ((rows, row), (columns, column), (costs, cost)):
                parts.append(values[kept])
    row, column, cost = np.concatenate(rows), np.concatenate(columns), np.concatenate(costs)
    for k in assign(row, column, cost, GAP):
        tail, head = int(row[k]), int(column[k])
        if _may_join(nodes, tail, head):  # once more: joins before may have given either another name
            nodes.connect(tail, head, float(1 - cost[k] / GAP))


def join_said(nodes: Nodes) -> None:
    """Join the pieces of tracks that a person said are one."""
    last: dict[int, int] = {}
    for row in np.flatnonzero(nodes.group >= 0).tolist():
        group = int(nodes.group[row])
        if group in last:
            tail, head = _end(nodes, last[group]), _end(nodes, row, back=True)
            if tail != _end(nodes, row):
                # what has run on beside the object's true track is let go
                while nodes.frame[tail] >= nodes.frame[head]:
                    tail, lost = int(nodes.before[tail]), tail
                    nodes.cut(lost)
                nodes.connect(tail, head, 0.0)
        last[group] = row


def _end(nodes: Nodes, row: int, *, back: bool = False) -> int:
    step = nodes.before if back else nodes.after
    while step[row] >= 0:
        row = int(step[row])
    return row


def _may_join(nodes: Nodes, tail: int, head: int) -> bool:
    """False where a person gave the two different names."""
    a = int(nodes.group[_next_said(nodes, tail, back=True)])
    b = int(nodes.group[_next_said(nodes, head)])
    return a < 0 or b < 0 or a == b


def number_tracks(nodes: Nodes, identities: Identities) -> tuple[NDArray[np.int64], dict[int, tuple[int, ...]]]:
    """(N,) track id of every object, and daughter -> mothers.

    Tracks keep the names that a person gave them; others are numbered in the order in which they begin.
    """
    track = np.zeros(len(nodes.ids), np.int64)
    taken = {*identities.names}
    first = max(taken, default=0) + 1
    if first + len(track) > MAX_LABEL:
        first = 1
    unused = (i for i in count(first) if i not in taken)
    for row in range(len(nodes.ids)):  # sorted by frame, so the one before has its id
        if nodes.before[row] >= 0:
            track[row] = track[nodes.before[row]]
            continue
        said = int(nodes.group[_next_said(nodes, row)])
        name = identities.name(said) if said >= 0 else None
        track[row] = next(unused) if name is None else name
    parents: dict[int, tuple[int, ...]] = {
        int(track[row]): (int(track[nodes.mother[row]]),) for row in np.flatnonzero(nodes.mother >= 0).tolist()
    }
    return track, parents

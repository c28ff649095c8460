"""What a person has said about who is who: links that are never undone."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

Confirmed: TypeAlias = tuple[int, int, int, int]  # frame, id, frame, id: the same object, or mother and daughter
_Node: TypeAlias = tuple[int, int]  # frame, id


class Identities:
    """Objects of different frames that are known to be one, as numbered groups.

    Parameters
    ----------
    confirmed
        (frame, id, later frame, id) each. An object with two successors has divided, in whichever frames they are;
        but successors in different frames that have the same id are one.
    named
        Frame -> ids in it that are names: the same name in two frames is one object, two names are two.

    Raises
    ------
    InputError
        A link that does not go forwards, or two objects of a frame that would be one.
    """

    def __init__(self, confirmed: Iterable[Confirmed] = (), named: Mapping[int, Collection[int]] | None = None) -> None:
        self.mothers: dict[_Node, _Node] = {}
        self._root: dict[_Node, _Node] = {}
        names: dict[int, _Node] = {}
        for frame, ids in sorted((named or {}).items()):
            for i in ids:
                self._join(names.setdefault(int(i), (frame, int(i))), (frame, int(i)))
        self._add(list(confirmed))
        roots = sorted({self._find(node) for node in self._root})
        numbers = {root: k for k, root in enumerate(roots)}
        self._members: list[dict[int, int]] = [{} for _ in roots]
        for frame, i in self._root:
            members = self._members[numbers[self._find((frame, i))]]
            if members.setdefault(frame, i) != i:
                raise InputError(
                    f"objects {members[frame]} and {i} of frame {frame} are both said to be the same track: "
                    "take back one of these links."
                )
        self._at: dict[int, dict[int, int]] = {}
        for group, members in enumerate(self._members):
            for frame, i in members.items():
                self._at.setdefault(frame, {})[i] = group
        self._names: dict[int, int] = {}
        for name, node in names.items():
            group = numbers[self._find(node)]
            if self._names.setdefault(group, name) != name:
                raise InputError(f"the objects {self._names[group]} and {name} have names of their own: not one track.")

    def _add(self, confirmed: list[Confirmed]) -> None:
        after: dict[_Node, list[_Node]] = {}
        for t, i, u, j in sorted(confirmed):
            if t >= u:
                raise InputError(f"a link goes from a frame to a later one; got {t} to {u}.")
            after.setdefault((t, i), []).append((u, j))
        for source, targets in after.items():
            first: dict[int, _Node] = {}
            for node in targets:
                self._join(first.setdefault(node[1], node), node)
            if len(first) == 1:
                self._join(source, targets[0])
        for source, targets in after.items():
            found: dict[_Node, _Node] = {}  # what other links say is one object is one successor
            for node in targets:
                found.setdefault(self._find(node), node)
            daughters = list(found.values())
            if len(daughters) > 2 and daughters[0][1] == source[1] and daughters[0][0] < daughters[1][0]:
                self._join(source, daughters.pop(0))  # goes on for a while, then divides
            if len(daughters) == 1:
                self._join(source, daughters[0])
            else:
                self.mothers.update(dict.fromkeys(daughters, source))
                self._root.setdefault(source, source)

    def _find(self, node: _Node) -> _Node:
        self._root.setdefault(node, node)
        while self._root[node] != node:
            node = self._root[node]
        return node

    def _join(self, a: _Node, b: _Node) -> None:
        first, second = sorted((self._find(a), self._find(b)))
        self._root[second] = first

    def name(self, group: int) -> int | None:
        """The id that a group must have, None where any will do."""
        return self._names.get(group)

    @property
    def names(self) -> Collection[int]:
        """All names, which no other track may take."""
        return self._names.values()

    def span(self, group: int) -> tuple[int, int]:
        """First and last frame in which somebody has said which object it is."""
        return min(self._members[group]), max(self._members[group])

    def of(self, frame: int, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """The group of each object of a frame, -1 for those of which nothing was said."""
        known = self._at.get(frame, {})
        return np.array([known.get(i, -1) for i in ids.tolist()], np.int64)

    def divided(self, frame: int, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which objects of a frame are said to divide after it."""
        mothers = {i for t, i in self.mothers.values() if t == frame}
        return np.isin(ids, list(mothers))

    def born(self, frame: int, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which objects of a frame are said to be daughters."""
        return np.isin(ids, [i for t, i in self.mothers if t == frame])

    def forced(self, frame: int, chains: NDArray[np.int64], here: NDArray[np.int64]) -> dict[int, int]:
        """Row -> column of links that must be: the chain of a group meets the group's next object.

        Parameters
        ----------
        frame
            That of the columns.
        chains
            (N,) group of the chain that each row belongs to, -1 for none.
        here
            (M,) group of each column.
        """
        columns = {int(g): j for j, g in enumerate(here.tolist()) if g >= 0}
        return {i: columns[g] for i, g in enumerate(chains.tolist()) if g in columns}

    def possible(
        self, frame: int, chains: NDArray[np.int64], here: NDArray[np.int64],
        rows: NDArray[np.int64], columns: NDArray[np.int64],
    ) -> NDArray[np.bool_]:  # fmt: skip
        """Which candidate links contradict nothing that was said."""
        forced = self.forced(frame, chains, here)
        taken_rows, taken_columns = np.array([*forced.keys()], int), np.array([*forced.values()], int)
        begun = np.array([g >= 0 and self.span(g)[0] < frame for g in here.tolist()], bool).reshape(len(here))
        g_row, g_column = chains[rows], here[columns]
        two = (g_row >= 0) & (g_column >= 0)
        wrong: NDArray[np.bool_] = two | begun[columns] | np.isin(rows, taken_rows) | np.isin(columns, taken_columns)
        return ~wrong

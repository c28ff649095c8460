"""What an edit of tracks would do, and what is kept of it so that it can be taken back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from ..core.sparse_change import SparseChange
from ..infer.identity import Confirmed
from .track_rows import Box, Columns

Node = tuple[int, int]  # frame, id


@dataclass(frozen=True)
class State:
    """What an edit changes besides labels."""

    parents: Mapping[int, tuple[int, ...]]
    confirmed: frozenset[Confirmed]


@dataclass(frozen=True)
class Edit:
    """An edit that can be taken back: what changed in which frame, with the table's rows before and after."""

    title: str
    changes: dict[int, tuple[Box, SparseChange]]
    rows: dict[int, tuple[Columns, Columns]]
    before: State
    after: State


@dataclass(frozen=True)
class Plan:
    """What an edit would do: new labels by frame, ids by node that stands for another track now, parents, links.

    Links in ``gone`` were confirmed, and are no more.
    """

    title: str
    labels: dict[int, tuple[Box, NDArray[Any]]]  # by frame: the part that changes, and what it holds then
    renamed: dict[Node, int] = field(default_factory=dict)
    parents: Mapping[int, tuple[int, ...]] | None = None
    links: tuple[Confirmed, ...] = ()
    sure: Node | None = None  # an object whose confidence becomes 1
    gone: frozenset[Confirmed] = frozenset()

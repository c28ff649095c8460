"""`TrackEditor`: tracks and their labels, corrected by a person; every edit can be undone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..core.labels import unused_ids
from ..core.sparse_change import SparseChange
from ..core.tracks import COLUMNS, Tracks
from ..errors import InputError
from ..infer.identity import Confirmed
from .track_plan import Edit, Plan, State
from .track_rows import (
    Box,
    Columns,
    box_of,
    changed_rows,
    in_order,
    measured_rows,
    no_rows,
    smaller_part,
    table_of,
)

KEPT = 200  # edits that can be undone


class Frames(Protocol):
    """The labels of each time point, (Y, X) or (Z, Y, X), whose ids are the tracks."""

    def read(self, frame: int, /) -> NDArray[Any]: ...
    def write(self, frame: int, labels: NDArray[Any], /) -> None: ...


class TrackEditor:
    """Tracks that a person corrects.

    Labels, table and lineage change together. What a person has joined becomes a confirmed link, which a new tracking
    (`infer.track.track_labels`, ``confirmed``) never undoes. Objects that were edited have confidence 1.

    Parameters
    ----------
    tracks
        The table of what the labels hold.
    frames
        The labels; written to.
    image
        Gives the image (Y, X) or (Z, Y, X) of a frame, perhaps with channels, for intensities; None without an image.
    confirmed
        Links that are confirmed already.
    on_change
        Called after every edit, undo and redo, with the frames whose labels changed.

    Attributes
    ----------
    tracks
        The table as it is now.
    confirmed
        Links (frame, id, later frame, id) that a person has made, by the ids that the labels have now.
    """

    def __init__(
        self, tracks: Tracks, frames: Frames, *, image: Callable[[int], Any] | None = None,
        confirmed: Iterable[Confirmed] = (), on_change: Callable[[list[int]], None] | None = None,
    ) -> None:  # fmt: skip
        self.tracks, self._frames, self._image, self._on_change = tracks, frames, image, on_change
        self._state = State(dict(tracks.parents), frozenset(confirmed))
        order = np.argsort(tracks.frame, kind="stable")
        cuts = np.searchsorted(tracks.frame[order], np.arange(int(tracks.frame.max(initial=-1)) + 2))
        columns = [getattr(tracks, name)[order] for name in COLUMNS]
        self._rows: dict[int, Columns] = {
            t: tuple(column[a:b] for column in columns) for t, (a, b) in enumerate(pairwise(cuts))
        }
        self._painted: set[int] = set()  # frames that were changed by others
        self._undone: list[Edit] = []
        self._done: list[Edit] = []

    @property
    def confirmed(self) -> tuple[Confirmed, ...]:
        """Links that a person has made, in the order of frames."""
        return tuple(sorted(self._state.confirmed))

    # -- edits ----------------------------------------------------------------------------------------------------
    def merge_objects(self, frame: int, kept: int, other: int) -> None:
        """Make two objects of a frame one, ``kept``.

        Raises
        ------
        InputError
            One of them is not there.
        """
        self._row(kept, frame)
        self._row(other, frame)
        whole = len(self._frames_of(other)) == 1
        parents = self._parents_without(other, instead=kept) if whole else None
        labels = {frame: self._replaced(frame, {other: kept})}
        self._change(Plan(f"merge {other} into {kept}", labels, {(frame, other): kept}, parents))

    def merge_tracks(self, kept: int, other: int) -> None:
        """Make two tracks one, ``kept``: in frames that have both, two pieces of one object."""
        if kept == other:
            raise InputError(f"track {kept} is one already.")
        frames = self._frames_of(other)
        parents = self._parents_without(other, instead=kept)
        ends = sorted({*frames, *self._frames_of(kept)})
        mine = {*frames}
        links = tuple((a, kept, b, kept) for a, b in pairwise(ends) if (a in mine) != (b in mine))
        renamed = {(t, other): kept for t in frames}
        labels = {t: self._replaced(t, {other: kept}) for t in frames}
        self._change(Plan(f"merge track {other} into {kept}", labels, renamed, parents, links))

    def split_object(self, frame: int, track: int) -> int:
        """Part an object of a frame at its waist; the smaller part becomes a track of its own, whose id is returned."""
        self._row(track, frame)
        new = self._unused()
        box, labels = self._replaced(frame, {track: track})
        labels[smaller_part(labels == track)] = new
        self._change(Plan(f"split object {track}", {frame: (box, labels)}))
        return new

    def split_track(self, track: int, frame: int) -> int:
        """End a track before ``frame``; what comes from there on gets an id of its own, which is returned."""
        later = self._later(track, frame)
        if len(later) == len(self._frames_of(track)):
            raise InputError(
                f"track {track} begins in frame {self.tracks.begin(track)}: there is nothing to part from."
            )
        new = self._unused()
        parents = {c: tuple(new if p == track else p for p in ps) for c, ps in self._state.parents.items()}
        renamed = {(t, track): new for t in later}
        self._change(
            Plan(f"split track {track}", {t: self._replaced(t, {track: new}) for t in later}, renamed, parents)
        )
        return new

    def delete(self, track: int, frames: Iterable[int] | None = None) -> None:
        """Delete a track, or its objects in some frames."""
        gone = (
            self._frames_of(track) if frames is None else [t for t in frames if self.tracks.row(track, t) is not None]
        )
        if not gone:
            raise InputError(f"track {track} is in none of these frames.")
        whole = len(gone) == len(self._frames_of(track))
        parents = self._parents_without(track) if whole else self._state.parents
        renamed = {(t, track): 0 for t in gone}
        self._change(Plan(f"delete {track}", {t: self._replaced(t, {track: 0}) for t in gone}, renamed, parents))

    def relink(self, track: int, frame: int, to: int) -> None:
        """Say that an object, from ``frame`` on, is the track ``to``.

        Raises
        ------
        InputError
            ``to`` is another object in one of these frames: swap them, or split it before.
        """
        later, there = self._later(track, frame), set(self._frames_of(to))
        if both := sorted(there.intersection(later)):
            raise InputError(f"track {to} is in frame {both[0]} too: swap the two, or split {to} there first.")
        before = max((t for t in there if t < later[0]), default=None)
        links = () if before is None else ((before, to, later[0], to),)
        whole = len(later) == len(self._frames_of(track))
        parents = {c: tuple(to if p == track else p for p in ps) for c, ps in self._state.parents.items()}
        if whole:
            parents.pop(track, None)
        renamed = {(t, track): to for t in later}
        labels = {t: self._replaced(t, {track: to}) for t in later}
        self._change(Plan(f"relink {track} to {to}", labels, renamed, parents, links))

    def swap(self, one: int, other: int, frame: int) -> None:
        """Exchange two tracks from ``frame`` on, with their descendants, also of one that ended just before.

        Raises
        ------
        InputError
            Neither is there from this frame on, or one is a daughter that begins after the other has ended.
        """
        if one == other:
            raise InputError("a track cannot be swapped with itself.")
        both = {one: other, other: one}
        later = {i: [t for t in self._frames_of(i) if t >= frame] for i in both}
        last = {i: max((t for t in self._frames_of(i) if t < frame), default=None) for i in both}
        if not later[one] and not later[other]:
            raise InputError(f"neither {one} nor {other} is there from frame {frame} on.")

        def mother(track: int, begin: int) -> tuple[int, ...]:
            """Whose a child of a track is after the swap; nobody's where the other track begins later."""
            if track not in both or begin < frame or (begin == frame and later[track]):
                return (track,)
            return () if not later[track] and last[both[track]] is None else (both[track],)

        parents = {
            child: tuple(m for p in its for m in mother(p, self.tracks.begin(child)))
            for child, its in self._state.parents.items()
        }
        for child, its in self._state.parents.items():
            if child in both and both[child] in its and parents[child] != its:
                raise InputError(f"track {child} descends from {both[child]}: relink one of the two instead.")
        labels = {t: self._replaced(t, both) for t in sorted({*later[one], *later[other]})}
        links = {(t, i, later[both[i]][0], i) for i, t in last.items() if t is not None and later[both[i]]}
        gone = set()
        for link in self._state.confirmed:
            t, i, u, child = link
            if i in both and child not in both and t < frame <= u and not later[i]:  # a division at the swap
                gone.add(link)
                links |= {(at, m, u, child) for m in mother(i, u) if (at := last[m]) is not None}
        renamed = {(t, i): both[i] for i, frames in later.items() for t in frames}
        self._change(Plan(f"swap {one} and {other}", labels, renamed, parents, tuple(links), gone=frozenset(gone)))

    def add_division(self, mother: int, daughters: Iterable[int]) -> tuple[int, ...]:
        """Say that a track divides into others. A mother that goes on beside a daughter becomes a daughter herself.

        Returns
        -------
        The ids of the daughters.

        Raises
        ------
        InputError
            A daughter begins before the mother does, or there are fewer than two of them.
        """
        children = list(dict.fromkeys(int(d) for d in daughters))
        start = min((self.tracks.begin(d) for d in children), default=0)
        if not children or mother in children or start <= self.tracks.begin(mother):
            raise InputError(
                f"daughters of {mother} must be other tracks that begin after frame {self.tracks.begin(mother)}."
            )
        labels, renamed = {}, {}
        parents = dict(self._state.parents)
        goes_on = [t for t in self._frames_of(mother) if t >= start]
        if goes_on:
            new = self._unused()
            parents = {c: tuple(new if p == mother else p for p in ps) for c, ps in parents.items()}
            labels = {t: self._replaced(t, {mother: new}) for t in goes_on}
            renamed = {(t, mother): new for t in goes_on}
            children.append(new)
        if len(children) < 2:
            raise InputError(f"a division has two daughters; {mother} would have {children[0]} alone.")
        parents |= dict.fromkeys(children, (mother,))
        end = max(t for t in self._frames_of(mother) if t < start)
        begins = {
            child: goes_on[0] if goes_on and child == children[-1] else self.tracks.begin(child) for child in children
        }
        links = tuple((end, mother, begins[child], child) for child in children)
        self._change(Plan(f"division of {mother}", labels, renamed, parents, links))
        return tuple(children)

    def confirm(self, track: int, frame: int) -> None:
        """Say that a link is right: of an object to the frame before, or of all daughters of a division to the mother.

        Raises
        ------
        InputError
            The track is not in this frame, or begins there without a parent.
        """
        row, first = self._row(track, frame), self.tracks.rows(track).start
        if row > first:
            links: tuple[Confirmed, ...] = ((int(self.tracks.frame[row - 1]), track, frame, track),)
        else:
            links = tuple(
                (self.tracks.end(p), p, self.tracks.begin(c), c)
                for p in self.tracks.parents.get(track, ())
                for c in self.tracks.children(p)
                if self.tracks.end(p) < self.tracks.begin(c)
            )
        if not links:
            raise InputError(f"track {track} begins in frame {frame}: there is no link to confirm.")
        self._change(Plan(f"confirm {track} in frame {frame}", {}, links=links, sure=(frame, track)))

    def take_in(self, frames: Iterable[int]) -> None:
        """Measure frames whose labels were changed by others, such as with a brush; this is no edit that can be undone.

        A label that was not there before is a new track; links and parents of what is gone are gone too.
        """
        for t in frames:
            before = self._rows.get(t, no_rows())
            known = dict(zip(before[0].tolist(), before[5].tolist(), strict=True))
            self._rows[t] = measured_rows(t, np.asarray(self._frames.read(t)), self._image_of(t), known)
            self._painted.add(t)
        self._settle()

    # -- undo -----------------------------------------------------------------------------------------------------
    @property
    def undo_title(self) -> str | None:
        """What `undo` would take back."""
        return self._done[-1].title if self._done else None

    @property
    def redo_title(self) -> str | None:
        """What `redo` would do again."""
        return self._undone[-1].title if self._undone else None

    def undo(self) -> None:
        """Take the last edit back; nothing happens if there is none."""
        if self._done:
            edit = self._done.pop()
            self._undone.append(edit)
            self._put(edit, back=True)

    def redo(self) -> None:
        """Do again what was taken back last."""
        if self._undone:
            edit = self._undone.pop()
            self._done.append(edit)
            self._put(edit, back=False)

    # -- inside ---------------------------------------------------------------------------------------------------
    def _row(self, track: int, frame: int) -> int:
        row = self.tracks.row(track, frame)
        if row is None:
            raise InputError(f"track {track} is not in frame {frame}.")
        return row

    def _frames_of(self, track: int) -> list[int]:
        return [int(t) for t in self.tracks.frame[self.tracks.rows(track)]]

    def _later(self, track: int, frame: int) -> list[int]:
        later = [t for t in self._frames_of(track) if t >= frame]
        if not later:
            raise InputError(f"track {track} ends before frame {frame}.")
        return later

    def _unused(self) -> int:
        return int(unused_ids(np.array(self.tracks.ids, np.int64), 1)[0])

    def _parents_without(self, gone: int, instead: int | None = None) -> dict[int, tuple[int, ...]]:
        """Parents after a track is gone, its children given to ``instead``."""
        parents = {c: ps for c, ps in self._state.parents.items() if c != gone}
        others = tuple(p for p in parents.get(instead, ()) if p != gone) if instead is not None else ()
        inherits = instead is not None and not others and gone in self._state.parents
        if instead is not None and inherits and self.tracks.begin(gone) < self.tracks.begin(instead):
            parents[instead] = self._state.parents[gone]
        swapped = {c: tuple(instead if p == gone else p for p in ps) for c, ps in parents.items()}
        return {c: tuple(p for p in dict.fromkeys(ps) if p is not None and p != c) for c, ps in swapped.items()}

    def _replaced(self, frame: int, ids: Mapping[int, int]) -> tuple[Box, NDArray[Any]]:
        """The part of a frame that holds these objects, with other ids."""
        whole = np.asarray(self._frames.read(frame))
        box = box_of(whole, self._rows.get(frame, no_rows()), [*ids, *ids.values()])
        after = whole[box].copy()
        for old, new in ids.items():
            after[whole[box] == old] = new
        return box, after

    def _change(self, plan: Plan) -> None:
        """Do an edit, if the tracks that come of it are in order."""
        changes, rows = {}, {}
        for t, (box, labels) in plan.labels.items():
            before = np.asarray(self._frames.read(t))[box]
            changes[t] = (box, SparseChange.between(_flat(before), _flat(labels)))
            old = self._rows.get(t, no_rows())
            rows[t] = (old, changed_rows(t, box, labels, before, old, self._image_of(t)))
        if plan.sure is not None:
            frame, track = plan.sure
            old = self._rows[frame]
            rows[frame] = (old, (*old[:5], np.where(old[0] == track, 1.0, old[5])))
        parents = {
            c: tuple(ps) for c, ps in (self._state.parents if plan.parents is None else plan.parents).items() if ps
        }
        after = State(parents, self._renamed(plan) | frozenset(plan.links))
        edit = Edit(plan.title, changes, rows, self._state, after)
        table = table_of({**self._rows, **{t: new for t, (_, new) in rows.items()}}, parents, self.tracks)  # may raise
        self._done = [*self._done[-KEPT + 1 :], edit]
        self._undone.clear()
        self._put(edit, back=False, table=table)

    def _renamed(self, plan: Plan) -> frozenset[Confirmed]:
        """Confirmed links by the ids after an edit; those of objects that are deleted or parted are gone."""
        links = set()
        for t, i, u, j in self._state.confirmed - plan.gone:
            one, other = plan.renamed.get((t, i), i), plan.renamed.get((u, j), j)
            if one and other and (i != j or one == other):
                links.add((t, one, u, other))
        return frozenset(links)

    def _image_of(self, frame: int) -> Any:
        return self._image(frame) if self._image is not None else None

    def _put(self, edit: Edit, *, back: bool, table: Tracks | None = None) -> None:
        for t, (box, change) in edit.changes.items():
            labels = np.array(self._frames.read(t))
            part = labels[box]
            labels[box] = (change.revert(_flat(part)) if back else change.apply(_flat(part))).reshape(part.shape)
            self._frames.write(t, labels)
        self._state = edit.before if back else edit.after
        for t, both in edit.rows.items():
            rows = both[0 if back else 1]
            if t in self._painted:  # what is kept of this frame may not be what it holds now
                known = dict(zip(rows[0].tolist(), rows[5].tolist(), strict=True))
                rows = measured_rows(t, np.asarray(self._frames.read(t)), self._image_of(t), known)
            self._rows[t] = rows
        self._settle(sorted(edit.changes), table)

    def _settle(self, changed: Iterable[int] = (), table: Tracks | None = None) -> None:
        """Make the table of the rows, and tell of frames whose labels changed."""
        if self._painted:
            bare = table_of(self._rows, {}, self.tracks)
            there = {
                link for link in self._state.confirmed
                if all(i in bare and bare.row(i, t) is not None for t, i in (link[:2], link[2:]))
            }  # fmt: skip
            parents = in_order(bare, self._state.parents)
            self._state, table = State(parents, frozenset(there)), replace(bare, parents=parents)
        self.tracks = table if table is not None else table_of(self._rows, self._state.parents, self.tracks)
        if self._on_change is not None:
            self._on_change(list(changed))


def _flat(labels: NDArray[Any]) -> NDArray[Any]:
    """A frame as one plane."""
    return labels.reshape(-1, labels.shape[-1])

"""`Tracks`: objects that keep their names through time, and who descends from whom."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import repeat
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .objects import measure_objects
from .types import frozen
from .words import counted

COLUMNS = ("track", "frame", "centroid", "area", "mean_intensity", "confidence")
_MISSING = object()


@dataclass(frozen=True, eq=False)
class Tracks:
    """A table of objects in time, one row an object and frame; beside it stand labels whose ids are the track ids.

    A track is one object from its first to its last frame; it may be missing in frames between. A division ends a
    track, and its daughters are tracks of their own that name it as parent.

    Parameters
    ----------
    track, frame
        (N,) int64, track id from 1 and frame number from 0. Rows are sorted by track, then frame, when made.
    centroid
        (N, 3) float64, z, y, x in pixels; z is 0 where there is no z.
    area
        (N,) int64, pixels or voxels.
    mean_intensity
        (N,) float64, NaN without an image.
    confidence
        (N,) float64 in [0, 1], NaN where unknown: how sure it is that this object continues its track; the lower of how
        sure it was painted and how sure it was linked to the frame before.
    parents
        Child track -> its parents: one after a division, several where tracks merge.
    axes
        ``"tyx"`` or ``"tzyx"``, the axes of the labels.
    scale
        Physical size of a step along each of ``axes``, in ``units``; default 1.
    units
        Unit of each axis, empty where unknown.

    Raises
    ------
    InputError
        Columns of different length, an object twice in a frame, parents that are no tracks or do not begin before.
    """

    track: NDArray[np.int64]
    frame: NDArray[np.int64]
    centroid: NDArray[np.float64]
    area: NDArray[np.int64]
    mean_intensity: NDArray[np.float64] = None  # type: ignore[assignment]  # None is replaced in __post_init__
    confidence: NDArray[np.float64] = None  # type: ignore[assignment]
    parents: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    axes: str = "tyx"
    scale: tuple[float, ...] = ()
    units: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._set_columns()
        self._set_axes()
        parents = {int(c): tuple(int(p) for p in ps) for c, ps in self.parents.items() if len(ps)}
        object.__setattr__(self, "parents", MappingProxyType(dict(sorted(parents.items()))))
        for child, its in parents.items():
            for parent in its:
                if child not in self or parent not in self:
                    raise InputError(f"track {child} cannot descend from {parent}: both must be tracks.")
                if self.begin(parent) >= self.begin(child):
                    raise InputError(
                        f"track {child} begins in frame {self.begin(child)} and cannot descend from track {parent}, "
                        f"which begins in frame {self.begin(parent)}: a parent begins before its child."
                    )

    def _set_columns(self) -> None:
        count = len(self.track)
        order = np.lexsort((np.asarray(self.frame), np.asarray(self.track)))
        for name in COLUMNS:
            value = getattr(self, name)
            dtype = np.int64 if name in ("track", "frame", "area") else np.float64
            column = np.full(count, np.nan) if value is None else np.asarray(value, dtype)
            shape = (count, 3) if name == "centroid" else (count,)
            if count == 0:
                column = column.reshape(shape)
            if column.shape != shape:
                raise InputError(f"{name} must be {shape} for {count} objects; got {column.shape}.")
            object.__setattr__(self, name, frozen(column[order]))
        if count and (self.track.min() < 1 or self.frame.min() < 0):
            raise InputError("track ids count from 1 and frames from 0.")
        twice = (np.diff(self.track) == 0) & (np.diff(self.frame) == 0)
        if twice.any():
            k = int(np.flatnonzero(twice)[0])
            raise InputError(f"track {self.track[k]} is twice in frame {self.frame[k]}: a track is one object.")

    def _set_axes(self) -> None:
        if self.axes not in ("tyx", "tzyx"):
            raise InputError(f"axes of tracks are tyx or tzyx; got {self.axes!r}.")
        for name, default in (("scale", 1.0), ("units", "")):
            value = tuple(getattr(self, name)) or (default,) * len(self.axes)
            if len(value) != len(self.axes):
                raise InputError(f"{name} needs one value an axis ({self.axes!r}); got {len(value)}.")
            object.__setattr__(self, name, value)

    @classmethod
    def measure(
        cls,
        labels: Iterable[Any],
        *,
        images: Iterable[Any] | None = None,
        confidence: Iterable[Any] | None = None,
        parents: Mapping[int, Sequence[int]] | None = None,
        scale: Sequence[float] = (),
        units: Sequence[str] = (),
    ) -> Tracks:
        """Measure tracks in labels whose ids are the track ids, one frame held at a time.

        Parameters
        ----------
        labels
            A frame (Y, X) or (Z, Y, X) for each time point: an array (T, ..., Y, X), lazy or not, or a generator.
        images, confidence
            As many frames of the same shape; images may have channels on a last axis.
        parents
            Child track -> parents.
        scale, units
            One value for t, (z), y, x.

        Raises
        ------
        InputError
            Frames that differ in shape, fewer images than labels, or what the class refuses.
        """
        columns: list[tuple[Any, ...]] = []
        dimensions: set[int] = set()
        frames = iter(labels)
        beside = [repeat(None) if other is None else iter(other) for other in (images, confidence)]
        for t, frame in enumerate(frames):
            dimensions.add(len(np.shape(frame)))
            image, sure = (next(other, _MISSING) for other in beside)
            if image is _MISSING or sure is _MISSING:
                raise InputError(f"there are more frames of labels than of the image: frame {t} has none.")
            o = measure_objects(frame, image, sure)
            columns.append((o.ids, np.full(len(o), t), o.centroid, o.area, o.mean_intensity, o.confidence))
        if len(dimensions) > 1:
            raise InputError("the frames of labels must be all 2-D or all 3-D.")
        axes = "tzyx" if dimensions == {3} else "tyx"
        table: list[Any] = [np.concatenate(c) for c in zip(*columns, strict=True)] if columns else [np.zeros(0)] * 6
        track, at, centroid, area, intensity, sure = table
        known = {int(c): tuple(p) for c, p in (parents or {}).items()}
        return cls(track, at, centroid, area, intensity, sure, known, axes, tuple(scale), tuple(units))

    def __repr__(self) -> str:
        frames = counted(len(np.unique(self.frame)), "frame")
        return f"<Tracks {self.axes}, {counted(len(self.ids), 'track')} in {frames}, {counted(len(self), 'object')}>"

    # -- the table --------------------------------------------------------------------------------------------
    def __len__(self) -> int:
        return len(self.track)

    def __contains__(self, track: int) -> bool:
        return track in self._rows

    @cached_property
    def _rows(self) -> dict[int, slice]:
        ids, first = np.unique(self.track, return_index=True)
        ends = [*first[1:].tolist(), len(self.track)][: len(ids)]  # of no tracks there are no ends
        return {int(i): slice(int(a), b) for i, a, b in zip(ids, first, ends, strict=True)}

    @property
    def ids(self) -> tuple[int, ...]:
        """All track ids, ascending."""
        return tuple(self._rows)

    def rows(self, track: int) -> slice:
        """The rows of a track, in the order of frames. Raises InputError where there is no such track."""
        if track not in self._rows:
            raise InputError(f"there is no track {track}.")
        return self._rows[track]

    def row(self, track: int, frame: int) -> int | None:
        """The row of a track in a frame, None where it is not there."""
        rows = self.rows(track)
        at = rows.start + int(np.searchsorted(self.frame[rows], frame))
        return at if at < rows.stop and self.frame[at] == frame else None

    def begin(self, track: int) -> int:
        """The first frame of a track."""
        return int(self.frame[self.rows(track).start])

    def end(self, track: int) -> int:
        """The last frame of a track."""
        return int(self.frame[self.rows(track).stop - 1])

    def gaps(self, track: int) -> list[tuple[int, int]]:
        """(last frame before, first frame after) of each gap in a track."""
        frames = self.frame[self.rows(track)]
        return [(int(frames[k]), int(frames[k + 1])) for k in np.flatnonzero(np.diff(frames) > 1)]

    # -- lineage ----------------------------------------------------------------------------------------------
    @cached_property
    def _children(self) -> dict[int, tuple[int, ...]]:
        children: dict[int, list[int]] = {}
        for child, parents in self.parents.items():
            for parent in parents:
                children.setdefault(parent, []).append(child)
        return {parent: tuple(sorted(c)) for parent, c in children.items()}

    def children(self, track: int) -> tuple[int, ...]:
        """The tracks that descend from a track directly, ascending."""
        return self._children.get(track, ())

    @property
    def divisions(self) -> dict[int, tuple[int, ...]]:
        """Parent -> daughters, of every track with at least two."""
        return {parent: c for parent, c in sorted(self._children.items()) if len(c) > 1}

    @property
    def roots(self) -> tuple[int, ...]:
        """The tracks without a parent, ascending."""
        return tuple(i for i in self._rows if i not in self.parents)

    def root(self, track: int) -> int:
        """The oldest ancestor of a track, by first parents; the track itself where it has none."""
        self.rows(track)
        while track in self.parents:
            track = self.parents[track][0]
        return track

    def lineage(self, track: int) -> tuple[int, ...]:
        """A track and all its descendants, ascending."""
        self.rows(track)
        found, waiting = {track}, [track]
        while waiting:
            new = [c for c in self.children(waiting.pop()) if c not in found]
            found.update(new)
            waiting += new
        return tuple(sorted(found))

    # -- for napari -------------------------------------------------------------------------------------------
    def napari_rows(self) -> NDArray[np.float64]:
        """(N, 4 or 5) rows [track, t, (z), y, x] in data coordinates, as a napari Tracks layer wants them."""
        position = self.centroid if self.axes == "tzyx" else self.centroid[:, 1:]
        return np.column_stack([self.track, self.frame, position]).astype(np.float64)

    def napari_graph(self) -> dict[int, list[int]]:
        """Child -> parents, as a napari Tracks layer wants it."""
        return {child: list(parents) for child, parents in self.parents.items()}

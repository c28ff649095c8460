"""`place_tracks`: tracks of a file are laid onto labels that may number their objects otherwise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ..core.labels import unused_ids
from ..core.objects import Objects, measure_objects
from ..core.tracks import Tracks
from ..errors import InputError
from .track_rows import Columns, in_order, table_of

EXACT = 1.5  # pixels between a place of the file and the centre of the object of the same id that is meant


@dataclass
class Placed:
    """Labels whose ids are tracks.

    Parameters
    ----------
    tracks
        The table of what the labels hold.
    missing
        How many objects of the file have no object in the labels.
    added
        How many objects of the labels belong to no track of the file; each is a track of one frame.
    """

    tracks: Tracks
    missing: int = 0
    added: int = field(default=0)


def place_tracks(
    tracks: Tracks, count: int, read: Callable[[int], NDArray[Any]], write: Callable[[int, NDArray[np.uint32]], None],
    *, image: Callable[[int], Any] | None = None, on_frame: Callable[[], None] | None = None,
) -> Placed:  # fmt: skip
    """Give the objects of labels the ids of tracks: of the same id there, else by position.

    Parameters
    ----------
    tracks
        As read from a file; positions in pixels.
    count
        How many frames of labels there are.
    read, write
        Labels (Y, X) or (Z, Y, X) of a frame, and where they go with ids of tracks.
    image
        The image of a frame, for intensities.
    on_frame
        Called after each frame.

    Raises
    ------
    InputError
        The tracks go on beyond the labels, or no object is where the file says.
    """
    if len(tracks) and int(tracks.frame.max()) >= count:
        raise InputError(f"the tracks go to frame {int(tracks.frame.max())}, and there are {count} frames of labels.")
    taken = np.array(tracks.ids, np.int64)
    placed, rows = Placed(tracks), {}
    for t in range(count):
        labels = np.asarray(read(t))
        objects = measure_objects(labels, image(t) if image is not None else None)
        own = np.flatnonzero(tracks.frame == t)
        at = _matched(tracks, own, objects, labels)
        ids = np.zeros(len(objects), np.int64)
        sure = np.full(len(objects), np.nan)
        found = at >= 0
        ids[at[found]], sure[at[found]] = tracks.track[own[found]], tracks.confidence[own[found]]
        new = np.flatnonzero(ids == 0)
        ids[new] = unused_ids(taken, len(new))
        taken = np.union1d(taken, ids[new])
        placed.missing += int((~found).sum())
        placed.added += len(new)
        write(t, _renamed(labels, objects.ids, ids))
        rows[t] = _rows(t, objects, ids, sure)
        if on_frame is not None:
            on_frame()
    if len(tracks) and placed.missing == len(tracks):
        raise InputError("none of the tracks lies on an object of the labels: is this the layer that they belong to?")
    like = replace(tracks, axes="tzyx" if labels.ndim == 3 else "tyx", scale=(), units=())
    bare = table_of(rows, {}, like)
    placed.tracks = replace(bare, parents=in_order(bare, tracks.parents))
    return placed


def _matched(tracks: Tracks, own: NDArray[np.intp], objects: Objects, labels: NDArray[Any]) -> NDArray[np.int64]:
    """For each row of tracks in a frame the row of its object, -1 for none; nobody gets an object twice."""
    out = np.full(len(own), -1, np.int64)
    if not len(own) or not len(objects):
        return out
    place, ids = tracks.centroid[own], tracks.track[own]
    across = 2 * np.sqrt(objects.area.mean()) if labels.ndim == 2 else 2 * np.cbrt(objects.area.mean())
    free = np.ones(len(objects), bool)

    def take(rows: NDArray[Any], wanted: NDArray[Any]) -> None:
        for row, k in zip(rows.tolist(), wanted.tolist(), strict=True):
            if out[row] < 0 and free[k]:
                out[row], free[k] = k, False

    same = np.minimum(np.searchsorted(objects.ids, ids), len(objects) - 1)
    apart = np.where(objects.ids[same] == ids, np.linalg.norm(objects.centroid[same] - place, axis=1), np.inf)
    at = np.flatnonzero(apart <= EXACT)
    take(at, same[at])
    spots = np.clip(np.rint(place[:, 3 - labels.ndim :]).astype(int), 0, np.array(labels.shape) - 1)
    under = labels[tuple(spots.T)].astype(np.int64)
    at = np.flatnonzero(under > 0)
    take(at, np.searchsorted(objects.ids, under[at]))
    at = np.flatnonzero(apart <= across / 2)
    take(at, same[at])
    distance, nearest = cKDTree(objects.centroid).query(place)
    at = np.argsort(distance)
    at = at[distance[at] <= across / 2]
    take(at, nearest[at])
    return out


def _renamed(labels: NDArray[Any], old: NDArray[np.int64], new: NDArray[np.int64]) -> NDArray[np.uint32]:
    out = np.zeros(labels.shape, np.uint32)
    there = labels > 0
    out[there] = new[np.searchsorted(old, labels[there])]
    return out


def _rows(frame: int, objects: Objects, ids: NDArray[np.int64], sure: NDArray[np.float64]) -> Columns:
    order = np.argsort(ids, kind="stable")
    columns = (ids, np.full(len(ids), frame), objects.centroid, objects.area, objects.mean_intensity, sure)
    return tuple(column[order] for column in columns)

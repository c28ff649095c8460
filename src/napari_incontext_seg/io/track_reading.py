"""Tracks from files: our table (CSV), graphs of any program (GEFF), folders of the Cell Tracking Challenge."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.tracks import Tracks
from ..errors import FileError, InContextError
from .paths import CHALLENGE_TABLES, PathLike, check_exists, masks_with_tracks
from .storing import read_plain
from .tracks import COLUMNS

ALIASES = {"track_id": "track", "t": "frame", "parent_track_id": "parent"}  # ultrack's names of our columns


def read_tracks(path: PathLike) -> Tracks:
    """Read tracks.

    Parameters
    ----------
    path
        - ``NAME.csv`` as `write_tracks` writes it, or with the columns of ultrack: ``track_id``, ``t``,
          ``parent_track_id`` (-1: none); positions in pixels. Without ``z`` other than 0 the axes are ``tyx``.
        - ``NAME.geff``, a graph of any program with axes for time and space. Nodes with a property ``track_id`` are
          grouped by it; else a track goes from a node without predecessor, or after a division or merge, to the next
          such node, and tracks are numbered from 1. Positions must be in frames and pixels.
        - A folder of the Cell Tracking Challenge: ``mask*.tif`` and ``res_track.txt``, or ``man_track*.tif`` and
          ``man_track.txt``. Objects are measured in its masks, frame by frame.

    Raises
    ------
    FileError
        Not there, unreadable, or contradictory.
    """
    path = Path(path).expanduser()
    check_exists(path)
    try:
        if path.suffix.lower() == ".csv":
            return _read_csv(path)
        if path.suffix.lower() == ".geff":
            return _read_geff(path)
        return _read_challenge(path)
    except InContextError as error:
        raise FileError(f"{path}: {error}") from error
    except Exception as error:  # foreign bytes make parsers raise anything
        raise FileError(f"{path} cannot be read as tracks: {error}.") from error


def challenge_masks(folder: Path) -> list[Path]:
    """The masks of a folder of the Cell Tracking Challenge, by frame.

    Raises
    ------
    FileError
        There are none, or no table beside them.
    """
    masks = masks_with_tracks(folder)
    if not masks:
        raise FileError(
            f"{folder} is no folder of the Cell Tracking Challenge: mask*.tif and res_track.txt, or man_track*.tif and "
            "man_track.txt, are expected."
        )
    return masks


# -- CSV --------------------------------------------------------------------------------------------------------------
def _read_csv(path: Path) -> Tracks:
    lines = csv.DictReader(read_plain(path).removeprefix("\ufeff").splitlines())
    rows = [{ALIASES.get(name, name): value for name, value in line.items()} for line in lines]
    missing = [name for name in ("track", "frame", "y", "x") if rows and name not in rows[0]]
    if missing:
        raise FileError(f"the columns {', '.join(missing)} are missing; expected are {', '.join(COLUMNS)}.")

    def column(name: str, default: str) -> list[float]:
        return [float(row.get(name) or default) for row in rows]

    centroid = np.array([column(name, "0") for name in "zyx"]).T.reshape(-1, 3)
    children = [row for row in rows if row.get("parent") not in (None, "", "-1", "-1.0")]
    parents = {int(float(row["track"])): tuple(int(float(p)) for p in row["parent"].split(";")) for row in children}
    return Tracks(
        np.array(column("track", "0")).astype(np.int64), np.array(column("frame", "0")).astype(np.int64), centroid,
        np.array(column("area", "0")).astype(np.int64), np.array(column("mean_intensity", "nan")),
        np.array(column("confidence", "nan")), parents, "tzyx" if centroid[:, 0].any() else "tyx",
    )  # fmt: skip


# -- GEFF -------------------------------------------------------------------------------------------------------------
def _read_geff(path: Path) -> Tracks:
    import geff

    graph, metadata = geff.read(path)
    axes = {str(a.name): a for a in metadata.axes or ()}
    times = [name for name, a in axes.items() if a.type == "time"] or [name for name in ("t", "time") if name in axes]
    space = [name for name, a in axes.items() if a.type == "space"] or [n for n in axes if n not in times]
    if len(times) != 1 or len(space) not in (2, 3):
        raise FileError(f"tracks need one axis of time and two or three of space; got {', '.join(axes) or 'none'}.")
    space.sort(key=lambda name: "zyx".find(name[:1].lower()))
    nodes = sorted(graph.nodes)
    at = {node: row for row, node in enumerate(nodes)}
    edges = np.array([(at[a], at[b]) for a, b in graph.edges], np.int64).reshape(-1, 2)

    def values(name: str, default: float = np.nan) -> NDArray[np.float64]:
        return np.array([float(graph.nodes[node].get(name, default)) for node in nodes], np.float64)

    frames = np.rint(values(times[0])).astype(np.int64)
    forward = frames[edges[:, 0]] < frames[edges[:, 1]]
    edges = np.where(forward[:, None], edges, edges[:, ::-1])  # some programs point backwards
    given = [graph.nodes[node].get("track_id") for node in nodes]
    track = np.array(given, np.int64) if None not in given and given else _walked(len(nodes), edges)
    track = track + (1 - track.min() if len(track) and track.min() < 1 else 0)
    parents: dict[int, tuple[int, ...]] = {}
    for a, b in edges.tolist():
        if track[a] != track[b]:
            parents[int(track[b])] = (*parents.get(int(track[b]), ()), int(track[a]))
    place = np.zeros((len(nodes), 3))
    for k, name in enumerate(space):
        place[:, k + 3 - len(space)] = values(name)
    scale = tuple(float(axes[name].scale or 1) for name in (*times, *space))
    units = tuple(str(axes[name].scaled_unit or "") for name in (*times, *space))
    return Tracks(
        track, frames, place, values("area", 0).astype(np.int64), values("mean_intensity"), values("confidence"),
        parents, "tzyx" if len(space) == 3 else "tyx", scale, units,
    )  # fmt: skip


def _walked(count: int, edges: NDArray[np.int64]) -> NDArray[np.int64]:
    """(N,) tracks of nodes, from 1: a chain of edges between nodes with one successor and one predecessor."""
    out, into = (np.bincount(edges[:, k], minlength=count) for k in (0, 1))
    plain = edges[(out[edges[:, 0]] == 1) & (into[edges[:, 1]] == 1)]
    follows = dict(plain.tolist())
    track = np.zeros(count, np.int64)
    for number, first in enumerate(np.setdiff1d(np.arange(count), plain[:, 1]).tolist(), start=1):
        node: int | None = first
        while node is not None:
            track[node] = number
            node = follows.get(node)
    return track


# -- the Cell Tracking Challenge --------------------------------------------------------------------------------------
def _read_challenge(folder: Path) -> Tracks:
    masks = challenge_masks(folder)
    table = next(folder / name for name in CHALLENGE_TABLES if (folder / name).is_file())
    lines = [[int(n) for n in line.split()] for line in read_plain(table).splitlines() if line.strip()]
    if any(len(line) != 4 for line in lines):
        raise FileError(f"{table.name} must hold four numbers a line: track, first frame, last frame, parent.")
    tracks = Tracks.measure(_frames(masks), parents={line[0]: (line[3],) for line in lines if line[3]})
    _check_table(tracks, lines, table.name)
    return tracks


def _frames(masks: Sequence[Path]) -> Iterator[NDArray[Any]]:
    import tifffile

    for mask in masks:
        yield tifffile.imread(mask)


def _check_table(tracks: Tracks, lines: Sequence[Sequence[int]], name: str) -> None:
    """Raise FileError unless masks and table tell of the same tracks."""
    listed: Mapping[int, tuple[int, int]] = {line[0]: (line[1], line[2]) for line in lines}
    for track in sorted({*listed} ^ {*tracks.ids}):
        raise FileError(f"track {track} is {'in no mask' if track in listed else f'not in {name}'}.")
    for track, (begin, end) in listed.items():
        if (begin, end) != (tracks.begin(track), tracks.end(track)):
            raise FileError(
                f"track {track} is in frames {tracks.begin(track)} to {tracks.end(track)} of the masks, and in {begin} "
                f"to {end} of {name}."
            )

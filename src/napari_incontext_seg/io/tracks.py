"""Tracks as files: a table (CSV), a graph (GEFF), or a folder of the Cell Tracking Challenge."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..core.tracks import Tracks
from ..errors import InputError
from .paths import PathLike
from .storing import check_free, store, storing

COLUMNS = ("track", "frame", "z", "y", "x", "area", "mean_intensity", "confidence", "parent")
LARGEST_ID = 2**16 - 1  # of the Cell Tracking Challenge's 16-bit masks


def write_tracks(
    path: PathLike, tracks: Tracks, labels: Iterable[Any] | None = None, *, overwrite: bool = False
) -> None:
    """Write tracks.

    - ``NAME.csv``: one row an object and frame, positions in pixels; ``parent`` is the track that it descends from,
      several are joined by ``;``.
    - ``NAME.geff``: one node an object and frame, edges along tracks and to daughters; positions in frames and pixels,
      and what one is in the axes' units.
    - Any other name: a folder of the Cell Tracking Challenge, ``mask0000.tif``, ... and ``res_track.txt`` (track, first
      frame, last frame, parent or 0), where a track goes on after a gap as its own child.

    Parameters
    ----------
    path
        Where to.
    tracks
        What was tracked.
    labels
        Frames (Y, X) or (Z, Y, X) whose ids are the tracks, for a folder; taken one by one.
    overwrite
        Replace an existing file. A folder's masks and table are replaced one by one, and masks beyond the last frame
        removed; other files in it stay.

    Raises
    ------
    FileError
        It exists, or cannot be written.
    InputError
        A folder without ``labels``, with ids above 65535, or with a track of several parents, which its table cannot
        say.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".csv":
        check_free(path, overwrite)
        store(path, lambda made: _write_csv(made, tracks))
    elif suffix == ".geff":
        check_free(path, overwrite)
        store(path, lambda made: _write_geff(made, tracks))
    elif labels is None:
        raise InputError(f"a folder such as {path.name} holds masks: give the labels too, or name a .csv or .geff.")
    else:
        _write_challenge(path, tracks, labels, overwrite)


def _write_csv(path: Path, tracks: Tracks) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for k in range(len(tracks)):
            track = int(tracks.track[k])
            z, y, x = (round(float(c), 3) for c in tracks.centroid[k])
            measured = [
                "" if math.isnan(v) else round(float(v), 6) for v in (tracks.mean_intensity[k], tracks.confidence[k])
            ]
            parent = ";".join(str(p) for p in tracks.parents.get(track, ()))
            writer.writerow([track, int(tracks.frame[k]), z, y, x, int(tracks.area[k]), *measured, parent])


def _write_geff(path: Path, tracks: Tracks) -> None:
    import geff
    import networkx

    graph = networkx.DiGraph()
    names = list(tracks.axes)
    rows = tracks.napari_rows()[:, 1:]
    for k, row in enumerate(rows.tolist()):
        values: dict[str, float] = {"track_id": int(tracks.track[k]), "area": int(tracks.area[k])}
        beside = {"mean_intensity": tracks.mean_intensity, "confidence": tracks.confidence}
        values |= {name: float(column[k]) for name, column in beside.items() if not np.isnan(column[k])}
        graph.add_node(k, **dict(zip(names, row, strict=True)), **values)
    for track in tracks.ids:
        own = tracks.rows(track)
        graph.add_edges_from((k, k + 1) for k in range(own.start, own.stop - 1))
        graph.add_edges_from((tracks.rows(parent).stop - 1, own.start) for parent in tracks.parents.get(track, ()))
    geff.write(
        graph, path, axis_names=names, axis_units=["frame", *["pixel"] * (len(names) - 1)],
        axis_types=["time", *["space"] * (len(names) - 1)], axis_scales=list(tracks.scale),
        scaled_units=[unit or None for unit in tracks.units],
    )  # fmt: skip


def _write_challenge(folder: Path, tracks: Tracks, labels: Iterable[Any], overwrite: bool) -> None:
    import tifffile

    table, renamed = _unbroken(tracks)
    largest = max((line[0] for line in table), default=0)
    if largest > LARGEST_ID:
        raise InputError(f"masks of the Cell Tracking Challenge end at track {LARGEST_ID}; there is {largest}.")
    result = folder / "res_track.txt"
    check_free(result, overwrite)
    earlier = {file: t for file in folder.glob("mask*.tif") if (t := _frame_of(file)) is not None}
    for file in earlier:
        check_free(file, overwrite)
    count = 0
    for t, frame in enumerate(labels):
        mask, file = np.array(frame), folder / _mask_name(t)
        for old, new in renamed.get(t, ()):
            mask[np.asarray(frame) == old] = new
        check_free(file, overwrite)
        store(file, partial(tifffile.imwrite, data=mask.astype(np.uint16), compression="zlib"))
        count = t + 1
    if len(tracks) and int(tracks.frame.max()) >= count:
        raise InputError(f"there are {count} frames of labels, and the tracks go to frame {int(tracks.frame.max())}.")
    for file, t in earlier.items():  # before the table, which is written last: where it is new, the folder is whole
        if t >= count:
            with storing(file):
                file.unlink(missing_ok=True)
    text = "".join(f"{' '.join(map(str, line))}\n" for line in table)
    store(result, lambda made: made.write_text(text, encoding="ascii"))


def _frame_of(file: Path) -> int | None:
    """The frame of a mask that is named as ours are, else None."""
    digits = file.stem.removeprefix("mask")
    return int(digits) if digits.isdecimal() and file.name == _mask_name(int(digits)) else None


def _mask_name(frame: int) -> str:
    return f"mask{frame:04d}.tif"


def _unbroken(tracks: Tracks) -> tuple[list[tuple[int, int, int, int]], dict[int, list[tuple[int, int]]]]:
    """Lines (track, begin, end, parent), and by frame the ids (old, new) of what goes on after a gap.

    The challenge knows no gaps: after one a track goes on under a new number, as the only child of what was before.
    """
    several = [child for child, parents in tracks.parents.items() if len(parents) > 1]
    if several:
        raise InputError(
            f"track {several[0]} has several parents, which a folder of the Cell Tracking Challenge cannot say: "
            "write a .geff."
        )
    lines: list[tuple[int, int, int, int]] = []
    last: dict[int, int] = {}  # the number under which each track ends
    renamed: dict[int, list[tuple[int, int]]] = {}
    unused = max(tracks.ids, default=0) + 1
    for track in sorted(tracks.ids, key=tracks.begin):  # parents begin before their children
        frames = tracks.frame[tracks.rows(track)].tolist()
        starts = [frames[0], *(after for _, after in tracks.gaps(track))]
        ends = [*(before for before, _ in tracks.gaps(track)), frames[-1]]
        number, parent = track, last[tracks.parents[track][0]] if track in tracks.parents else 0
        for begin, end in zip(starts, ends, strict=True):
            if begin != frames[0]:
                number, parent, unused = unused, number, unused + 1
            lines.append((number, begin, end, parent))
            if number != track:
                for t in frames[frames.index(begin) : frames.index(end) + 1]:
                    renamed.setdefault(t, []).append((track, number))
        last[track] = number
    return sorted(lines), renamed

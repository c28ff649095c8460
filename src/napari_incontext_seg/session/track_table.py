"""`TrackTable`: one row a track, to be sorted, filtered and saved; and which links to look at first."""

from __future__ import annotations

import csv
import math
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.tracks import Tracks
from ..errors import InputError
from ..io.paths import PathLike
from ..io.storing import store

COLUMNS = ("track", "from", "until", "parent", "daughters", "size", "intensity", "confidence")
_WORDS = {"id": "track", "begin": "from", "end": "until", "area": "size", "children": "daughters", "length": "frames"}
_TESTS = {
    "<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal, "=": np.equal, "==": np.equal,
    "!=": np.not_equal,
}  # fmt: skip
_TEST = re.compile(r"([a-z]+)\s*(<=|>=|!=|==|<|>|=)\s*(-?\d+(?:\.\d+)?)")


@dataclass(frozen=True, eq=False)
class TrackTable:
    """What is told of each track.

    Parameters
    ----------
    tracks
        The objects.
    """

    tracks: Tracks

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def ids(self) -> NDArray[np.int64]:
        """(N,) track ids, ascending."""
        return np.array(self.tracks.ids, np.int64)

    @cached_property
    def rows(self) -> dict[int, int]:
        """Track -> its row."""
        return {int(i): k for k, i in enumerate(self.ids)}

    @cached_property
    def columns(self) -> dict[str, NDArray[Any]]:
        """(N,) numbers by name of column: means over frames, the least confidence; NaN and 0 (parent) where none is."""
        tracks, ids = self.tracks, self.ids.tolist()
        if not ids:
            return {name: np.zeros(0) for name in (*COLUMNS, "frames")}
        first = np.searchsorted(tracks.track, self.ids)
        last = np.append(first[1:], len(tracks)) - 1
        known = ~np.isnan(tracks.mean_intensity)
        bright = np.add.reduceat(np.where(known, tracks.mean_intensity, 0), first)
        with np.errstate(invalid="ignore", divide="ignore"):
            intensity = bright / np.add.reduceat(known.astype(float), first)
        parents = tracks.parents
        return {
            "track": self.ids,
            "from": tracks.frame[first],
            "until": tracks.frame[last],
            "parent": np.array([parents[i][0] if i in parents else 0 for i in ids]),
            "daughters": np.array([len(tracks.children(i)) for i in ids]),
            "size": np.add.reduceat(tracks.area, first) / (last - first + 1),
            "intensity": intensity,
            "confidence": np.fmin.reduceat(tracks.confidence, first),
            "frames": last - first + 1,
        }

    def text(self, row: int, column: str) -> str:
        """What a cell says; empty where nothing is known."""
        track, value = int(self.ids[row]), self.columns[column][row]
        if column == "parent":
            return ", ".join(map(str, self.tracks.parents.get(track, ())))
        if column == "daughters":
            return ", ".join(map(str, self.tracks.children(track)))
        if math.isnan(value):
            return ""
        return f"{value:.2f}" if column == "confidence" else f"{value:.4g}" if column == "intensity" else f"{value:.0f}"

    def matching(self, words: str) -> NDArray[np.bool_]:
        """(N,) whether a track is meant by a filter.

        Parameters
        ----------
        words
            Ids (``12, 15``), or comparisons (``confidence < 0.5, from > 3``) that must all hold, of the columns and
            ``frames``, how many frames a track has; empty: all.

        Raises
        ------
        InputError
            It is something else.
        """
        parts = [part.strip().lower() for part in re.split(r",|;|\band\b|&", words) if part.strip()]
        numbers = [int(part) for part in parts if part.isdecimal()]
        shown = np.isin(self.ids, numbers) if numbers else np.ones(len(self), bool)
        for part in parts:
            if part.isdecimal():
                continue
            found = _TEST.fullmatch(part)
            name = _WORDS.get(found[1], found[1]) if found is not None else ""
            if found is None or name not in self.columns:
                raise InputError(f"{part!r} is no filter: write ids (12, 15), or a column (confidence < 0.5).")
            shown &= _TESTS[found[2]](self.columns[name], float(found[3]))
        return shown

    def write(self, path: PathLike, rows: NDArray[np.int64]) -> None:
        """Write rows as CSV, in the order given; an existing file is replaced.

        Raises
        ------
        FileError
            It cannot be written.
        """

        def made(file: Path) -> None:
            with file.open("w", newline="", encoding="utf-8") as out:
                writer = csv.writer(out)
                writer.writerow(COLUMNS)
                writer.writerows([self.text(int(row), name) for name in COLUMNS] for row in rows)

        store(Path(path), made)


def doubtful_links(tracks: Tracks) -> list[tuple[int, int, float]]:
    """(track, frame, confidence) of links that are not certain, the least sure first.

    The link is that of the object in this frame to the frame before, or to the mother where the track begins.
    """
    first = np.zeros(len(tracks), bool)
    first[np.unique(tracks.track, return_index=True)[1]] = True
    orphan = first & ~np.isin(tracks.track, list(tracks.parents))
    at = np.flatnonzero(~orphan & (tracks.confidence < 1))  # NaN is not below 1
    order = at[np.lexsort((tracks.track[at], tracks.frame[at], tracks.confidence[at]))]
    return [(int(tracks.track[k]), int(tracks.frame[k]), float(tracks.confidence[k])) for k in order]

"""What tracking found, written to files: labels whose ids are the tracks, tables, graphs, the lineage as a picture."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..core.labels import as_labels
from ..core.stack import Stack
from ..core.tracks import Tracks
from ..core.types import Labels
from ..errors import InputError
from ..infer.track import TimeGrid, Tracking
from ..io.labels import LabelWriter, label_files
from ..io.lineage import lineage_picture
from ..io.paths import FILE_SUFFIXES, stem
from ..io.picture import save_png
from ..io.storing import check_free
from ..io.tracks import write_tracks
from .report import LEAST_SURE

GEFF = ".geff"


class Tracked(Protocol):
    """Labels whose ids are tracks, with their table: a `Tracking`, or `EditedTracks`."""

    @property
    def stack(self) -> Stack: ...
    @property
    def tracks(self) -> Tracks: ...
    def __len__(self) -> int: ...
    def labels(self, position: int, /) -> Labels: ...
    def confidence(self, position: int, /) -> NDArray[np.float32] | None: ...
    def frames(self) -> Iterator[NDArray[Any]]: ...


@dataclass(frozen=True, eq=False)
class EditedTracks:
    """Tracks as they are after edits: a stack of labels whose ids are the tracks of a table."""

    stack: Stack
    tracks: Tracks

    def __len__(self) -> int:
        return len(self.stack)

    def labels(self, position: int) -> Labels:
        """The labels (Y, X) of a plane."""
        return as_labels(self.stack.read(position)[..., 0])

    def confidence(self, _: int) -> None:
        """Of pixels nothing is known."""
        return

    def frames(self) -> Iterator[NDArray[Any]]:
        """Yield the labels (Y, X) or (Z, Y, X) of each time point."""
        grid = TimeGrid.of(self.stack)
        for t in range(grid.times):
            planes = [self.labels(grid.position(t, z)) for z in range(grid.depth or 1)]
            yield planes[0] if grid.depth is None else np.stack(planes)


@dataclass
class TrackingReport:
    """What was found, the files, and the links to look at first."""

    out: Path
    frames: int
    tracks: Tracks
    least_sure: list[tuple[int, int, float]]
    seconds: float = 0.0
    files: list[Path] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        tracks = self.tracks
        return {
            "out": str(self.out),
            "files": [str(f) for f in self.files],
            "frames": self.frames,
            "objects": len(tracks),
            "tracks": len(tracks.ids),
            "divisions": {str(mother): list(daughters) for mother, daughters in tracks.divisions.items()},
            "gaps": {str(i): gaps for i in tracks.ids if (gaps := tracks.gaps(i))},
            "least_sure": [{"track": i, "frame": t, "confidence": round(c, 4)} for i, t, c in self.least_sure],
            "seconds": round(self.seconds, 3),
        }


def tracking_files(out: Path) -> list[Path]:
    """The files that `write_tracking` makes of ``out``.

    ``NAME.tif`` or ``NAME.zarr``: the labels, ``NAME_tracks.csv`` and ``NAME_lineage.png``. ``NAME.geff``: a graph in
    place of the labels. A folder: one of the Cell Tracking Challenge, with the table and the picture inside.

    Raises
    ------
    InputError
        The name is that of another kind of file.
    """
    if out.suffix.lower() in (".tif", ".tiff", ".zarr"):
        name = stem(out)
        return [*label_files(out), out.with_name(f"{name}_tracks.csv"), out.with_name(f"{name}_lineage.png")]
    if out.suffix.lower() == GEFF:
        return [out, out.with_name(f"{out.stem}_tracks.csv"), out.with_name(f"{out.stem}_lineage.png")]
    if out.suffix.lower() in (*FILE_SUFFIXES, ".csv", ".txt", ".json") and not out.is_dir():
        raise InputError(
            f"tracks are written as NAME.tif, NAME.zarr or NAME.geff, each with a table NAME_tracks.csv, or into a "
            f"folder; got {out.name}."
        )
    return [out / "res_track.txt", out / "tracks.csv", out / "lineage.png"]


def write_tracking(
    tracking: Tracking,
    out: Path,
    *,
    dtype: np.dtype[Any] | None = None,
    overwrite: bool = False,
    provenance: Mapping[str, Any] | None = None,
    on_frame: Callable[[], None] | None = None,
) -> TrackingReport:
    """Write what tracking found, plane by plane.

    Parameters
    ----------
    tracking
        From `infer.track.track` or `track_labels`.
    out
        See `tracking_files`.
    dtype
        Integer type of the labels given; the file's holds at least these and every track id.
    overwrite
        Replace existing files.
    provenance
        Model, settings, ...: recorded with the labels.
    on_frame
        Called after each plane, or each time point where no label file is written.

    Raises
    ------
    FileError
        A file exists, or cannot be written.
    """
    started = time.perf_counter()
    report = TrackingReport(out, len(tracking), tracking.tracks, least_sure_links(tracking))
    report.files = write_tracked(
        tracking, out, dtype=dtype, overwrite=overwrite, provenance=provenance, on_frame=on_frame
    )  # fmt: skip
    report.seconds = time.perf_counter() - started
    return report


def write_tracked(
    tracked: Tracked,
    out: Path,
    *,
    dtype: np.dtype[Any] | None = None,
    overwrite: bool = False,
    provenance: Mapping[str, Any] | None = None,
    on_frame: Callable[[], None] | None = None,
) -> list[Path]:
    """Write labels whose ids are tracks, their table and their lineage: see `write_tracking`. Returns the files."""
    files = tracking_files(out)
    for file in files:
        check_free(file, overwrite)
    if out.suffix.lower() in (".tif", ".tiff", ".zarr"):
        with LabelWriter(out, tracked.stack, dtype=dtype, overwrite=overwrite, provenance=provenance) as writer:
            for position in range(len(tracked)):
                writer.write(position, tracked.labels(position), tracked.confidence(position))
                if on_frame is not None:
                    on_frame()
            written = writer.finish()
    else:
        write_tracks(out, tracked.tracks, _counted(tracked.frames(), on_frame), overwrite=overwrite)
        written = [out]
    write_tracks(files[-2], tracked.tracks, overwrite=overwrite)
    save_png(lineage_picture(tracked.tracks), files[-1], overwrite=overwrite)
    return [*written, *files[-2:]]


def _counted(frames: Iterable[Any], on_frame: Callable[[], None] | None) -> Iterator[Any]:
    for frame in frames:
        yield frame
        if on_frame is not None:
            on_frame()


def least_sure_links(tracking: Tracking, count: int = LEAST_SURE) -> list[tuple[int, int, float]]:
    """(track, frame, confidence) of the links into an object that are least sure, the worst first."""
    linking = tracking.linking
    found = [
        (float(sure[k]), t, int(linking.tracks[t][k]))
        for t, sure in enumerate(linking.confidence)
        for k in np.flatnonzero(~np.isnan(sure))
    ]
    return [(track, t, c) for c, t, track in sorted(found)[:count]]

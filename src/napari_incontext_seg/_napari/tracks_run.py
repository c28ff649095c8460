"""What the Tracks dock does in a thread: tracking, reading and writing. Runs of a `Job`, with one step at most."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..core.stack import Stack
from ..core.tracks import Tracks
from ..errors import InputError
from .job import Stop
from .layers import _zeros

if TYPE_CHECKING:
    from ..infer.identity import Confirmed
    from ..infer.linking import Linking

Say = Callable[[str], None]
Share = Callable[[float], None]


@dataclass(frozen=True)
class TrackOptions:
    """How objects are linked: see `infer.linking.link`; ``max_distance`` None: estimated."""

    max_distance: float | None = None
    max_gap: int = 1
    divisions: bool = True


@dataclass(frozen=True, eq=False)
class Found:
    """Labels whose ids are tracks, with their table, a sentence about them, and links that are confirmed."""

    labels: Any
    tracks: Tracks
    words: str
    confirmed: tuple[Confirmed, ...] = ()


class Steps:
    """A run of steps that are there already."""

    def __init__(self, *steps: Any) -> None:
        self._steps = steps

    def __len__(self) -> int:
        return len(self._steps)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._steps)


class _Stopped(Exception):
    """Leaves a function that was asked to stop."""


def track(
    labels: Stack, image: Stack | None, options: TrackOptions, confirmed: tuple[Confirmed, ...], stop: Stop, say: Say,
    share: Share,
) -> Steps:  # fmt: skip
    """Link the objects of labels."""
    from ..infer.track import TimeGrid, track_labels

    say("linking objects …")
    times = TimeGrid.of(labels).times
    advance = _counting(2 * times, stop, share)
    confirmed = _there(confirmed, labels)
    try:
        found = track_labels(
            labels, image, stitch=False, max_distance=options.max_distance, max_gap=options.max_gap,
            divisions=options.divisions, confirmed=confirmed, on_plane=advance,
        )  # fmt: skip
        made = _zeros(tuple(labels.data.shape))
        say("making labels of tracks …")
        for t, frame in enumerate(found.frames()):
            made[t] = frame
            advance()
    except _Stopped:
        return Steps()
    return Steps(Found(made, found.tracks, _counts(found.tracks), _renamed(confirmed, found.linking)))


def _there(confirmed: tuple[Confirmed, ...], labels: Stack) -> tuple[Confirmed, ...]:
    """Confirmed links between objects that the labels still hold."""
    frames = {t for link in confirmed for t in (link[0], link[2])}
    ids = {t: set(np.unique(np.asarray(labels.data[t])).tolist()) for t in frames}
    return tuple(link for link in confirmed if link[1] in ids[link[0]] and link[3] in ids[link[2]])


def _renamed(confirmed: tuple[Confirmed, ...], linking: Linking) -> tuple[Confirmed, ...]:
    """Confirmed links by the ids that their objects have now."""

    def track_of(frame: int, i: int) -> int:
        return int(linking.tracks[frame][np.searchsorted(linking.objects[frame].ids, i)])

    return tuple((t, track_of(t, i), u, track_of(u, j)) for t, i, u, j in confirmed)


def read(
    path: Path, labels: Stack | None, image: Callable[[int], Any] | None, stop: Stop, say: Say, share: Share
) -> Steps:
    """Read tracks of a file onto labels; a folder of the Cell Tracking Challenge brings labels of its own."""
    from ..io.track_reading import challenge_masks, read_tracks
    from ..session.track_placing import place_tracks
    from ..session.tracking import tracking_files

    if path.suffix.lower() in (".tif", ".tiff", ".zarr"):
        table = next((f for f in tracking_files(path) if f.suffix == ".csv" and f.exists()), None)
        todo = f"open {table.name} beside it" if table else "open it in napari, choose it as Labels, and press Track"
        raise InputError(f"{path.name} holds labels, not tracks: {todo}.")
    say(f"reading {path.name} …")
    tracks = read_tracks(path)
    if labels is None and (path.suffix.lower() == ".geff" or not path.is_dir()):
        raise InputError(f"{path.name} holds no labels: open the labels that it is about first, and choose them.")
    count = len(challenge_masks(path)) if labels is None else int(labels.data.shape[0])
    frames = _masks(path) if labels is None else lambda t: np.asarray(labels.data[t])
    made = _zeros((count, *frames(0).shape))
    try:
        placed = place_tracks(
            tracks, count, frames, made.__setitem__, image=image, on_frame=_counting(count, stop, share)
        )  # fmt: skip
    except _Stopped:
        return Steps()
    lacking = [
        (placed.missing, "of the file not found in the labels"),
        (placed.added, "of the labels in no track of it"),
    ]
    words = "".join(f"; {n} object{'s' * (n != 1)} {what}" for n, what in lacking if n)
    found = placed.tracks
    if labels is not None:
        found = replace(found, scale=_scale(labels), units=labels.units)
    return Steps(Found(made, found, _counts(found) + words))


def measure(
    labels: Stack, known: Tracks, confirmed: tuple[Confirmed, ...], image: Callable[[int], Any] | None, stop: Stop,
    say: Say, share: Share,
) -> Steps:  # fmt: skip
    """Take labels as they are, with the lineage and the links that are known."""
    from ..session.track_rows import in_order

    say("measuring objects …")
    count = int(labels.data.shape[0])
    advance = _counting(count, stop, share)
    made: Any = labels.data
    if np.dtype(made.dtype) != np.uint32:  # new tracks need numbers that a smaller type may not have
        made = _zeros(tuple(labels.data.shape))

    def frames() -> Iterator[NDArray[Any]]:
        for t in range(count):
            if made is not labels.data:
                made[t] = np.asarray(labels.data[t])
            yield np.asarray(made[t])
            advance()

    images = None if image is None else (image(t) for t in range(count))
    try:
        bare = Tracks.measure(frames(), images=images, scale=known.scale, units=known.units)
    except _Stopped:
        return Steps()
    sure = {(i, t): c for i, t, c in zip(known.track.tolist(), known.frame.tolist(), known.confidence, strict=True)}
    at = list(zip(bare.track.tolist(), bare.frame.tolist(), strict=True))
    there = set(at)
    tracks = replace(
        bare, parents=in_order(bare, known.parents), confidence=np.array([sure.get(node, np.nan) for node in at], float)
    )
    links = tuple(link for link in confirmed if {(link[1], link[0]), (link[3], link[2])} <= there)
    return Steps(Found(made, tracks, _counts(tracks), links))


def write(path: Path, labels: Stack, tracks: Tracks, stop: Stop, say: Say, share: Share) -> Steps:
    """Write tracks: the suffix chooses the format. Once begun, it is not stopped."""
    from ..io.tracks import write_tracks
    from ..session.tracking import EditedTracks, write_tracked

    say(f"writing {path.name} …")
    if path.suffix.lower() == ".csv":
        write_tracks(path, tracks, overwrite=True)  # the file dialog has asked
        return Steps(f"Saved {path}.")
    advance = _counting(len(labels), lambda: False, share)  # half a file would replace a whole one
    files = write_tracked(
        EditedTracks(labels, tracks), path, overwrite=True, provenance={"tracked": labels.name}, on_frame=advance
    )  # fmt: skip
    return Steps(f"Saved {', '.join(f.name for f in files)} in {path.parent}.")


def _counting(total: int, stop: Callable[[], bool], share: Share) -> Callable[[], None]:
    """Called for each thing that is done of ``total``; leaves by `_Stopped` when asked to stop."""
    done = 0

    def advance() -> None:
        nonlocal done
        if stop():
            raise _Stopped
        done += 1
        share(done / max(total, 1))

    return advance


def _masks(folder: Path) -> Callable[[int], NDArray[Any]]:
    import tifffile

    from ..io.track_reading import challenge_masks

    files = challenge_masks(folder)
    return lambda t: np.asarray(tifffile.imread(files[t]))


def _scale(labels: Stack) -> tuple[float, ...]:
    return tuple(abs(s) or 1.0 for s in labels.scale)


def _counts(tracks: Tracks) -> str:
    counts = [(len(tracks.ids), "track"), (len(tracks.divisions), "division")]
    return ", ".join(f"{n} {word}{'s' * (n != 1)}" for n, word in counts)

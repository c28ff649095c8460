"""Autosave: after each finished slice everything that would be lost is on disk, and can be restored after a crash.

A session is a folder: ``session.json`` (what it is about), ``examples.incontext``, ``labels.zarr`` (only slices that
were written), and ``log.jsonl``, to which confidences, verified slices and settings are appended: a save costs the same
however long the stack is.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from ..core.example_set import ExampleSet
from ..core.labels import as_labels
from ..core.stack import Stack
from ..errors import DegradedDataWarning, FileError, InContextError, InputError
from ..io.example_sets import load_examples, save_examples
from ..io.ome_zarr import PlainFiles
from ..io.storing import read_plain, store, storing
from .plan import is_own
from .project import Project
from .settings import RunSettings

MARK, VERSION = "napari-incontext-seg-session", 1
SUFFIX = ".incontext-session"
KEPT = 20  # sessions in the user's data directory; the oldest make room
_CHUNK = 4096  # pixels; larger planes are cut, as a compressor takes 2 GB at most
_AHEAD = 8  # saves that may wait: bounds memory


def sessions_directory() -> Path:
    """The user's folder of sessions; the environment variable INCONTEXT_SEG_CACHE moves it."""
    from platformdirs import user_data_dir

    base = os.environ.get("INCONTEXT_SEG_CACHE") or user_data_dir("napari-incontext-seg", appauthor=False)
    return Path(base).expanduser() / "sessions"


def autosave_folder(stack: Stack, image: Path | None = None) -> Path:
    """Where the session of an image is kept: beside its file, else in the user's data directory.

    Parameters
    ----------
    stack
        The image.
    image
        Its file or folder, where there is one.
    """
    if image is not None and image.exists() and os.access(image.parent, os.W_OK):
        return image.parent / f".{image.name}{SUFFIX}"
    name = "".join(c if c.isalnum() or c in "-_" else "_" for c in stack.name)[:40] or "image"
    return sessions_directory() / f"{name}-{identity(stack)[:12]}{SUFFIX}"


def identity(stack: Stack) -> str:
    """SHA-256 of shape, axes and three planes: tells whether a session is about this image.

    Three, because one alone is often dark: where a stack begins, or was padded.
    """
    facts = f"{tuple(stack.data.shape)} {stack.axes} {np.dtype(stack.data.dtype).name}"
    digest = hashlib.sha256(facts.encode())
    for position in sorted({len(stack) * k // 4 for k in (1, 2, 3)}):
        digest.update(np.ascontiguousarray(stack.read(position)).tobytes())
    return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class SavedSession:
    """A session on disk.

    Parameters
    ----------
    folder
        Where it lies.
    name, saved
        Of the image, and when the last save was.
    examples, settings, verified, confidence
        As in a `Project`.
    painted
        Slices whose labels were saved.
    """

    folder: Path
    name: str
    saved: datetime
    examples: ExampleSet
    settings: RunSettings
    verified: frozenset[int]
    confidence: dict[int, float]
    painted: tuple[int, ...]
    touched: tuple[int, ...]

    def __str__(self) -> str:
        when = self.saved.astimezone().strftime("%Y-%m-%d %H:%M")
        return f"{_count(len(self.examples), 'example')}, labels of {_count(len(self.painted), 'slice')}, saved {when}"

    def planes(self) -> Iterator[tuple[int, NDArray[np.uint32]]]:
        """The labels of each slice that was saved; see `_each`."""
        yield from self._each("labels", self.painted)

    def masks(self) -> Iterator[tuple[int, NDArray[np.bool_]]]:
        """The pixels that a person had painted, for each slice where that is known; see `_each`."""
        for position, mask in self._each("touched", self.touched):
            yield position, mask.astype(bool)

    def _each(self, name: str, positions: tuple[int, ...]) -> Iterator[tuple[int, NDArray[Any]]]:
        """Read slices; those that are damaged are left out, and a warning names them."""
        damaged: list[int] = []
        try:
            planes: Any = zarr.open_group(PlainFiles(self.folder / "labels.zarr", read_only=True), mode="r")[name]
        except Exception as error:  # foreign bytes make parsers raise anything
            raise FileError(f"the labels of the session {self.folder} cannot be read: {error}.") from error
        for position in positions:
            try:
                plane = np.asarray(planes[position])
            except Exception:  # codecs, too
                damaged.append(position)
            else:
                yield position, plane
        if damaged:
            which = ", ".join(map(str, damaged))
            told = f"the saved session is damaged: slice {which} could not be restored, all others could."
            warnings.warn(told, DegradedDataWarning, stacklevel=2)

    def restore_into(self, project: Project) -> None:
        """Bring everything back into a project about the same image.

        What was done in the project before stays: its examples, and the slices that are verified, annotated or painted
        by hand. Other slices get the labels that were saved, but for damaged ones, which a `DegradedDataWarning` names.

        Raises
        ------
        FileError
            The labels cannot be read.
        """
        kept = project.locked | set(project.touched)
        with storing(self.folder):
            for position, plane in self.planes():
                if position not in kept:
                    project.labels.write(position, plane)
            for position, mask in self.masks():
                if position not in kept:
                    project.touched.add(position, mask)
        project.examples, project.settings = self._examples_for(project), self.settings
        project.verified |= {p for p in self.verified if p < len(project.labels)}
        project.confidence = {p: c for p, c in self.confidence.items() if p < len(project.labels)} | project.confidence

    def _examples_for(self, project: Project) -> ExampleSet:
        """The examples that were saved, then those of the project; where both have a slice, the project's."""
        stack, annotated = project.stack, project.annotated
        items = [replace(i, source=project.source) if is_own(i, stack) else i for i in self.examples.items]
        items = [i for i in items if i.source != project.source or i.position not in annotated]
        return replace(self.examples, items=(*items, *project.examples.items))


def find_session(stack: Stack, image: Path | None = None) -> SavedSession | None:
    """The newest session about an image, None if there is none that can be read."""
    return next(iter(find_sessions(stack, image)), None)


def find_sessions(stack: Stack, image: Path | None = None) -> list[SavedSession]:
    """All sessions about an image that can be read, the newest first; also those that were set aside."""
    wanted, found = identity(stack), []
    current = {autosave_folder(stack, image), autosave_folder(stack)}
    for folder in current | {_set_aside(f) for f in current}:
        with contextlib.suppress(InContextError):
            found.append(_load(folder, wanted))
    return sorted(found, key=lambda saved: saved.saved, reverse=True)


def _set_aside(folder: Path) -> Path:
    """Where a session goes when another begins in its place."""
    return folder.with_name(f"{folder.name}.previous")


def load_session(folder: Path, stack: Stack | None = None) -> SavedSession:
    """Read what a session is about; its labels are read later.

    Raises
    ------
    FileError
        It is none, damaged, of a newer version, or about another image than ``stack``.
    """
    return _load(folder, identity(stack) if stack is not None else None)


def _load(folder: Path, image: str | None) -> SavedSession:
    """Read a session that must be about the image with this identity, if one is given."""
    try:
        facts = json.loads(read_plain(folder / "session.json"))
        if facts.get("format") != MARK or facts.get("version") != VERSION:
            raise FileError(f"{folder} is no session, or one of a newer version of this program.")
        if image is not None and facts.get("image") != image:
            raise FileError(f"the session {folder} is about another image.")
        log = list(_log(folder / "log.jsonl"))
        examples = load_examples(folder / "examples.incontext") if (folder / "examples.incontext").exists() else None
    except InContextError:
        raise
    except (OSError, ValueError, KeyError, AttributeError, RecursionError) as error:
        raise FileError(f"the session {folder} cannot be read: {error}.") from error
    confidence: dict[int, float] = {}
    flags: dict[str, dict[int, bool]] = {"verified": {}, "painted": {}, "touched": {}}
    settings = RunSettings()
    for entry in log:
        match entry:
            case ["confidence", int(position), float() | int() | None as sure] if position >= 0:
                confidence[position] = np.nan if sure is None else float(sure)
            case [str(name), int(position), bool(on)] if name in flags and position >= 0:
                flags[name][position] = on
            case ["settings", dict(values)]:
                with contextlib.suppress(InputError, TypeError, ValueError):  # of another version
                    settings = RunSettings.from_dict(values)
    verified, painted, touched = (tuple(sorted(p for p, on in f.items() if on)) for f in flags.values())
    return SavedSession(
        folder, str(facts.get("name", "")), datetime.fromtimestamp((folder / "log.jsonl").stat().st_mtime, UTC),
        examples or ExampleSet(), settings, frozenset(verified),
        {p: c for p, c in confidence.items() if np.isfinite(c)}, painted, touched,
    )  # fmt: skip


def _end_line(log: Path) -> None:
    """End a line that a crash cut off, so that the next entry is not lost with it."""
    with log.open("rb+") as file:
        if file.seek(0, os.SEEK_END) and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n":
            file.write(b"\n")


def _log(file: Path) -> Iterator[Any]:
    """The lines of a log that can be read; the last one may be cut off by a crash."""
    for line in read_plain(file).splitlines():
        with contextlib.suppress(ValueError, RecursionError):
            yield json.loads(line)


class Autosave:
    """Saves a project as it changes, in a thread of its own.

    Parameters
    ----------
    folder
        From `autosave_folder`.
    stack
        The image.
    resumed
        Whether the session in the folder was restored, and goes on. If not, it is set aside (``.previous``): it may
        hold what somebody still wants.
    on_error
        Told once if saving fails (a full disk, a folder that is gone); work goes on unsaved.

    Raises
    ------
    FileError, ResourceError
        The folder cannot be written to.
    """

    def __init__(
        self, folder: Path, stack: Stack, *, resumed: bool = False,
        on_error: Callable[[InContextError], Any] | None = None,
    ) -> None:  # fmt: skip
        self.folder, self._on_error = folder, on_error
        self.previous: Path | None = None  # where an older session was set aside
        self._waiting: list[Future[None]] = []
        self._failed = False
        with storing(folder):
            if not resumed:
                if folder.exists():
                    self.previous = _set_aside(folder)
                    shutil.rmtree(self.previous, ignore_errors=True)
                    folder.rename(self.previous)
                self._begin(stack)
            _end_line(folder / "log.jsonl")
            self._group = zarr.open_group(PlainFiles(folder / "labels.zarr"), mode="a")
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="incontext-autosave")

    def _begin(self, stack: Stack) -> None:
        self.folder.mkdir(parents=True)
        group = zarr.open_group(self.folder / "labels.zarr", mode="w")
        shape = (len(stack), *stack.plane_shape)
        chunks = (1, *(min(_CHUNK, n) for n in stack.plane_shape))
        for name, dtype in (("labels", np.uint32), ("touched", np.uint8)):
            group.create_array(
                name, shape=shape, chunks=chunks, dtype=dtype, chunk_key_encoding={"name": "default", "separator": "."}
            )
        (self.folder / "log.jsonl").touch()
        facts = {"format": MARK, "version": VERSION, "name": stack.name, "image": identity(stack)}
        store(self.folder / "session.json", lambda f: f.write_text(json.dumps(facts), encoding="utf-8"))
        _make_room(self.folder)

    def save_all(self, project: Project) -> None:
        """Save what a project holds by now."""
        self.save_examples(project.examples)
        self.save_settings(project.settings)
        for position in sorted(project.locked | set(project.confidence) | set(project.touched)):
            self.save_plane(position, project.labels.read(position))
        for position in project.touched:
            self.save_touched(position, project.touched[position])
        for position, confidence in project.confidence.items():
            self.save_confidence(position, confidence)
        for position in project.verified:
            self.save_verified(position, True)

    def save_plane(self, position: int, plane: Any) -> None:
        """Save the labels (Y, X) of a slice."""
        labels = as_labels(plane).copy()

        def write() -> None:
            self._group["labels"][position] = labels  # type: ignore[index]
            self._append("painted", position, True)

        self._submit(write)

    def save_touched(self, position: int, mask: NDArray[np.bool_]) -> None:
        """Save which pixels (Y, X) of a slice a person painted."""

        def write() -> None:
            self._group["touched"][position] = mask.astype(np.uint8)  # type: ignore[index]
            self._append("touched", position, True)

        self._submit(write)

    def save_confidence(self, position: int, confidence: float | None) -> None:
        """Save how sure the model is of a slice."""
        self._submit(lambda: self._append("confidence", position, confidence))

    def save_verified(self, position: int, on: bool) -> None:
        """Save that a slice is verified, or no longer."""
        self._submit(lambda: self._append("verified", position, on))

    def save_settings(self, settings: RunSettings) -> None:
        """Save the settings."""
        self._submit(lambda: self._append("settings", settings.as_dict()))

    def save_examples(self, examples: ExampleSet) -> None:
        """Save the examples."""
        self._submit(lambda: save_examples(self.folder / "examples.incontext", examples, overwrite=True))

    def _append(self, *entry: Any) -> None:
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def _submit(self, write: Callable[[], Any]) -> None:
        if self._failed:
            return
        self._waiting = [future for future in self._waiting if not future.done()]
        while len(self._waiting) >= _AHEAD:
            self._waiting.pop(0).result()
        self._waiting.append(self._thread.submit(self._run, write))

    def _run(self, write: Callable[[], Any]) -> None:
        try:
            with storing(self.folder):
                write()
        except Exception as error:  # of zarr's stores and codecs, too: told, not raised where nobody waits
            if not self._failed and self._on_error is not None:
                ours = error if isinstance(error, InContextError) else FileError(f"the session was not saved: {error}.")
                self._on_error(ours)
            self._failed = True

    def flush(self) -> None:
        """Wait until everything is saved."""
        for future in self._waiting:
            future.result()
        self._waiting.clear()

    def close(self) -> None:
        """Wait until everything is saved, and end the thread."""
        self._thread.shutdown(wait=True)

    def discard(self) -> None:
        """Delete the session."""
        self.close()
        self._failed = True
        shutil.rmtree(self.folder, ignore_errors=True)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _make_room(newest: Path) -> None:
    """Delete the oldest sessions of the user's directory if there are too many."""
    if newest.parent != sessions_directory():
        return
    sessions = [f for f in newest.parent.iterdir() if SUFFIX in f.name and f != newest]
    for folder in sorted(sessions, key=lambda f: f.stat().st_mtime, reverse=True)[KEPT - 1 :]:
        shutil.rmtree(folder, ignore_errors=True)

"""Autosave: after each finished slice everything that would be lost is on disk, and can be restored after a crash.

A session is a folder: ``session.json`` (what it is about), ``examples.incontext``, ``labels.zarr`` (only slices that
were written), and ``log.jsonl``, to which confidences, verified slices and settings are appended: a save costs the same
however long the stack is.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import zarr
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from ..core.example_set import ExampleSet
from ..core.labels import as_labels
from ..core.stack import Stack
from ..errors import FileError, InContextError
from ..io.example_sets import save_examples
from ..io.ome_zarr import PlainFiles
from ..io.storing import read_plain, store, storing
from .project import Project
from .settings import RunSettings

MARK, VERSION = "napari-incontext-seg-session", 1
SUFFIX = ".incontext-session"
KEPT = 20  # sessions in the user's data directory; the oldest make room
KEPT_OF_IMAGE = 5  # sessions about one image
LOCK = "lock"
_CHUNK = 4096  # pixels; larger planes are cut, as a compressor takes 2 GB at most
_AHEAD = 8  # saves that may wait: bounds memory
_known: WeakKeyDictionary[Stack, str] = WeakKeyDictionary()  # identities


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

    Three, because one alone is often dark: where a stack begins, or was padded. They are read once.
    """
    if stack in _known:
        return _known[stack]
    facts = f"{tuple(stack.data.shape)} {stack.axes} {np.dtype(stack.data.dtype).name}"
    digest = hashlib.sha256(facts.encode())
    for position in sorted({len(stack) * k // 4 for k in (1, 2, 3)}):
        digest.update(np.ascontiguousarray(stack.read(position)).tobytes())
    _known[stack] = digest.hexdigest()
    return _known[stack]


def sessions_at(folder: Path) -> list[Path]:
    """The sessions that lie where `autosave_folder` says: the folder, and those with a number after its name."""
    if not folder.parent.is_dir():
        return []
    names = re.compile(rf"{re.escape(folder.name)}(\.\d+|\.previous)?")  # the last is what earlier versions set aside
    return [f for f in folder.parent.iterdir() if names.fullmatch(f.name)]


def _end_line(log: Path) -> None:
    """End a line that a crash cut off, so that the next entry is not lost with it."""
    with log.open("rb+") as file:
        if file.seek(0, os.SEEK_END) and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n":
            file.write(b"\n")


class Autosave:
    """Saves a project as it changes, in a thread of its own.

    As long as it is open no other one saves in its folder, also of another process.

    Parameters
    ----------
    folder
        From `autosave_folder`.
    stack
        The image.
    resumed
        Whether the session in the folder was restored, and goes on there: `resumed` then, unless it is still open
        elsewhere. If not, a new one begins, with a number after its name if there is one already, which may hold what
        somebody still wants.
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
        self._on_error = on_error
        self._waiting: list[Future[None]] = []
        self._failed = False
        with storing(folder):
            self._lock = _locked(folder) if resumed and (folder / "session.json").exists() else None
            self.resumed = self._lock is not None
            self.folder = folder if self.resumed else _new_folder(folder)
            if self._lock is None:
                self._begin_or_leave_nothing(stack)
            _end_line(self.folder / "log.jsonl")
            self._group = zarr.open_group(PlainFiles(self.folder / "labels.zarr"), mode="a")
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="incontext-autosave")

    def _begin_or_leave_nothing(self, stack: Stack) -> None:
        try:
            self._lock = _locked(self.folder)
            self._begin(stack)
        except BaseException:
            if self._lock is not None:
                self._lock.release()
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    def _begin(self, stack: Stack) -> None:
        group = zarr.open_group(self.folder / "labels.zarr", mode="w")
        shape = (len(stack), *stack.plane_shape)
        chunks = (1, *(min(_CHUNK, n) for n in stack.plane_shape))
        for name, dtype in (("labels", np.uint32), ("touched", np.uint8)):
            group.create_array(
                name, shape=shape, chunks=chunks, dtype=dtype, chunk_key_encoding={"name": "default", "separator": "."}
            )
        (self.folder / "log.jsonl").touch()
        image = identity(stack)
        facts = {"format": MARK, "version": VERSION, "name": stack.name, "image": image}
        store(self.folder / "session.json", lambda f: f.write_text(json.dumps(facts), encoding="utf-8"))
        _make_room(self.folder, image)

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
        """Wait until everything is saved, and end the thread; others may go on with the session."""
        self._thread.shutdown(wait=True)
        if self._lock is not None:
            self._lock.release()

    def discard(self) -> None:
        """Delete the session."""
        self.close()
        self._failed = True
        shutil.rmtree(self.folder, ignore_errors=True)


def _new_folder(folder: Path) -> Path:
    """Make a folder for a new session: ``folder``, or the first with a number after its name that nobody has."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    base, number = _base(folder), 1
    while True:
        made = base.with_name(f"{base.name}.{number}") if number > 1 else base
        try:
            made.mkdir()
        except FileExistsError:
            number += 1
        else:
            return made


def _base(folder: Path) -> Path:
    """The folder without a number after its name."""
    return folder.with_name(re.sub(r"\.\d+$", "", folder.name))


def _locked(folder: Path) -> FileLock | None:
    """Lock a session; None if somebody else has it."""
    lock = FileLock(folder / LOCK, timeout=0, thread_local=False)
    try:
        lock.acquire()
    except (Timeout, PermissionError):  # the latter: another user's
        return None
    except (OSError, NotImplementedError):  # disks that know no locks
        pass
    return lock


def _make_room(newest: Path, image: str) -> None:
    """Delete the oldest sessions of an image, and of the user's directory, if there are too many."""
    _delete_oldest((f for f in sessions_at(_base(newest)) if _image_of(f) == image), KEPT_OF_IMAGE)
    if newest.parent == sessions_directory():
        _delete_oldest((f for f in newest.parent.iterdir() if SUFFIX in f.name), KEPT)


def _image_of(folder: Path) -> str | None:
    """The `identity` of the image that a session is about; None if that cannot be read."""
    try:
        return str(json.loads(read_plain(folder / "session.json"))["image"])
    except (InContextError, OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _delete_oldest(folders: Iterable[Path], kept: int) -> None:
    """Delete all sessions but the newest ones, and those that are open."""
    for folder in sorted(folders, key=_last_save, reverse=True)[kept:]:
        lock = _locked(folder)
        if lock is not None:
            lock.release()
            shutil.rmtree(folder, ignore_errors=True)


def _last_save(folder: Path) -> float:
    log = folder / "log.jsonl"
    return (log if log.exists() else folder).stat().st_mtime

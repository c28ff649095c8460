"""`Journal`: what the model wrote, so that it can be undone: many levels, by slice or by run, in bounded memory."""

from __future__ import annotations

import shutil
import tempfile
import weakref
import zlib
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..core.sparse_change import SparseChange
from ..errors import FileError

MEMORY_BYTES = 2**26  # of changes in memory; the older ones are on disk
DISK_BYTES = 2**31  # of changes on disk; the oldest are forgotten


class Entry:
    """One write: which run, which plane, what changed, and what was said of the plane before and after.

    ``note`` is (before, after), of whatever kind the caller likes, such as confidences.
    """

    def __init__(self, run: int, position: int, change: SparseChange, note: tuple[Any, Any]) -> None:
        self.run, self.position, self.note, self.nbytes = run, position, note, change.nbytes
        self._change = change
        self._file: Path | None = None
        self._checksum = 0

    @property
    def change(self) -> SparseChange:
        """What changed, read from disk if it lies there. Raises FileError if it was deleted or damaged there."""
        if self._file is None:
            return self._change
        try:
            with self._file.open("rb") as file:
                packed = file.read(self.nbytes + 1)
            if zlib.crc32(packed) != self._checksum:
                raise OSError("it is damaged")
        except OSError as error:
            raise FileError(
                f"this step cannot be undone: its temporary file {self._file} cannot be read "
                f"({error.strerror or error})."
            ) from error
        return replace(self._change, packed=packed)

    @property
    def on_disk(self) -> bool:
        """Whether the change lies on disk."""
        return self._file is not None

    def spill(self, file: Path) -> None:
        """Move the change to a file."""
        try:
            file.write_bytes(self._change.packed)
        except OSError:
            file.unlink(missing_ok=True)  # half a change, on a disk that is full
            raise
        self._checksum = zlib.crc32(self._change.packed)
        self._file, self._change = file, replace(self._change, packed=b"")

    def forget(self) -> None:
        """Delete the file."""
        if self._file is not None:
            self._file.unlink(missing_ok=True)


class Journal:
    """Undo and redo of what was written into label planes.

    Nothing is applied here: an entry says what changed, and its `SparseChange` touches only pixels that still hold what
    was written.

    Parameters
    ----------
    memory_bytes, disk_bytes
        Bounds. Beyond the first, older changes go to a temporary folder; beyond both, or where that folder cannot be
        written to, the oldest are forgotten.
    """

    def __init__(self, *, memory_bytes: int = MEMORY_BYTES, disk_bytes: int = DISK_BYTES) -> None:
        self._memory_limit, self._disk_limit = memory_bytes, disk_bytes
        self._done: deque[Entry] = deque()
        self._undone: list[Entry] = []
        self._in_memory = self._on_disk = 0
        self._spilled = 0  # at least this many of the oldest are on disk
        self._folder: Path | None = None
        self._files = 0

    def record(self, run: int, position: int, before: Any, after: Any, note: tuple[Any, Any] = (None, None)) -> bool:
        """Note that a run wrote ``after`` (Y, X) where ``before`` was; False if that changed nothing.

        What was undone cannot be redone any more.
        """
        change = SparseChange.between(before, after)
        if not change.count:
            return False
        for entry in self._undone:
            self._forget(entry)
        self._undone.clear()
        self._done.append(Entry(run, position, change, note))
        self._in_memory += change.nbytes
        self._bound()
        return True

    # -- undo and redo --------------------------------------------------------------------------------------------
    @property
    def can_undo(self) -> bool:
        """Whether there is something to undo."""
        return bool(self._done)

    @property
    def can_redo(self) -> bool:
        """Whether there is something to redo."""
        return bool(self._undone)

    def undo_slice(self, spared: Collection[int] = ()) -> list[Entry]:
        """Take back the last write of a plane that is not ``spared``; its change is to be reverted."""
        at = self._last(spared)
        return [] if at is None else [self._back(at)]

    def undo_run(self, spared: Collection[int] = ()) -> Iterator[Entry]:
        """Take back all writes of the last run, the last one first, each when it is asked for.

        Those of planes that are ``spared`` stay, and can be taken back later.
        """
        at = self._last(spared)
        run = None if at is None else self._done[at].run
        while at is not None and self._done[at].run == run:
            yield self._back(at)
            at = self._last(spared)

    def redo_slice(self) -> list[Entry]:
        """Give again the write that was taken back last; its change is to be applied."""
        return self._forth(1)

    def redo_run(self) -> Iterator[Entry]:
        """Give again all writes of that run that were taken back, each when it is asked for."""
        run = self._undone[-1].run if self._undone else None
        while self._undone and self._undone[-1].run == run:
            yield from self._forth(1)

    def _last(self, spared: Collection[int]) -> int | None:
        """Number of the last write of a plane that is not spared."""
        numbers = range(len(self._done) - 1, -1, -1)
        return next((k for k in numbers if self._done[k].position not in spared), None)

    def _back(self, number: int) -> Entry:
        entry = self._done[number]
        del self._done[number]
        self._spilled -= number < self._spilled
        self._undone.append(entry)
        return entry

    def _forth(self, count: int) -> list[Entry]:
        entries = [self._undone.pop() for _ in range(min(count, len(self._undone)))]
        self._done += entries
        self._bound()
        return entries

    # -- bounds ---------------------------------------------------------------------------------------------------
    @property
    def nbytes(self) -> tuple[int, int]:
        """Bytes of changes in memory, and on disk."""
        return self._in_memory, self._on_disk

    def __len__(self) -> int:
        """How many writes can be undone."""
        return len(self._done)

    def _bound(self) -> None:
        """Move old changes to disk, and forget the oldest, so that both stay within their bounds."""
        while self._in_memory > self._memory_limit and self._spilled < len(self._done) - 1:
            if self._done[self._spilled].on_disk or self._spill(self._done[self._spilled]):
                self._spilled += 1
            else:
                self._forget_oldest()
        while self._on_disk > self._disk_limit and self._done:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        self._forget(self._done.popleft())
        self._spilled = max(self._spilled - 1, 0)

    def _spill(self, entry: Entry) -> bool:
        """Move a change to disk; False where that cannot be, as the disk is full or cannot be written to."""
        try:
            if self._folder is None:
                self._folder = Path(tempfile.mkdtemp(prefix="incontext-undo-"))
                weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)  # also where nobody closes
            entry.spill(self._folder / f"{self._files:08d}")
        except OSError:
            return False
        self._files += 1
        self._in_memory -= entry.nbytes
        self._on_disk += entry.nbytes
        return True

    def _forget(self, entry: Entry) -> None:
        if entry.on_disk:
            self._on_disk -= entry.nbytes
        else:
            self._in_memory -= entry.nbytes
        entry.forget()

    def close(self) -> None:
        """Forget everything; the temporary folder is deleted."""
        self._done.clear()
        self._undone.clear()
        self._in_memory = self._on_disk = self._spilled = 0
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

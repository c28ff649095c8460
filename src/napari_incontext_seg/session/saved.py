"""`SavedSession`: a session on disk that an autosave has left: found by its image, read, and brought back."""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from ..core.example_set import ExampleItem, ExampleSet
from ..core.labels import as_labels
from ..core.stack import Stack
from ..core.words import counted
from ..errors import DegradedDataWarning, FileError, InContextError, InputError
from ..io.example_sets import load_examples
from ..io.ome_zarr import PlainFiles
from ..io.storing import read_plain, storing
from .autosave import MARK, VERSION, autosave_folder, identity, sessions_at
from .plan import is_own
from .project import Project
from .settings import RunSettings


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
    painted, touched
        Slices whose labels were saved, and of which it was saved what a person painted.
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
        return (
            f"{counted(len(self.examples), 'example')}, labels of {counted(len(self.painted), 'slice')}, saved {when}"
        )

    def planes(self) -> Iterator[tuple[int, NDArray[np.uint32]]]:
        """The labels of each slice that was saved; those that are damaged are left out, and a warning names them."""
        yield from self._each("labels", self.painted)

    def masks(self) -> Iterator[tuple[int, NDArray[np.bool_]]]:
        """The pixels that a person had painted, for each slice where that is known and readable."""
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
        by hand; labels that are there, and others than were saved (see `clashing`), stay too. Other slices get the
        labels that were saved, but for damaged ones, which a `DegradedDataWarning` names. Only what came back is
        verified again.

        Raises
        ------
        FileError
            The labels cannot be read.
        """
        kept = project.locked | set(project.touched) | self.clashing(project)
        back = set(range(len(project.labels))) - kept - set(self.painted)  # nothing was saved of them that could fail
        with storing(self.folder):
            for position, plane in self.planes():
                if position not in kept:
                    project.labels.write(position, plane)
                    back.add(position)
            for position, mask in self.masks():
                if position not in kept:
                    project.touched.add(position, mask)
        project.examples, project.settings = self._examples_for(project), self.settings
        project.verified |= self.verified & back
        project.confidence = {p: c for p, c in self.confidence.items() if p in back} | project.confidence

    def clashing(self, project: Project) -> set[int]:
        """Slices whose labels the project knows nothing of, and that are others than were saved."""
        known = project.locked | set(project.touched)
        unknown = [p for p in self.painted if p < len(project.labels) and p not in known]
        there = tuple(p for p in unknown if np.any(project.labels.read(p)))
        with storing(self.folder), warnings.catch_warnings():
            warnings.simplefilter("ignore", DegradedDataWarning)  # it is told when they are restored
            saved = self._each("labels", there)
            return {p for p, plane in saved if not np.array_equal(as_labels(project.labels.read(p)), plane)}

    def agrees(self, project: Project) -> bool:
        """Whether the labels of a project are those that were saved, in all slices that were saved whole."""
        with storing(self.folder), warnings.catch_warnings():
            warnings.simplefilter("ignore", DegradedDataWarning)  # it is told when they are restored
            return all(np.array_equal(as_labels(project.labels.read(p)), plane) for p, plane in self.planes())

    def _examples_for(self, project: Project) -> ExampleSet:
        """The examples that were saved, then those of the project; where both have a slice, the project's."""
        annotated = project.annotated
        items = [self._as_here(item, project) for item in self.examples.items]
        there = {(i.source, i.position, i.example.digest) for i in project.examples.items}
        items = [
            i for i in items
            if (i.source, i.position, i.example.digest) not in there
            and (i.source != project.source or i.position not in annotated)
        ]  # fmt: skip
        return replace(self.examples, items=(*items, *project.examples.items))

    def _as_here(self, item: ExampleItem, project: Project) -> ExampleItem:
        """An example as the project would make it: of its own slices it shows the channels that are chosen now."""
        stack, position, example = project.stack, item.position, item.example
        if is_own(item, stack):
            return replace(item, source=project.source)
        if position is None or not 0 <= position < len(stack) or item.source not in (project.source, self.name):
            return item
        if example.image.shape[:2] != stack.plane_shape:
            return item
        labels = as_labels(project.labels.read(position))  # another image of this name has others
        if not np.array_equal(np.where(example.valid, labels, 0), np.where(example.valid, example.labels, 0)):
            return item
        return replace(item, source=project.source, example=replace(example, image=stack.plane(position)))


def find_session(stack: Stack, image: Path | None = None) -> SavedSession | None:
    """The newest session about an image, None if there is none that can be read."""
    return next(iter(find_sessions(stack, image)), None)


def find_sessions(stack: Stack, image: Path | None = None) -> list[SavedSession]:
    """All sessions about an image that can be read, the newest first; also those that others have begun since."""
    wanted, found = identity(stack), []
    places = {autosave_folder(stack, image), autosave_folder(stack)}
    for folder in {folder for place in places for folder in sessions_at(place)}:
        with contextlib.suppress(InContextError):
            found.append(_load(folder, wanted))
    return sorted(found, key=lambda saved: saved.saved, reverse=True)


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


def _log(file: Path) -> Iterator[Any]:
    """The lines of a log that can be read; the last one may be cut off by a crash."""
    for line in read_plain(file).splitlines():
        with contextlib.suppress(ValueError, RecursionError):
            yield json.loads(line)

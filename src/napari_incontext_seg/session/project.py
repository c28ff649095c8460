"""`Project`: the state of one job, without a toolkit: examples, what was painted, what is verified, undo."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..core.cleanup import Operation, clean_up
from ..core.example_set import ExampleItem, ExampleSet, Rgb
from ..core.instances import guess_kind
from ..core.labels import LabelPlanes, as_labels
from ..core.sparse_change import SparseChange
from ..core.stack import Stack
from ..core.types import Example, Labels, Predictor
from ..errors import DegradedDataWarning, InputError
from ..io.example_sets import save_examples
from .journal import Entry, Journal
from .packed import PackedMaps, PackedMasks
from .replay import RunRecord, command_line
from .review import least_sure, worth_annotating
from .settings import RunSettings

if TYPE_CHECKING:
    from ..infer.propagate import Propagation, Step
    from .autosave import Autosave

OnChange = Callable[[str, int | None], None]


class Project:
    """One job: an image, its labels, and everything that a person decided about them.

    Used from one thread, but for `start`, which may be called and run in another.

    Parameters
    ----------
    stack
        The image.
    labels
        Where painted labels go, and hand-painted ones come from.
    on_change
        Called with a topic (``examples``, ``labels``, ``verified``, ``confidence``, ``settings``) and a slice or None.
    """

    def __init__(self, stack: Stack, labels: LabelPlanes, *, on_change: OnChange | None = None) -> None:
        if len(labels) != len(stack):
            raise InputError(f"the labels must have as many slices as the image, {len(stack)}; got {len(labels)}.")
        self._raw, self.labels = stack, labels
        self.examples = ExampleSet()
        self._settings = RunSettings()
        self.verified: set[int] = set()
        self.confidence: dict[int, float] = {}
        self.journal = Journal()
        self.autosave: Autosave | None = None
        self.disagreement = PackedMaps(stack.plane_shape)
        self.touched = PackedMasks(stack.plane_shape)
        self._runs = self._painting = 0  # how many there were; the number of the one that the model paints in
        self.last_run: RunRecord | None = None
        self._on_change = on_change

    @cached_property
    def stack(self) -> Stack:
        """The image with its value range, which is fitted when it is first asked for."""
        return self._raw.normalized()

    @property
    def source(self) -> str:
        """The name that examples of this image carry."""
        return self._raw.name

    @property
    def settings(self) -> RunSettings:
        """How a run goes."""
        return self._settings

    @settings.setter
    def settings(self, settings: RunSettings) -> None:
        if settings != self._settings:
            self._settings = settings
            if self.autosave is not None:
                self.autosave.save_settings(settings)
            self._tell("settings", None)
        if settings.kind != self.examples.kind:
            self._set_examples(replace(self.examples, kind=settings.kind))

    def close(self) -> None:
        """Let go of files; what was saved stays."""
        self.journal.close()
        if self.autosave is not None:
            self.autosave.close()

    # -- examples -------------------------------------------------------------------------------------------------
    @property
    def annotated(self) -> set[int]:
        """Slices that are examples, used or not."""
        found = (i.position for i in self.examples.items if i.source == self.source and i.position is not None)
        return {p for p in found if p < len(self._raw)}

    @property
    def locked(self) -> set[int]:
        """Slices that the model never changes: examples and verified ones."""
        return self.verified | self.annotated

    def add_example(self, position: int, name: str | None = None) -> int:
        """Make a slice with its labels an example; one that is already is brought up to date. Returns its number.

        Raises
        ------
        InputError
            Nothing is annotated there.
        """
        number = self.examples.find(self.source, position)
        if number is not None:
            item = replace(self.examples.items[number], example=self._example(position), used=True)
            self._set_examples(self.examples.replaced(number, item), position)
            return number
        example = self._example(position)
        if not any(example.ids) and not any(any(i.example.ids) for i in self.examples.items):
            raise InputError(f"no label is painted on slice {position}: paint every object of one slice first.")
        index = self._raw.unravel(position)
        where = " ".join(f"{axis} {i}" for axis, i in zip(self._raw.plane_axes, index, strict=True))
        title = ", ".join(part for part in (self.source, where) if part) or "image"  # "ovule, z 12"
        return self.add_item(ExampleItem(example, name or title, self.source, position, index))

    def add_item(self, item: ExampleItem) -> int:
        """Add an example, such as one of another image, and return its number; one of the same plane is replaced.

        The first one tells whether labels are classes or objects, unless they are said to be names.
        """
        position = item.position if item.source == self.source else None
        for number, known in enumerate(self.examples.items):
            same = (known.source, known.position) == (item.source, item.position)
            if same and np.array_equal(known.example.image, item.example.image):
                self._set_examples(self.examples.replaced(number, replace(item, name=known.name)), position)
                return number
        if not self.examples.items and not self.settings.names:
            self.settings = replace(self.settings, kind=guess_kind([item.example.labels]))
        self._set_examples(self.examples.added(item), position)
        return len(self.examples) - 1

    def refresh_example(self, position: int) -> bool:
        """Save a slice after its labels were edited, and bring its example up to date; False if there is none.

        A slice of which no pixel counts as annotated any more stays an example as it was. One whose labels were all
        erased becomes an example of nothing but background, of which a `DegradedDataWarning` tells.
        """
        if self.autosave is not None:
            self.autosave.save_plane(position, self.labels.read(position))
        number = self.examples.find(self.source, position)
        if number is None:
            return False
        try:
            example = self._example(position)
        except InputError:
            return False
        item = self.examples.items[number]
        if example.digest != item.example.digest:
            self._set_examples(self.examples.replaced(number, replace(item, example=example)), position)
            if any(item.example.ids) and not any(example.ids):
                told = f"the example {item.name} shows no label any more, so the model learns that nothing is there."
                warnings.warn(f"{told} If that is not meant, remove it.", DegradedDataWarning, stacklevel=2)
        return True

    def remove_example(self, number: int) -> None:
        """Take an example out; its slice is no longer locked."""
        self._set_examples(self.examples.removed(number))

    def rename_example(self, number: int, name: str) -> None:
        """Give an example another name."""
        self._set_examples(self.examples.renamed(number, name))

    def move_example(self, number: int, to: int) -> None:
        """Give an example another place in the order."""
        self._set_examples(self.examples.moved(number, to))

    def use_example(self, number: int, used: bool) -> None:
        """Show an example to the model, or not."""
        self._set_examples(self.examples.with_used(number, used))

    def set_ignore_label(self, label: int | None) -> None:
        """Say which label means "not annotated"; the examples of this image are read again.

        Raises
        ------
        InputError
            An example would have no annotated pixel left.
        """
        before = self.examples
        changed = replace(before, ignore_label=label)
        for number, item in enumerate(before.items):
            if item.source == self.source and item.position in self.annotated:
                example = self._example(int(item.position), label)
                changed = changed.replaced(number, replace(item, example=example))
        self._set_examples(changed)

    def set_classes(self, names: dict[int, str], colors: dict[int, Rgb]) -> None:
        """Name and colour the labels."""
        self._set_examples(replace(self.examples, class_names=names, class_colors=colors))

    def import_examples(self, given: ExampleSet) -> int:
        """Add the examples of a set; returns how many were new. See `importing.joined`."""
        from .importing import joined

        before, examples = len(self.examples), joined(self, given)
        self._set_examples(examples)
        names = self.settings.names and examples.kind == "semantic"
        self.settings = replace(self.settings, kind=examples.kind, names=names)
        return len(examples) - before

    def take_labels(self, position: int, example: Example) -> bool:
        """Whether a slice has the labels of an example, or has none and can take them, which then are written."""
        now = as_labels(self.labels.read(position))
        if not now.any() and position not in self.locked and position not in self.touched:
            self._write(position, example.labels, self._next_run())
            return True
        return bool(np.array_equal(np.where(example.valid, now, 0), example.labels))

    def _example(self, position: int, ignore_label: int | None = -1) -> Example:
        ignore = self.examples.ignore_label if ignore_label == -1 else ignore_label
        try:
            plane = self.stack.plane(position)
            return Example.from_labels(plane, self.labels.read(position), ignore, self.stack.spacing)
        except InputError as error:
            raise InputError(f"slice {position}: {error}") from error

    def _set_examples(self, examples: ExampleSet, position: int | None = None) -> None:
        before, self.examples = self.annotated, examples
        if self.autosave is not None:
            self.autosave.save_examples(examples)
            for changed in (self.annotated - before) | (set() if position is None else {position}):
                self.autosave.save_plane(changed, self.labels.read(changed))
        self._tell("examples", position)

    # -- hand painting --------------------------------------------------------------------------------------------
    def note_hand_edit(self, position: int, mask: NDArray[np.bool_], *, undone: bool = False) -> None:
        """Note that a person painted the pixels of ``mask`` (Y, X), which the model leaves alone, or undid that."""
        (self.touched.remove if undone else self.touched.add)(position, mask)
        if self.autosave is not None:
            self.autosave.save_touched(position, self.touched[position])
            self.autosave.save_plane(position, self.labels.read(position))

    # -- running --------------------------------------------------------------------------------------------------
    def start(self, predictor: Predictor, current: int = 0) -> Propagation:
        """Make a run of the model ready, with the examples and settings as they are now.

        Raises
        ------
        InputError
            No example is used, or there is nothing to paint.
        """
        from .plan import plan_run, span_of

        examples, settings, verified = self.examples, self.settings, frozenset(self.verified)
        run = plan_run(
            self.stack, examples, settings, predictor, current=current, verified=verified, locked=self.locked
        )
        self._painting = self._next_run()
        self.last_run = RunRecord(examples, settings, span_of(self.stack, settings, current, verified), verified)
        return run

    def commit(self, step: Step) -> bool:
        """Write what the model painted, but for locked slices and pixels that a person painted; False if locked."""
        position, painted = step.position, step.segmentation
        if position in self.locked:
            return False
        note = self.confidence.get(position), painted.slice_confidence
        self.disagreement.put(position, painted.disagreement)
        self._write(position, painted.labels, self._painting, note)
        self._set_confidence(position, painted.slice_confidence)
        return True

    def command_line(self, image: Path, examples: Path, out: Path) -> str:
        """The command that repeats the last run headless; its examples and verified slices are saved to a file for it.

        Parameters
        ----------
        image
            The file that the image was opened from.
        examples
            Where the example set is written; one that is there is replaced.
        out
            Where the command is to write.

        Raises
        ------
        InContextError
            Nothing was run yet, the file does not hold this image, or the examples cannot be saved.
        """
        if self.last_run is None:
            raise InputError("there is no run to repeat yet: run the model first.")
        repeated = self.last_run.examples_to_repeat(self.stack, self.labels.read, self.source)
        given = examples if len(repeated) else None  # a key alone is enough
        words = command_line(self.last_run, self.stack, image=image, examples=given, out=out)
        if given is not None:
            save_examples(given, repeated, overwrite=True)
        return words

    @property
    def not_repeated(self) -> list[int]:
        """Slices that a person painted in, and that the command of the last run does not know as they are."""
        run = self.last_run
        if run is None:
            return []
        return [p for p in self.touched if p not in run.verified and run.examples.find(self.source, p) is None]

    def _next_run(self) -> int:
        self._runs += 1
        return self._runs

    def _write(self, position: int, labels: Labels, run: int, note: tuple[Any, Any] = (None, None)) -> bool:
        before = as_labels(self.labels.read(position))
        after = np.where(self.touched[position], before, labels) if position in self.touched else labels
        if not self.journal.record(run, position, before, after, note):
            return False
        self._put(position, after)
        return True

    def _put(self, position: int, plane: Labels) -> None:
        self.labels.write(position, plane)
        if self.autosave is not None:
            self.autosave.save_plane(position, plane)
        self._tell("labels", position)

    # -- review ---------------------------------------------------------------------------------------------------
    def verify(self, position: int, on: bool = True) -> None:
        """Mark a slice as verified, which locks it, or no longer."""
        self._raw.unravel(position)
        (self.verified.add if on else self.verified.discard)(position)
        if self.autosave is not None:
            self.autosave.save_verified(position, on)
            self.autosave.save_plane(position, self.labels.read(position))
        self._tell("verified", position)

    @property
    def unsure(self) -> list[int]:
        """Unlocked slices that have a confidence, the least sure first."""
        return least_sure(self.confidence, self.locked)

    def annotate_next(self) -> int | None:
        """The slice whose annotation would help most: unsure, and far from those that are annotated."""
        return worth_annotating(self._raw, self.confidence, self.unsure, self.annotated)

    def next_unsure(self, after: int | None = None) -> int | None:
        """The least sure slice; asked while it is on display, the next less sure one."""
        ranked = self.unsure
        if not ranked:
            return None
        return ranked[(ranked.index(after) + 1) % len(ranked)] if after in ranked else ranked[0]

    def cleaned(self, position: int, operation: Operation, size: float) -> Labels:
        """What a slice would become; nothing is changed."""
        before = as_labels(self.labels.read(position))
        return np.where(self.touched[position], before, clean_up(before, operation, size))

    def cleanup(self, positions: Collection[int], operation: Operation, size: float) -> Iterator[bool]:
        """Clean up slices, one at a time, as one run that can be undone; locked ones are left alone.

        Yields after every slice whether it changed.
        """
        run = self._next_run()
        for position in sorted(set(positions)):
            known = self.confidence.get(position)
            yield position not in self.locked and self._write(
                position, self.cleaned(position, operation, size), run, (known, known)
            )

    # -- undo -----------------------------------------------------------------------------------------------------
    def undo_slice(self) -> list[int]:
        """Take back what the model wrote last in a slice that is not locked; what a person painted since stays.

        Returns the slices that changed: one or none.
        """
        return next(filter(None, map(self._revert, iter(partial(self.journal.undo_slice, self.locked), []))), [])

    def undo_run(self) -> Iterator[int]:
        """Take back what the last run wrote, slice by slice; yields those that changed.

        Slices that are locked stay, and can be taken back when they are unlocked.
        """
        for entry in self.journal.undo_run(self.locked):
            yield from self._revert([entry])

    def redo_slice(self) -> list[int]:
        """Write again what was taken back last."""
        return next(filter(None, map(self._apply, iter(self.journal.redo_slice, []))), [])

    def redo_run(self) -> Iterator[int]:
        """Write again the whole run that was taken back, slice by slice; yields those that changed."""
        for entry in self.journal.redo_run():
            yield from self._apply([entry])

    def _revert(self, entries: list[Entry]) -> list[int]:
        return [e.position for e in entries if self._rewrite(e, SparseChange.revert, e.note[0])]

    def _apply(self, entries: list[Entry]) -> list[int]:
        return [e.position for e in entries if self._rewrite(e, SparseChange.apply, e.note[1])]

    def _rewrite(self, entry: Entry, change: Callable[..., Labels], confidence: float | None) -> bool:
        position = entry.position
        if position in self.locked:
            return False
        self._put(position, change(entry.change, self.labels.read(position), spared=self.touched[position]))
        self._set_confidence(position, confidence)
        return True

    def forget_confidence(self) -> None:
        """Take no slice for the model's any more: its labels were replaced."""
        for position in list(self.confidence):
            self._set_confidence(position, None)

    def _set_confidence(self, position: int, confidence: float | None) -> None:
        if confidence is None:
            self.confidence.pop(position, None)
        else:
            self.confidence[position] = confidence
        if self.autosave is not None:
            self.autosave.save_confidence(position, confidence)
        self._tell("confidence", position)

    def _tell(self, topic: str, position: int | None) -> None:
        if self._on_change is not None:
            self._on_change(topic, position)

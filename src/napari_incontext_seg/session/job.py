"""One job without a toolkit: run a propagation, write each plane when it is done, say where the model is unsure."""

from __future__ import annotations

import hashlib
import time
import warnings
from collections.abc import Callable, Collection, Generator, Mapping
from contextlib import closing
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.example_set import Rgb
from ..core.labels import as_labels
from ..core.metrics import dice, slice_confidence
from ..core.stack import Stack
from ..core.types import Labels
from ..errors import DegradedDataWarning, InputError
from ..infer.meeting import Meeting
from ..infer.propagate import Propagation
from ..io.labels import LabelWriter, is_finished, is_interrupted, label_files
from ..io.picture import Panel, contact_sheet, save_png
from ..io.storing import check_free, storing
from ..io.unfinished import KEY, check_none_left, fingerprint, left
from .report import Finished, Report, finished, provenance, spread

if TYPE_CHECKING:
    from ..infer.key import Key
    from .workers import Workers

PANELS = 12  # slices shown in the picture, of which a third at most annotated ones


def run_to_file(
    run: Propagation,
    out: Path,
    *,
    dtype: np.dtype[Any] | None = None,
    overwrite: bool = False,
    settings: Mapping[str, Any] | None = None,
    picture: Path | None = None,
    truth: Stack | None = None,
    given: Mapping[int, Labels] | None = None,
    workers: Workers | None = None,
    resume: bool = False,
    key: Key | None = None,
    files: Mapping[str, str] | None = None,
    class_names: Mapping[int, str] | None = None,
    class_colors: Mapping[int, Rgb] | None = None,
    on_step: Callable[[Finished], None] | None = None,
) -> Report:
    """Run a propagation into a label file, a confidence volume and a picture.

    When it is cut short (Ctrl-C, an error), what is finished is kept in the file before the exception goes on. Where
    even that was not possible (the process was killed), it is kept beside the output. Either way `resume` goes on.

    Parameters
    ----------
    run
        From `infer.propagate.propagate`.
    out
        ``.tif`` or ``.zarr``.
    dtype
        Integer type of the given labels; the file's holds at least these and the ids painted.
    overwrite
        Replace existing outputs.
    settings
        Recorded in the file's provenance.
    picture
        PNG of up to 12 slices with their labels.
    truth
        Labels of every slice, to tell Dice.
    given
        Labels (Y, X) of slices that are not visited, and come out like this.
    workers
        Others that paint, side by side; the outcome is the same.
    resume
        Go on with what the same run has finished before it was cut short, if there is anything. The outcome is that of
        a run that was not. If it is complete already, nothing is done.
    key
        What the model has just learned: kept until the run is finished, so that it can be resumed.
    files
        Names of the files that image, labels, ... came from, recorded too.
    class_names, class_colors
        Label -> name (default: what the run's context says), and red, green, blue in [0, 1]; for an OME-Zarr.
    on_step
        Called after each finished plane, those from before too.

    Raises
    ------
    FileError
        The output exists and ``overwrite`` is not set, or cannot be written; an earlier run to it was cut short, and
        neither ``overwrite`` nor ``resume`` says what shall become of it.
    InputError
        The truth does not fit the stack; the run to be resumed had another image, model, examples or settings, or
        cannot be resumed, as it is approximate.
    """
    started = time.perf_counter()
    if truth is not None and (len(truth) != len(run.stack) or truth.plane_shape != run.stack.plane_shape):
        raise InputError(
            f"the truth must match the image, {len(run.stack)} slices of {run.stack.plane_shape}; "
            f"got {len(truth)} of {truth.plane_shape}."
        )
    record = _record(run, settings, given or {}, files)
    if resume and is_finished(out, run.stack, record):
        written = [file for file in label_files(out) if file.exists()]
        return Report(out, len(run) + len(given or {}), written, complete=True)
    known = _Truth(truth, run) if truth is not None else None
    # what was cut short may have been about to replace an earlier picture
    replaces = overwrite or (resume and (is_interrupted(out) or next(left(out), None) is not None))
    if picture is not None:
        check_free(picture, replaces)
    if not resume and not overwrite:
        check_none_left(out)
    report = Report(
        out,
        len(run) + len(given or {}),
        axes=run.stack.plane_axes,
        grid=run.stack.grid,
        kind=run.context.kind,
        sparse=not all(example.valid.all() for example in run.examples.values()),
    )
    shown = _shown(run)
    painted: dict[int, Labels] = {}
    with LabelWriter(
        out, run.stack, dtype=dtype, overwrite=overwrite, provenance=record, resume=resume,
        class_names=class_names or run.context.class_names, class_colors=class_colors,
    ) as writer:  # fmt: skip
        if key is not None:
            with storing(out):
                key.save(writer.folder / KEY, overwrite=True)
        for position, labels in (given or {}).items():
            writer.write(position, labels, np.ones(labels.shape, np.float32))
            report.annotated.append(position)
        before = [p for p in run.positions if p in writer.finished]
        _check_exact(run, before)
        rest = run.part([p for p in run.positions if p not in writer.finished], writer.spool.labels) if before else run
        with closing(workers.paint(run, writer) if workers is not None else _paint(rest, writer)) as steps:
            for step in chain((_finished(p, run, writer) for p in before), steps):
                if step.position in shown:
                    painted[step.position] = writer.spool.labels(step.position)
                _note(report, step, known, writer.spool.labels)
                if on_step is not None:
                    on_step(step)
        report.files = writer.finish()
    if known is not None and report.dice:
        known.warn()
    report.annotated.sort()
    report.complete, report.seconds = True, time.perf_counter() - started
    if picture is not None:
        panels = [
            Panel(run.stack.plane(p), painted[p], report.title(p), annotated=p in report.annotated)
            for p in sorted(painted)
        ]
        save_png(contact_sheet(panels), picture, overwrite=replaces)
        report.files.append(picture)
    return report


class _Truth:
    """The right labels of a run's slices, in whatever order its file has them."""

    def __init__(self, labels: Stack, run: Propagation) -> None:
        self._labels, self._context = labels.ordered_like(run.stack), run.context
        self._there: set[int] = set()  # in the slices that were compared

    def dice(self, position: int, found: Labels) -> float:
        """Compare a painted slice (Y, X): its classes, or all objects as one, as their ids are arbitrary."""
        right = as_labels(self._labels.read(position)[..., 0])
        self._there.update(int(i) for i in np.unique(right) if i)
        if self._context.kind == "instance":
            return dice(found > 0, right > 0, [1])
        return dice(found, right, [i for i in self._context.ids if i])

    def warn(self) -> None:
        """Warn if it seems to count its classes in another way than the examples: then Dice says nothing."""
        there, known = self._there, {*self._context.ids} - {0}
        if self._context.kind == "semantic" and (known - there or len(there - known) > 1):
            warnings.warn(
                f"the truth holds the labels {_listed(there)}, the examples {_listed(known)}: Dice compares numbers, "
                "and is of the labels of the examples alone. Where objects are numbered, say --kind instance.",
                DegradedDataWarning,
                stacklevel=3,
            )


def _listed(numbers: Collection[int]) -> str:
    shown = sorted(int(n) for n in numbers)
    return ", ".join(map(str, shown[:6])) + (", ..." if len(shown) > 6 else "") or "none"


def _shown(run: Propagation) -> set[int]:
    """The slices that the picture shows: the first annotated ones, and others spread over the run."""
    annotated = [p for p in run.positions if p in run.annotated]
    kept = [annotated[i] for i in spread(len(annotated), PANELS // 3)]
    others = sorted(p for p in run.positions if p not in run.annotated)
    return {*kept, *(others[i] for i in spread(len(others), PANELS - len(kept)))}


def _record(
    run: Propagation, settings: Mapping[str, Any] | None, given: Mapping[int, Labels],
    files: Mapping[str, str] | None,
) -> dict[str, Any]:  # fmt: skip
    """What the output's provenance says of a run: enough to tell whether another one is the same."""
    record = provenance(run.predictor, run.context, settings, files)
    if run.stack.normalization is not None:
        record["value_range"] = asdict(run.stack.normalization)
    slices = [(stop.position, stop.source, stop.parent) for stop in run.route]
    digest = hashlib.sha256()
    for position, labels in sorted(given.items()):
        digest.update(f"{position} {labels.shape}".encode() + np.ascontiguousarray(labels, np.uint32).tobytes())
    return {
        **record,
        "annotated_slices": sorted({*run.annotated, *given}),
        "image": fingerprint(run.stack),
        "slices": hashlib.sha256(repr(slices).encode()).hexdigest(),
        "given": digest.hexdigest() if given else None,
        "direction": "meet" if isinstance(run, Meeting) else None,
    }


def _check_exact(run: Propagation, before: list[int]) -> None:
    """Raise InputError if the rest of a run would not come out as in the whole run."""
    if before and len(before) < len(run) and getattr(run.predictor, "approximate", False):
        raise InputError(
            "an approximate run depends on the slice that it painted first, so it cannot be resumed: begin anew with "
            "--overwrite (overwrite=True), or leave out --approximate."
        )


def _finished(position: int, run: Propagation, writer: LabelWriter) -> Finished:
    """A plane that was painted before."""
    if position in run.examples:
        return Finished(position, None)
    return Finished(position, slice_confidence(writer.spool.labels(position), writer.spool.confidence(position)))


def _paint(run: Propagation, writer: LabelWriter) -> Generator[Finished]:
    for step in run:
        writer.write(step.position, step.segmentation.labels, step.segmentation.confidence)
        yield finished(step)


def _note(report: Report, step: Finished, truth: _Truth | None, read: Callable[[int], Labels]) -> None:
    if step.confidence is None:
        report.annotated.append(step.position)
        return
    report.confidence[step.position] = step.confidence
    if truth is not None:
        report.dice[step.position] = truth.dice(step.position, read(step.position))

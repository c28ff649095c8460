"""One job without a toolkit: run a propagation, write each plane when it is done, say where the model is unsure."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.labels import as_labels
from ..core.metrics import dice
from ..core.stack import Stack
from ..core.types import Labels
from ..errors import InputError
from ..infer.propagate import Propagation
from ..io.labels import LabelWriter
from ..io.picture import Panel, contact_sheet, save_png
from ..io.storing import check_free
from .report import Finished, Report, provenance, spread

if TYPE_CHECKING:
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
    on_step: Callable[[Finished], None] | None = None,
) -> Report:
    """Run a propagation into a label file, a confidence volume and a picture.

    When it is cut short (Ctrl-C, an error), what is finished is kept in the file before the exception goes on.

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
    on_step
        Called after each finished plane.

    Raises
    ------
    FileError
        The output exists and ``overwrite`` is not set, or cannot be written.
    InputError
        The truth does not fit the stack.
    """
    started = time.perf_counter()
    if truth is not None and (len(truth) != len(run.stack) or truth.plane_shape != run.stack.plane_shape):
        raise InputError(
            f"the truth must match the image, {len(run.stack)} slices of {run.stack.plane_shape}; "
            f"got {len(truth)} of {truth.plane_shape}."
        )
    if picture is not None:
        check_free(picture, overwrite)
    report = Report(out, len(run) + len(given or {}))
    shown = _shown(run)
    painted: dict[int, Labels] = {}
    record = provenance(run.predictor, run.context, settings)
    if run.stack.normalization is not None:
        record["value_range"] = asdict(run.stack.normalization)
    with LabelWriter(out, run.stack, dtype=dtype, overwrite=overwrite, provenance=record) as writer:
        for position, labels in (given or {}).items():
            writer.write(position, labels, np.ones(labels.shape, np.float32))
            report.annotated.append(position)
        with closing(workers.paint(run, writer) if workers is not None else _paint(run, writer)) as steps:
            for step in steps:
                if step.position in shown:
                    painted[step.position] = writer.spool.labels(step.position)
                _note(report, step, run, truth, writer.spool.labels)
                if on_step is not None:
                    on_step(step)
        report.files = writer.finish()
    report.annotated.sort()
    report.complete, report.seconds = True, time.perf_counter() - started
    if picture is not None:
        panels = [
            Panel(run.stack.plane(p), painted[p], report.title(p), annotated=p in report.annotated)
            for p in sorted(painted)
        ]
        save_png(contact_sheet(panels), picture, overwrite=overwrite)
        report.files.append(picture)
    return report


def _shown(run: Propagation) -> set[int]:
    """The slices that the picture shows: the first annotated ones, and others spread over the run."""
    annotated = [p for p in run.positions if p in run.annotated]
    kept = [annotated[i] for i in spread(len(annotated), PANELS // 3)]
    others = sorted(p for p in run.positions if p not in run.annotated)
    return {*kept, *(others[i] for i in spread(len(others), PANELS - len(kept)))}


def _paint(run: Propagation, writer: LabelWriter) -> Generator[Finished]:
    for step in run:
        writer.write(step.position, step.segmentation.labels, step.segmentation.confidence)
        yield Finished(step.position, None if step.annotated else step.segmentation.slice_confidence)


def _note(
    report: Report, step: Finished, run: Propagation, truth: Stack | None, read: Callable[[int], Labels]
) -> None:  # fmt: skip
    if step.confidence is None:
        report.annotated.append(step.position)
        return
    report.confidence[step.position] = step.confidence
    if truth is not None:
        found, expected = read(step.position), as_labels(truth.read(step.position)[..., 0])
        if run.context.kind == "instance":  # ids of objects are arbitrary: one class
            report.dice[step.position] = dice(found > 0, expected > 0, [1])
        else:
            report.dice[step.position] = dice(found, expected, [i for i in run.context.ids if i])

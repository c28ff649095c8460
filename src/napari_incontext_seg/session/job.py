"""One job without a toolkit: run a propagation, write each plane when it is done, say where the model is unsure."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..core.metrics import dice
from ..core.stack import Stack
from ..core.types import Labels
from ..infer.propagate import Propagation, Step
from ..io.labels import LabelWriter
from ..io.picture import Panel, contact_sheet, save_png

LEAST_SURE = 5  # slices named at the end of a run
PANELS = 12  # slices shown in the picture


@dataclass
class Report:
    """What a run did: counts, seconds, files, and how sure the model was of each predicted slice."""

    out: Path
    total: int
    files: list[Path] = field(default_factory=list)
    annotated: list[int] = field(default_factory=list)
    confidence: dict[int, float] = field(default_factory=dict)
    dice: dict[int, float] = field(default_factory=dict)
    seconds: float = 0.0
    complete: bool = False

    @property
    def finished(self) -> int:
        """How many planes are done, annotated ones included."""
        return len(self.annotated) + len(self.confidence)

    @property
    def least_sure(self) -> list[int]:
        """The predicted slices with the lowest confidence, least sure first: look at these, annotate one of them."""
        return sorted(self.confidence, key=lambda p: self.confidence[p])[:LEAST_SURE]

    @property
    def mean_dice(self) -> float | None:
        """Mean Dice of the predicted slices against the truth, None without one."""
        return float(np.mean(list(self.dice.values()))) if self.dice else None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "out": str(self.out),
            "files": [str(f) for f in self.files],
            "complete": self.complete,
            "slices": self.total,
            "annotated": self.annotated,
            "seconds": round(self.seconds, 3),
            "least_sure": self.least_sure,
            "confidence": {str(p): round(c, 4) for p, c in sorted(self.confidence.items())},
            **({"dice": round(self.mean_dice, 4)} if self.mean_dice is not None else {}),
        }


def run_to_file(
    run: Propagation,
    out: Path,
    *,
    dtype: np.dtype[Any] | None = None,
    overwrite: bool = False,
    settings: Mapping[str, Any] | None = None,
    picture: Path | None = None,
    truth: Stack | None = None,
    on_step: Callable[[Step], None] | None = None,
) -> Report:
    """Run a propagation into a label file, a confidence volume and a picture.

    Parameters
    ----------
    run
        From `infer.propagate.propagate`.
    out
        ``.tif`` or ``.zarr``; what is finished when the run is cut short is kept.
    dtype
        Integer type of the given labels; the file's holds at least these and the ids painted.
    settings
        Recorded in the file's provenance.
    picture
        PNG of up to 12 slices with their labels.
    truth
        Labels of every slice, to print Dice.
    on_step
        Called after each finished plane.

    Raises
    ------
    FileError
        The output exists and ``overwrite`` is not set, or cannot be written.
    """
    started = time.perf_counter()
    positions = run.positions
    report = Report(out, len(positions))
    shown = {positions[i] for i in _spread(len(positions))}
    panels: dict[int, Step] = {}
    provenance = {
        "model": run.predictor.name,
        "model_digest": run.predictor.digest,
        "context": run.context.fingerprint,
        "kind": run.context.kind,
        "settings": dict(settings or {}),
    }
    with LabelWriter(out, run.stack, dtype=dtype, overwrite=overwrite, provenance=provenance) as writer:
        try:
            for step in run:
                writer.write(step.position, step.segmentation.labels, step.segmentation.confidence)
                _note(report, step, run, truth)
                if step.position in shown or step.annotated:
                    panels[step.position] = step
                if on_step is not None:
                    on_step(step)
            report.complete = True
        finally:
            report.seconds = time.perf_counter() - started
        report.files = list(writer.finish())
    if picture is not None:
        save_png(contact_sheet(_panels(run.stack, panels, report, truth)), picture, overwrite=overwrite)
        report.files.append(picture)
    return report


def _spread(count: int) -> list[int]:
    return sorted({int(i) for i in np.linspace(0, count - 1, min(PANELS, count)).round()})


def _note(report: Report, step: Step, run: Propagation, truth: Stack | None) -> None:
    if step.annotated:
        report.annotated.append(step.position)
        return
    report.confidence[step.position] = step.segmentation.slice_confidence
    if truth is not None:
        ids = [i for i in run.context.ids if i]
        report.dice[step.position] = dice(step.segmentation.labels, _plane_labels(truth, step.position), ids)


def _plane_labels(labels: Stack, position: int) -> Labels:
    from ..core.labels import as_labels

    return as_labels(labels.read(position)[..., 0])


def _panels(stack: Stack, steps: Mapping[int, Step], report: Report, truth: Stack | None) -> list[Panel]:
    chosen = sorted(steps)
    if len(chosen) > PANELS:
        kept = [p for p in chosen if steps[p].annotated][: PANELS // 3]
        others = [p for p in chosen if p not in kept]
        chosen = sorted(
            kept + [others[i] for i in np.linspace(0, len(others) - 1, PANELS - len(kept)).round().astype(int)]
        )
    return [
        Panel(
            stack.plane(p),
            steps[p].segmentation.labels,
            f"slice {p}" if steps[p].annotated else f"slice {p}  {report.confidence[p]:.0%} sure",
            annotated=steps[p].annotated,
        )
        for p in chosen
    ]

"""What a run did, and the record that says how it was made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.metrics import slice_confidence
from ..core.types import Context, Kind, Predictor
from ..io.spool import stored_confidence

if TYPE_CHECKING:
    from ..infer.propagate import Step

LEAST_SURE = 5  # slices named at the end of a run


@dataclass(frozen=True)
class Finished:
    """One slice that is done: its number, and how sure the model was of it; None where a person had annotated it."""

    position: int
    confidence: float | None = None


def finished(step: Step) -> Finished:
    """What is told of a step: how sure the model was is said of what is stored, so that it can be said again later."""
    painted = step.segmentation
    sure = None if step.annotated else slice_confidence(painted.labels, stored_confidence(painted.confidence))
    return Finished(step.position, sure)


@dataclass
class Report:
    """What a run did: counts, seconds, files, and how sure the model was of each predicted slice or image.

    ``axes`` and ``grid`` are those of the slices; where there are several, slices are told by all of them too.
    ``sparse`` says that some annotated ones are so in part, and painted besides.
    """

    out: Path
    total: int
    files: list[Path] = field(default_factory=list)
    annotated: list[int] = field(default_factory=list)
    confidence: dict[int, float] = field(default_factory=dict)
    dice: dict[int, float] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    axes: str = ""
    grid: tuple[int, ...] = ()
    unit: str = "slices"
    kind: Kind = "semantic"
    seconds: float = 0.0
    complete: bool = False
    sparse: bool = False

    @property
    def finished(self) -> int:
        """How many are done, annotated ones included."""
        return len(self.annotated) + len(self.confidence)

    @property
    def least_sure(self) -> list[int]:
        """The predicted ones with the lowest confidence, least sure first: look at these, annotate one of them."""
        return sorted(self.confidence, key=lambda p: self.confidence[p])[:LEAST_SURE]

    @property
    def mean_dice(self) -> float | None:
        """Mean Dice of the predicted slices against the truth, None without one."""
        return float(np.mean(list(self.dice.values()))) if self.dice else None

    def name(self, position: int) -> str:
        """What people call a slice or image: its name if it has one, else its number, and where that is in t and z."""
        if len(self.axes) < 2:
            return self.names.get(position, str(position))
        at = zip(self.axes, np.unravel_index(position, self.grid), strict=True)
        return f"{', '.join(f'{axis} {i}' for axis, i in at)} (slice {position})"

    def title(self, position: int) -> str:
        """The name, and how sure the model is where it predicted."""
        name = self.names.get(position, f"slice {position}")
        return f"{name}  confidence {self.confidence[position]:.2f}" if position in self.confidence else name

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "out": str(self.out),
            "files": [str(f) for f in self.files],
            "complete": self.complete,
            self.unit: self.total,
            "annotated": [self._key(p) for p in self.annotated],
            "seconds": round(self.seconds, 3),
            "least_sure": [self._key(p) for p in self.least_sure],
            "confidence": {str(self._key(p)): round(c, 4) for p, c in sorted(self.confidence.items())},
            **({"dice": round(self.mean_dice, 4)} if self.mean_dice is not None else {}),
        }

    def _key(self, position: int) -> int | str:
        return self.names.get(position, position)


def provenance(
    predictor: Predictor, context: Context, settings: Mapping[str, Any] | None, files: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The record that goes into label files: model, digest, context fingerprint, settings; names of ``files`` used."""
    return {
        **({"files": dict(files)} if files else {}),
        "model": predictor.name,
        "model_digest": predictor.digest,
        "context": context.fingerprint,
        "kind": context.kind,
        "settings": dict(settings or {}),
    }


def file_names(**paths: Path | None) -> dict[str, str]:
    """What each file is called, for a record: folders are left out, as they tell more of a person than of a result."""
    return {what: path.expanduser().absolute().name for what, path in paths.items() if path is not None}


def spread(count: int, wanted: int) -> list[int]:
    """Up to ``wanted`` of 0..count-1, evenly spread."""
    return sorted({int(i) for i in np.linspace(0, count - 1, min(wanted, count)).round()}) if count else []

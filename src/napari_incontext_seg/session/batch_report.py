"""What came of a batch: one line a file, as a table and as JSON."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from types import NoneType
from typing import Any, Literal, TypeAlias

import numpy as np

from ..io.storing import read_plain, store
from .report import LEAST_SURE, Report

Status: TypeAlias = Literal["done", "skipped", "failed"]


@dataclass(frozen=True)
class Outcome:
    """What came of one file.

    Parameters
    ----------
    image, out
        The file, and the labels that were made of it.
    status
        ``skipped``: an earlier batch has done it.
    reason
        Why it failed.
    slices, annotated
        How many there are, and how many of them were annotated.
    seconds
        What it took.
    confidence
        Mean over the slices that were painted; None if there are none.
    least_sure, least_confidence
        The slice that the model is least sure of, and how sure it is there.
    """

    image: str
    out: str
    status: Status
    reason: str = ""
    slices: int | None = None
    annotated: int | None = None
    seconds: float | None = None
    confidence: float | None = None
    least_sure: int | None = None
    least_confidence: float | None = None

    @classmethod
    def done(cls, image: Path, report: Report) -> Outcome:
        """That of a finished run."""
        outcome = cls(
            str(image), str(report.out), "done", "", report.finished, len(report.annotated), round(report.seconds, 3)
        )
        if not report.confidence:
            return outcome
        worst = report.least_sure[0]
        mean = round(float(np.mean(list(report.confidence.values()))), 4)
        lowest = round(report.confidence[worst], 4)
        return replace(outcome, confidence=mean, least_sure=worst, least_confidence=lowest)


@dataclass
class BatchReport:
    """What came of a batch, in the order of its files."""

    out: Path
    outcomes: list[Outcome] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def failed(self) -> list[Outcome]:
        """What failed."""
        return [outcome for outcome in self.outcomes if outcome.status == "failed"]

    @property
    def least_sure(self) -> list[Outcome]:
        """The files in whose worst slice the model is least sure: look at these first."""
        known = [outcome for outcome in self.outcomes if outcome.least_confidence is not None]
        return sorted(known, key=lambda outcome: outcome.least_confidence or 0.0)[:LEAST_SURE]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "out": str(self.out),
            **{status: sum(o.status == status for o in self.outcomes) for status in ("done", "skipped", "failed")},
            "seconds": round(self.seconds, 3),
            "least_sure": [outcome.image for outcome in self.least_sure],
            "files": [asdict(outcome) for outcome in self.outcomes],
        }

    def write(self) -> list[Path]:
        """Write ``summary.csv`` and ``summary.json`` into the output folder, in place of earlier ones.

        Raises
        ------
        FileError, ResourceError
            They cannot be written.
        """
        table, record = summary_files(self.out)
        store(table, self._write_table)
        store(record, lambda file: file.write_text(json.dumps(self.as_dict(), indent=1), encoding="utf-8"))
        return [table, record]

    def _write_table(self, path: Path) -> None:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow([f.name for f in fields(Outcome)])
            writer.writerows(asdict(outcome).values() for outcome in self.outcomes)


def summary_files(out: Path) -> tuple[Path, Path]:
    """Where the table and the JSON of a batch are."""
    return out / "summary.csv", out / "summary.json"


def earlier_outcomes(out: Path) -> dict[str, Outcome]:
    """Image -> what came of it in an earlier batch with this output folder; nothing where that cannot be read."""
    try:
        listed = [Outcome(**facts) for facts in json.loads(read_plain(summary_files(out)[1]))["files"]]
        known = [o for o in listed if isinstance(o.image, str) and isinstance(o.out, str)]
        return {o.image: o for o in known if isinstance(o.least_confidence, (float, NoneType))}
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return {}

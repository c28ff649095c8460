"""Draw where the model fails: a strip a frame, with image, truth, random forest, guess, model, and its confidence.

    python benchmarks/worst_cases.py DATA_DIR --out F.png [--sets NAME ...] [--count 3]

Three kinds of frames: where the model loses most against the forest, where it loses most against the guess, and where
its Dice is lowest. Of a set, each kind shows one frame at most, and no frame is shown twice. All objects have one
colour, classes have their own. The frames and the protocol are those of `quality.py`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _sets import AnnotatedSet
from numpy.typing import NDArray
from quality import run

from napari_incontext_seg.core.types import Plane
from napari_incontext_seg.io.picture import Panel, contact_sheet, save_png

METHODS = ("rf", "guess", "model")
GAP = 6  # px between panels


@dataclass(frozen=True, eq=False)
class Case:
    """One frame: plane (Y, X, C), class maps (Y, X) of truth and `METHODS`, Dice of these, the model's confidence."""

    name: str
    frame: int
    plane: Plane
    maps: tuple[NDArray[np.int64], ...]
    dice: dict[str, float]
    confidence: NDArray[np.float32]

    def behind(self, rival: str) -> float:
        return self.dice[rival] - self.dice["model"]

    def __str__(self) -> str:
        return f"{self.name}, frame {self.frame}"


KINDS: dict[str, Callable[[Case], float]] = {
    "loses most against the forest": lambda case: case.behind("rf"),
    "loses most against the guess": lambda case: case.behind("guess"),
    "lowest Dice": lambda case: 1 - case.dice["model"],
}


def cases_of(data: AnnotatedSet) -> list[Case]:
    """The scored frames that are worst of a set, at most ``len(KINDS)`` for each kind."""
    outcomes = {method: run(method, data) for method in METHODS}
    each = {method: data.score(outcome.predicted)[1] for method, outcome in outcomes.items()}
    cases = []
    for k, frame in enumerate(data.scored):
        maps = data.truth[frame], *(outcomes[method].predicted[frame] for method in METHODS)
        dice = {method: each[method][k] for method in METHODS}
        confidence = outcomes["model"].segmentations[frame].confidence
        cases.append(Case(data.name, frame, data.plane(frame), maps, dice, confidence))
    # one more than a kind shows for each kind that may have shown it before
    chosen = {c.frame for badness in KINDS.values() for c in sorted(cases, key=badness)[-len(KINDS) :]}
    return [case for case in cases if case.frame in chosen]


def worst(cases: list[Case], count: int) -> list[tuple[str, Case]]:
    """Up to ``count`` frames of each kind, the worst first; a method that is not behind has none to show."""
    chosen: list[tuple[str, Case]] = []
    for kind, badness in KINDS.items():
        sets: set[str] = set()
        for case in sorted(cases, key=badness, reverse=True):
            if len(sets) < count and case.name not in sets and badness(case) > 0 and case not in [c for _, c in chosen]:
                chosen.append((kind, case))
                sets.add(case.name)
    return chosen


def strip(kind: str, case: Case) -> NDArray[np.uint8]:
    """One row of panels (H, W, 3), with its title."""
    plane = np.repeat(case.plane, 3, axis=2) if case.plane.shape[2] == 1 else case.plane
    shown = [(plane, np.zeros_like(case.maps[0])), *((plane, classes) for classes in case.maps)]
    shown.append((np.repeat(case.confidence[..., None], 3, axis=2), np.zeros_like(case.maps[0])))
    gap = np.zeros((plane.shape[0], GAP, 3), np.float32)
    planes = [part for picture, _ in shown for part in (picture, gap)][:-1]
    labels = [part for _, classes in shown for part in (classes, gap[..., 0].astype(np.int64))][:-1]
    dice = " | ".join(f"{method} {case.dice[method]:.2f}" for method in METHODS)
    title = f"{case} ({kind}): image | truth | {dice} | confidence"
    return contact_sheet([Panel(np.concatenate(planes, 1), np.concatenate(labels, 1), title)])


def page(chosen: list[tuple[str, Case]]) -> NDArray[np.uint8]:
    """A strip a frame."""
    return stacked([strip(kind, case) for kind, case in chosen])


def stacked(strips: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Strips (H, W, 3) below each other."""
    width = max(s.shape[1] for s in strips)
    background = strips[0][0, 0]
    rows: list[NDArray[Any]] = []
    for drawn in strips:
        row = np.broadcast_to(background, (drawn.shape[0], width, 3)).copy()
        row[:, : drawn.shape[1]] = drawn
        rows.append(row)
    return np.concatenate(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="PNG to write")
    parser.add_argument("--sets", nargs="+", default=[], help="all unless given")
    parser.add_argument("--count", type=int, default=3, help="frames of each kind")
    args = parser.parse_args()
    folders = sorted(f for f in args.data.iterdir() if (f / "meta.json").exists())
    if unknown := {*args.sets} - {f.name for f in folders}:
        parser.error(f"no such set: {', '.join(sorted(unknown))}")
    cases: list[Case] = []
    for folder in folders:
        if not args.sets or folder.name in args.sets:
            cases += cases_of(AnnotatedSet.read(folder))
    chosen = worst(cases, args.count)
    for kind, case in chosen:
        print(f"{kind:32s} {case!s:36s}", "   ".join(f"{m} {d:.3f}" for m, d in case.dice.items()))
    save_png(page(chosen), args.out, overwrite=True)


if __name__ == "__main__":
    main()

"""Make a set of simulated cells that wander, touch, divide, come and go: free to be shown, unlike what we measure on.

    python benchmarks/moving_cells.py DATA_DIR/moving_cells [--frames 24] [--cells 40] [--seed 0]

The folder is read by `tracking.py`: image, labels whose ids are tracks, lineage in ``man_track.txt``.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from scipy import ndimage

SIZE = 320  # px
RADIUS = 11.0  # of a usual cell
STEP = 2.2  # px a frame, standard deviation
DIVIDES = 0.012  # of all cells in a frame
ENTERS = 0.6  # cells a frame
LATE = 6  # frames before a daughter may divide again


@dataclass
class Cell:
    """One cell: where it is, how it goes, how it is shaped."""

    track: int
    at: NDArray[np.float64]
    step: NDArray[np.float64]
    radius: float
    angle: float
    brightness: float
    age: int = 10

    def mask(self) -> NDArray[np.bool_]:
        """(Y, X) of an ellipse 1.3 times as long as wide."""
        y, x = np.indices((SIZE, SIZE)) - self.at[:, None, None]
        along, across = y * np.cos(self.angle) + x * np.sin(self.angle), x * np.cos(self.angle) - y * np.sin(self.angle)
        return (along / 1.14) ** 2 + (across * 1.14) ** 2 <= self.radius**2


@dataclass
class Dish:
    """All cells of a frame, and who descends from whom."""

    rng: np.random.Generator
    cells: list[Cell] = field(default_factory=list)
    parents: dict[int, int] = field(default_factory=dict)
    tracks: int = 0

    def add(self, at: NDArray[np.float64], radius: float, brightness: float, parent: int = 0) -> None:
        self.tracks += 1
        step = self.rng.normal(0, STEP, 2)
        self.cells.append(
            Cell(self.tracks, at, step, radius, self.rng.uniform(0, np.pi), brightness, 10 * (not parent))
        )
        self.parents[self.tracks] = parent

    def start(self, count: int) -> None:
        side = int(np.ceil(np.sqrt(count)))
        for k in self.rng.permutation(side * side)[:count]:
            at = (np.array(divmod(int(k), side)) + 0.5) * SIZE / side + self.rng.normal(0, 4, 2)
            self.add(at, RADIUS * self.rng.uniform(0.85, 1.2), self.rng.uniform(0.5, 1))

    def advance(self) -> None:
        """One frame on: steps half of which go on; cells push each other apart but may touch; some divide."""
        for cell in list(self.cells):
            cell.step = 0.5 * cell.step + self.rng.normal(0, STEP * 0.87, 2)
            cell.at = cell.at + cell.step + self._push(cell)
            cell.angle += self.rng.normal(0, 0.15)
            cell.age += 1
            cell.radius = min(cell.radius * 1.02, RADIUS * 1.25)
            if cell.age > LATE and self.rng.random() < DIVIDES * (cell.radius / RADIUS) ** 2:
                self._divide(cell)
        for _ in range(self.rng.poisson(ENTERS)):
            at = self.rng.uniform(0, SIZE, 2)
            at[self.rng.integers(2)] = self.rng.choice([1.0, SIZE - 2.0])
            self.add(at, RADIUS * self.rng.uniform(0.85, 1.2), self.rng.uniform(0.5, 1))
        self.cells = [c for c in self.cells if ((c.at > -RADIUS) & (c.at < SIZE + RADIUS)).all()]

    def _push(self, cell: Cell) -> NDArray[np.float64]:
        push = np.zeros(2)
        for other in self.cells:
            apart = cell.at - other.at
            distance = float(np.linalg.norm(apart)) + 1e-6
            push += (
                apart / distance * max(0.0, 0.85 * (cell.radius + other.radius) - distance) * (other is not cell) / 2
            )
        return push

    def _divide(self, mother: Cell) -> None:
        self.cells.remove(mother)
        away = np.array([np.cos(mother.angle), np.sin(mother.angle)]) * mother.radius * 0.8
        for sign in (1, -1):
            self.add(mother.at + sign * away, mother.radius / np.sqrt(2), mother.brightness * 1.05, mother.track)

    def picture(self) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
        """Image and labels (Y, X); where two cells overlap, the later one is on top."""
        labels, light = np.zeros((SIZE, SIZE), np.uint16), np.zeros((SIZE, SIZE))
        for cell in self.cells:
            mask = cell.mask()
            labels[mask] = cell.track
            texture = ndimage.gaussian_filter(np.random.default_rng(cell.track).normal(size=(SIZE, SIZE)), 2)
            light[mask] = (cell.brightness * (1 + 1.2 * texture))[mask]
        light = ndimage.gaussian_filter(light, 1.2)
        noisy = self.rng.poisson(np.clip(light, 0, None) * 60 + 8) + self.rng.normal(0, 2, light.shape)
        return np.clip(noisy * 2, 0, 255).astype(np.uint8), labels


def lineage(labels: list[NDArray[np.uint16]], parents: dict[int, int]) -> list[str]:
    """Lines of ``man_track.txt``: track, first and last frame, parent."""
    seen: dict[int, list[int]] = {}
    for t, frame in enumerate(labels):
        for i in np.unique(frame[frame > 0]).tolist():
            seen.setdefault(i, []).append(t)
    known = {i: parents[i] if parents[i] in seen and seen[parents[i]][-1] < f[0] else 0 for i, f in seen.items()}
    return [f"{i} {frames[0]} {frames[-1]} {known[i]}" for i, frames in sorted(seen.items())]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--cells", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    dish = Dish(np.random.default_rng(args.seed))
    dish.start(args.cells)
    images, labels = [], []
    for _ in range(args.frames):
        image, truth = dish.picture()
        images.append(image)
        labels.append(truth)
        dish.advance()
    args.folder.mkdir(parents=True)
    for name, planes in (("image", images), ("labels", labels)):
        tifffile.imwrite(args.folder / f"{name}.tif", np.stack(planes), imagej=True, metadata={"axes": "TYX"})
    (args.folder / "man_track.txt").write_text("\n".join(lineage(labels, dish.parents)) + "\n")
    meta = {
        "kind": "timelapse",
        "label_kind": "tracked",
        "consecutive": True,
        "redistributable": True,
        "simulated": True,
    }
    (args.folder / "meta.json").write_text(json.dumps(meta, indent=1))


if __name__ == "__main__":
    main()

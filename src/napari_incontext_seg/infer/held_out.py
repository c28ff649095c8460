"""A part of an annotated slice that tuning does not learn from, so that it can be judged there."""

from __future__ import annotations

from itertools import product

import numpy as np

from ..core.tiling import Tile
from ..core.types import Example

SHARE = 0.25  # of every label's pixels, if it can be had
STEPS = 8  # places tried along each axis


def hold_out(example: Example, largest: tuple[int, int]) -> Tile | None:
    """Choose a rectangle that holds about a quarter of each label and leaves the rest of it outside.

    Parameters
    ----------
    example
        Its labels (Y, X) are few: classes, or numbered by `core.instances.distinct_neighbours`.
    largest
        (height, width) at most; half of the slice's sides where that is less.

    Returns
    -------
    The part to hold out, or None where no rectangle divides an object and leaves some of every label, background too,
    outside. Where it can be had, the part also holds background.
    """
    if not any(example.ids):
        return None
    sums = [np.pad((example.labels == i) & example.valid, ((1, 0), (1, 0))).cumsum(0).cumsum(1) for i in example.ids]
    for part in (2, 4, 8):  # of the slice's sides, as much smaller as strokes are
        sides = [max(1, min(n // part, most)) for n, most in zip(example.labels.shape, largest, strict=True)]
        tile = _best(example, sums, sides)
        if tile is not None:
            return tile
    return None


def _best(example: Example, sums: list[np.ndarray], sides: list[int]) -> Tile | None:
    places = [
        sorted({round(k * (n - side) / STEPS) for k in range(STEPS + 1)})
        for n, side in zip(example.labels.shape, sides, strict=True)
    ]
    ground = example.ids[0] == 0
    best, best_cost = None, np.inf
    for y, x in product(*places):
        tile = Tile(y, y + sides[0], x, x + sides[1])
        shares = np.array([_inside(s, tile) / s[-1, -1] for s in sums])
        objects = shares[1:] if ground else shares
        if not objects.any() or (shares == 1).any():
            continue
        cost = float(np.abs(objects - SHARE).mean()) + (ground and shares[0] == 0)
        if cost < best_cost:
            best, best_cost = tile, cost
    return best


def _inside(sums: np.ndarray, tile: Tile) -> int:
    """Pixels of a label in a tile, from its sums over both axes."""
    return int(sums[tile.y1, tile.x1] - sums[tile.y0, tile.x1] - sums[tile.y1, tile.x0] + sums[tile.y0, tile.x0])

"""Planes larger than a window: tiles with halo and smooth weights that sum to one, and examples cut to match."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .types import Example

CELLS = 8  # cells a window's side, when looking for the best window of an example


@dataclass(frozen=True)
class Tile:
    """A rectangle of a plane: rows y0..y1, columns x0..x1, ends not included."""

    y0: int
    y1: int
    x0: int
    x1: int

    @property
    def area(self) -> tuple[slice, slice]:
        """Index into the plane."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)

    def moved(self, y: int, x: int) -> Tile:
        """Return the rectangle ``y`` rows further down and ``x`` columns further right."""
        return Tile(self.y0 + y, self.y1 + y, self.x0 + x, self.x1 + x)


@dataclass(frozen=True)
class TilePlan:
    """How a plane is cut: make it with `plan_tiles`.

    Parameters
    ----------
    shape
        (Y, X) of the plane.
    tile
        (height, width) of every tile.
    halo
        Pixels at a tile's border that do not count, save at the plane's own border.
    tiles
        In rows, from the top left.
    """

    shape: tuple[int, int]
    tile: tuple[int, int]
    halo: int
    tiles: tuple[Tile, ...]

    def weights(self, tile: Tile) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Weights along y (height,) and along x (width,); their products sum to one over all tiles at every pixel."""
        return (
            _weights(self.shape[0], self.tile[0], self.halo)[tile.y0],
            _weights(self.shape[1], self.tile[1], self.halo)[tile.x0],
        )


def plan_tiles(shape: tuple[int, int], tile: tuple[int, int], halo: int) -> TilePlan:
    """Cut a plane into as few tiles as cover it without their halos.

    Parameters
    ----------
    shape
        (Y, X) of the plane.
    tile
        (height, width); an axis on which the plane is smaller gets one tile of the plane's length.
    halo
        Pixels at each border of a tile that another tile must decide: the reach of the model's field.

    Raises
    ------
    InputError
        The halo leaves nothing of the tile.
    """
    height, width = (min(t, n) for t, n in zip(tile, shape, strict=True))
    if halo < 0 or any(t < n and t <= 2 * halo for t, n in ((height, shape[0]), (width, shape[1]))):
        raise InputError(f"tiles {tile} must be larger than twice the halo, {halo} px. Use larger tiles.")
    starts = (_starts(n, t, halo) for n, t in ((shape[0], height), (shape[1], width)))
    tiles = tuple(Tile(y, y + height, x, x + width) for y, x in product(*starts))
    return TilePlan((shape[0], shape[1]), (height, width), halo, tiles)


def blend(
    paint: Callable[[NDArray[np.float32]], NDArray[np.float32]], plane: NDArray[np.float32], plan: TilePlan
) -> NDArray[np.float32]:
    """Paint a plane tile by tile; one tile is held at a time.

    Parameters
    ----------
    paint
        (height, width, C) -> (height, width, D).
    plane
        (Y, X, C).
    plan
        For this shape of plane.

    Returns
    -------
    (Y, X, D) float32.
    """
    return blend_many(lambda tiles: [paint(tile) for tile in tiles], [plane], plan)[0]


def blend_many(
    paint: Callable[[list[NDArray[np.float32]]], Iterable[NDArray[np.float32]]],
    planes: Sequence[NDArray[np.float32]],
    plan: TilePlan,
    at_once: int = 1,
) -> list[NDArray[np.float32]]:
    """Paint planes tile by tile, as `blend` does, several tiles at once.

    Parameters
    ----------
    paint
        From a list of tiles, (height, width, C) each, to what is painted of them, (height, width, D) each.
    planes
        (Y, X, C) each.
    plan
        For this shape of planes.
    at_once
        Tiles, of any of the planes, that ``paint`` is given.

    Returns
    -------
    (Y, X, D) float32 of each plane.
    """
    for plane in planes:
        if plane.shape[:2] != plan.shape:
            raise InputError(f"the tiles are planned for a plane {plan.shape}; got {plane.shape}.")
    places = [(number, tile) for number in range(len(planes)) for tile in plan.tiles]
    out: dict[int, NDArray[np.float32]] = {}
    for first in range(0, len(places), at_once):
        some = places[first : first + at_once]
        for (number, tile), painted in zip(some, paint([planes[n][t.area] for n, t in some]), strict=True):
            if len(plan.tiles) == 1:
                out[number] = np.asarray(painted, np.float32)
                continue
            if number not in out:
                out[number] = np.zeros((*plan.shape, painted.shape[2]), np.float32)
            along_y, along_x = plan.weights(tile)
            out[number][tile.area] += painted * (along_y[:, None] * along_x)[..., None]
    return [out[number] for number in range(len(planes))]


def crop_example(example: Example, size: tuple[int, int]) -> Example:
    """Return the window of an example that says most, at the example's own scale.

    It shows the most objects (an id counts as shown where a window holds at least half of what any window holds
    of it); among equals, the one whose objects and background are best balanced.

    Parameters
    ----------
    example
        Larger or smaller than ``size``.
    size
        (height, width) at most.
    """
    return cut(example, best_window(example, size))


def cut(example: Example, tile: Tile) -> Example:
    """Return the part of an example that lies in a tile."""
    area = tile.area
    if example.labels[area].shape == example.labels.shape:
        return example
    return Example(example.image[area], example.labels[area], example.valid[area], example.spacing)


def best_window(example: Example, size: tuple[int, int]) -> Tile:
    """Where `crop_example` cuts."""
    height, width = (min(s, n) for s, n in zip(size, example.labels.shape, strict=True))
    y, x = (0, 0) if (height, width) == example.labels.shape else _best_window(example, (height, width))
    return Tile(y, y + height, x, x + width)


def _starts(length: int, tile: int, halo: int) -> list[int]:
    """First pixel of each tile along an axis, evenly spread, neighbours overlapping by halos and ramp."""
    if tile >= length:
        return [0]
    step = max(1, tile - 2 * halo - _ramp(tile, halo))
    count = -(-(length - tile) // step) + 1
    return [round(k * (length - tile) / (count - 1)) for k in range(count)]


def _ramp(tile: int, halo: int) -> int:
    """Pixels over which a tile's weight rises: as wide as the halo, an eighth of a tile without halo."""
    return min(halo or tile // 8, (tile - 2 * halo) // 2)


def _weights(length: int, tile: int, halo: int) -> dict[int, NDArray[np.float32]]:
    """Start of a tile -> its weights (tile,), a raised cosine inside its halo; they sum to one along the axis."""
    starts = _starts(length, tile, halo)
    inside = (np.arange(tile) - halo + 0.5).clip(0)  # distance from the halo's edge, never 0 inside
    rise = np.sin(np.pi / 2 * (inside / max(1, _ramp(tile, halo))).clip(max=1)) ** 2
    raw = {}
    for start in starts:
        left = rise if start > 0 else np.ones(tile)
        right = rise[::-1] if start + tile < length else np.ones(tile)
        raw[start] = left * right
    total = np.zeros(length)
    for start, weight in raw.items():
        total[start : start + tile] += weight
    return {start: (weight / total[start : start + tile]).astype(np.float32) for start, weight in raw.items()}


def _best_window(example: Example, size: tuple[int, int]) -> tuple[int, int]:
    """Top left corner of the best window, on a grid of an eighth of its size."""
    shape = example.labels.shape
    steps = [max(1, s // CELLS) for s in size]
    grid = [-(-n // s) for n, s in zip(shape, steps, strict=True)]
    y, x = np.nonzero(example.valid)
    index = np.searchsorted(np.array(example.ids, np.uint32), example.labels[y, x])
    cell = (index * grid[0] + y // steps[0]) * grid[1] + x // steps[1]
    counts = np.bincount(cell, minlength=len(example.ids) * grid[0] * grid[1]).reshape(-1, *grid)
    first, last = [], []  # of the cells that each window covers
    for n, s, step, cells in zip(shape, size, steps, grid, strict=True):
        first.append(np.arange(0, n - s + step, step) // step)
        last.append(np.minimum(first[-1] + s // step, cells))
    shown, foreground, background = (np.zeros((len(first[0]), len(first[1]))) for _ in range(3))
    for i, count in zip(example.ids, counts, strict=True):
        summed = np.pad(count, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
        rows = summed[last[0]] - summed[first[0]]
        held = rows[:, last[1]] - rows[:, first[1]]
        if i == 0:
            background += held
        else:
            foreground += held
            shown += held >= 0.5 * held.max()
    area = size[0] * size[1]
    # the last two terms are below one: they decide only among windows that show equally many objects
    score = shown + np.minimum(foreground, background) / area + 0.1 * (foreground + background) / area
    best_y, best_x = np.unravel_index(int(score.argmax()), score.shape)
    corner = int(first[0][best_y]) * steps[0], int(first[1][best_x]) * steps[1]
    return min(corner[0], shape[0] - size[0]), min(corner[1], shape[1] - size[1])

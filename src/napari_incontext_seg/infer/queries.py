"""Annotated slices as queries to learn from: cut, turned, lit differently, and asked about in a part of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.canvas import fit_canvas
from ..core.tiling import Tile
from ..core.types import Example, Labels

SMALLEST_CROP = 0.75  # of a tile's side
ASKED = (0.5, 0.8)  # of a crop's sides
TRIES = 5  # parts drawn, of which the first that holds an object is taken
GAMMA, CONTRAST, BRIGHTNESS, NOISE = 0.15, 0.1, 0.05, 0.03  # deviations of the jitter


@dataclass(frozen=True, eq=False)
class Query:
    """A view of an annotated slice, and what is asked about it.

    Parameters
    ----------
    image
        (H, W, C) float32 in [0, 1], the network's window.
    labels
        (H, W)
    weights
        (H, W) what each pixel counts in the loss; 0 where nothing is asked. A label counts in all as the root of its
        size.
    asked
        The part of the slice that is asked about.
    """

    image: NDArray[np.float32]
    labels: Labels
    weights: NDArray[np.float32]
    asked: Tile


def draw_query(
    example: Example,
    held_out: Tile | None,
    tile: tuple[int, int],
    window: tuple[int, int],
    random: np.random.Generator,
    *,
    partly: bool,
) -> Query:
    """Draw a query.

    Parameters
    ----------
    example
        An annotated slice.
    held_out
        The part that is never asked about.
    tile
        (height, width) of the slice that one window shows.
    window
        (height, width) of the network's input.
    random
        What it is drawn with.
    partly
        Whether only a part is asked about: the rest may then be shown as an example.
    """
    free = example.valid.copy()
    if held_out is not None:
        free[held_out.area] = False
    shape = example.labels.shape
    sides = [min(n, max(1, round(t * random.uniform(SMALLEST_CROP, 1)))) for n, t in zip(shape, tile, strict=True)]
    for _ in range(TRIES):
        crop = _part(Tile(0, shape[0], 0, shape[1]), sides, random)
        asked = crop
        if partly:
            asked = _part(crop, [max(1, round(s * random.uniform(*ASKED))) for s in sides], random)
        if (example.labels[asked.area] * free[asked.area]).any():
            break
    counted = np.zeros(shape, bool)
    counted[asked.area] = free[asked.area]
    canvas = fit_canvas((sides[0], sides[1]), window, keep_aspect=False)
    image = canvas.place_image(lit(example.image[crop.area], random))
    labels, counted = canvas.place_labels(example.labels[crop.area]), canvas.place_labels(counted[crop.area])
    turn = turning(window[0] == window[1], random)
    image, labels, counted = turn(image), turn(labels), turn(counted)
    return Query(image, labels, balanced(labels, counted), asked)


def balanced(labels: Labels, counted: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Weights (H, W), 1 on average where ``counted``; a label counts in all as the root of its size."""
    weights = np.zeros(labels.shape, np.float32)
    ids, inverse, sizes = np.unique(labels[counted], return_inverse=True, return_counts=True)
    if len(ids):
        each = sizes**-0.5
        weights[counted] = (each / (each * sizes).sum() * sizes.sum())[inverse]
    return weights


def lit(image: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    """The image (Y, X, C) in [0, 1] with another gamma, contrast and brightness, and some noise."""
    gamma, contrast, brightness = random.normal(0, (GAMMA, CONTRAST, BRIGHTNESS))
    bent = image ** np.float32(np.exp(gamma))
    mean = bent.mean()
    noise = random.standard_normal(image.shape, np.float32) * np.float32(random.uniform(0, NOISE))
    changed: NDArray[np.float32] = (bent - mean) * np.float32(np.exp(contrast)) + mean + np.float32(brightness) + noise
    return changed.clip(0, 1)


def _part(whole: Tile, sides: list[int], random: np.random.Generator) -> Tile:
    """A rectangle somewhere in ``whole``."""
    y, x = (
        int(random.integers(low, high - side + 1))
        for low, high, side in ((whole.y0, whole.y1, sides[0]), (whole.x0, whole.x1, sides[1]))
    )
    return Tile(y, y + sides[0], x, x + sides[1])


def turning(square: bool, random: np.random.Generator) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """A random mirroring, and, of squares, exchange of axes."""
    up, left, swap = (bool(b) for b in random.integers(0, 2, 3))

    def turn(array: NDArray[Any]) -> NDArray[Any]:
        array = array[::-1] if up else array
        array = array[:, ::-1] if left else array
        return np.ascontiguousarray(array.swapaxes(0, 1) if swap and square else array)

    return turn

"""In-context colouring: label ids <-> colours that can be told apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .labels import MAX_LABEL

MIN_DISTANCE = 0.4  # between any two colours, and to black: Euclidean, in RGB of [0, 1]
MAX_COLOURS = 14  # ids one pass tells apart, background included: so many points of the cube lie 0.7 apart
BLOCK = 2**16  # pixels decoded at a time: temporaries stay in the processor's cache

# Black, then the best-spread points of the RGB cube for any number of them: with the first four a tetrahedron
# (distance 1.41), with eight the corners (1), with fourteen the face centres too (0.71).
_SPREAD = np.array(
    [
        *((0, 0, 0), (1, 1, 0), (1, 0, 1), (0, 1, 1), (1, 1, 1), (1, 0, 0), (0, 1, 0), (0, 0, 1)),
        *((1, 0.5, 0.5), (0.5, 1, 0.5), (0.5, 0.5, 1), (0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0)),
    ],
    np.float32,
)
_WHITE = np.ones((1, 3), np.float32)


@dataclass(frozen=True, eq=False)
class Palette:
    """One colour an id.

    Parameters
    ----------
    ids
        Label ids, ascending. 0 (background), if among them, is black.
    colours
        (ids, 3) float32 RGB in [0, 1], at least `MIN_DISTANCE` from each other and (save 0's) from black.
    """

    ids: tuple[int, ...]
    colours: NDArray[np.float32]

    def __post_init__(self) -> None:
        ids, colours = checked_ids(self.ids), np.array(self.colours, np.float32)
        if ids != tuple(self.ids) or colours.shape != (len(ids), 3):
            raise InputError(f"a palette needs ascending ids and (ids, 3) colours; got {self.ids} and {colours.shape}.")
        if not (colours.min() >= 0 and colours.max() <= 1) or (ids[0] == 0 and colours[0].any()):
            raise InputError("colours must lie in [0, 1], and that of id 0 must be black.")
        if separation(colours) < MIN_DISTANCE - 1e-6:
            raise InputError(f"colours must be {MIN_DISTANCE} apart; got {separation(colours):.3f}.")
        colours.flags.writeable = False
        object.__setattr__(self, "ids", ids)
        object.__setattr__(self, "colours", colours)

    @classmethod
    def fixed(cls, ids: Iterable[int]) -> Palette:
        """Return the palette with the largest distances. Raises InputError for more than `MAX_COLOURS` ids."""
        ids = checked_ids(ids)
        objects = sum(i > 0 for i in ids)
        bright = _WHITE if objects == 1 else _SPREAD[1 : objects + 1]
        return cls(ids, np.concatenate([_SPREAD[:1], bright]) if ids[0] == 0 else bright)

    @classmethod
    def random(cls, ids: Iterable[int], rng: np.random.Generator) -> Palette:
        """Return random colours, spread at least 0.6 times as far as the fixed ones are.

        Raises
        ------
        InputError
            More than `MAX_COLOURS` ids.
        """
        fixed = cls.fixed(ids)
        distance = max(MIN_DISTANCE, 0.6 * separation(fixed.colours))
        objects = sum(i > 0 for i in fixed.ids)
        while True:  # one or two rounds: the cube has room for about twice as many colours
            chosen = np.zeros((1, 3), np.float32)
            for colour in rng.random((2000, 3), np.float32):
                if ((chosen - colour) ** 2).sum(1).min() >= distance**2:
                    chosen = np.concatenate([chosen, colour[None]])
                if len(chosen) > objects:
                    return cls(fixed.ids, chosen if fixed.ids[0] == 0 else chosen[1:])

    def paint(self, labels: NDArray[np.uint32]) -> NDArray[np.float32]:
        """Labels (Y, X) -> colours (Y, X, 3) float32 in [0, 1]; ids that are not in the palette are black."""
        index = np.zeros(labels.shape, np.uint8)
        for k, i in enumerate(self.ids, start=1):
            index[labels == i] = k
        painted: NDArray[np.float32] = np.take(np.concatenate([_SPREAD[:1], self.colours]), index, axis=0)
        return painted

    def decode(self, painted: NDArray[np.float32]) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
        """Read colours back.

        Parameters
        ----------
        painted
            (Y, X, 3) colours, about [0, 1].

        Returns
        -------
        labels
            (Y, X) uint32, the id of the nearest colour.
        confidence
            (Y, X) float32: ``(second - nearest) / (second + nearest)`` of the two smallest distances; 1 exactly on
            a colour, 0 half-way between two. With a single colour, the opposite corner of the cube is the second (and
            what is nearer to that has 0).
        """
        colours = self.colours if len(self.ids) > 1 else np.concatenate([self.colours, 1 - self.colours.round()])

        def decode_rows(rows: NDArray[np.float32]) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
            # differences, not |p|^2 - 2pc + |c|^2, whose rounding would show as a distance of 1e-3 on the colour itself
            bands = np.ascontiguousarray(np.moveaxis(rows, 2, 0), np.float32)
            index, nearest, second = _two_smallest(((bands - c[:, None, None]) ** 2).sum(0) for c in colours)
            near, far = np.sqrt(nearest), np.sqrt(second)
            margin = (far - near) / np.maximum(far + near, np.float32(1e-12))
            return index, np.where(index < len(self.ids), margin, np.float32(0))

        labels, confidence = _by_rows(painted, decode_rows, self.ids + self.ids[:1])
        return labels, confidence


def checked_ids(ids: Iterable[int]) -> tuple[int, ...]:
    """Return label ids ascending. Raises InputError when there are none, more than `MAX_COLOURS`, or bad ones."""
    found = tuple(sorted(int(i) for i in ids))
    if not 1 <= len(found) <= MAX_COLOURS or len(set(found)) < len(found):
        raise InputError(
            f"a palette holds 1 to {MAX_COLOURS} different ids; got {len(found)}. Split them with passes()."
        )
    if found[0] < 0 or found[-1] > MAX_LABEL or sum(i > 0 for i in found) == MAX_COLOURS:
        raise InputError(f"a palette holds at most {MAX_COLOURS - 1} ids of 1..{MAX_LABEL}, and 0; got {found}.")
    return found


def separation(colours: NDArray[np.float32]) -> float:
    """Smallest distance between any two of ``colours`` (n, 3) and black."""
    everything = colours.astype(np.float64) if not colours.any(axis=1).all() else np.vstack([np.zeros(3), colours])
    apart = np.linalg.norm(everything[:, None] - everything[None], axis=2)
    return float(apart[np.triu_indices(len(apart), 1)].min(initial=np.inf))


def passes(ids: Iterable[int]) -> list[tuple[int, ...]]:
    """Split ids into as few, equally large groups as can be painted, one after another.

    0 joins every pass when there are several, since each pass shows the others' objects as background.
    """
    ids = sorted({int(i) for i in ids})
    objects = [i for i in ids if i]
    count = max(1, -(-len(objects) // (MAX_COLOURS - 1)))
    background = (0,) if count > 1 or 0 in ids else ()
    ends = [round(k * len(objects) / count) for k in range(count + 1)]
    return [background + tuple(objects[a:b]) for a, b in pairwise(ends)]


def merge(
    parts: Sequence[tuple[NDArray[np.uint32], NDArray[np.float32]]],
) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
    """Join passes: the most confident object wins; background only where all passes say so.

    Parameters
    ----------
    parts
        Labels (Y, X) and confidence (Y, X) of each pass.

    Returns
    -------
    labels
        (Y, X) uint32.
    confidence
        (Y, X) float32: the winner's; of background, the least over the passes.
    """
    labels, confidence = parts[0][0].copy(), parts[0][1].copy()
    for other, sure in parts[1:]:
        wins = (other > 0) & ((labels == 0) | (sure > confidence))
        both = (other == 0) & (labels == 0)
        confidence = np.where(wins, sure, np.where(both, np.minimum(sure, confidence), confidence))
        labels[wins] = other[wins]
    return labels, confidence


def scores_to_labels(scores: NDArray[np.float32], ids: Sequence[int]) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
    """Read one score a class.

    Parameters
    ----------
    scores
        (Y, X, K), larger is likelier; about [0, 1], need not sum to one.
    ids
        The K label ids.

    Returns
    -------
    labels
        (Y, X) uint32, id of the largest score.
    confidence
        (Y, X) float32 in [0, 1]: margin of the two largest scores, clipped to [0, 1] and divided by their sum over
        all classes. With a single class, its clipped score.
    """
    if scores.ndim != 3 or scores.shape[2] != len(ids):
        raise InputError(f"scores must be (Y, X, {len(ids)}), one a label; got shape {scores.shape}.")

    def read_rows(rows: NDArray[np.float32]) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        bands = np.moveaxis(rows, 2, 0)
        index, best, second = _two_smallest(-band for band in bands)
        top, next_top = (-best).clip(0, 1), (-second).clip(0, 1)
        return index, (top - next_top) / np.maximum(bands.clip(0, 1).sum(0), np.float32(1e-12)) if len(
            bands
        ) > 1 else top

    return _by_rows(scores, read_rows, ids)


def _two_smallest(
    layers: Iterable[NDArray[np.float32]],
) -> tuple[NDArray[np.intp], NDArray[np.float32], NDArray[np.float32]]:
    """Index of the smallest of the layers, the smallest and the second smallest value at each pixel."""
    layers = iter(layers)
    smallest = next(layers).copy()
    index, second = np.zeros(smallest.shape, np.intp), np.full_like(smallest, np.inf)
    for k, layer in enumerate(layers, start=1):
        index[layer < smallest] = k
        np.minimum(second, np.maximum(layer, smallest), out=second)
        np.minimum(smallest, layer, out=smallest)
    return index, smallest, second


def _by_rows(
    planes: NDArray[np.float32],
    read: Callable[[NDArray[np.float32]], tuple[NDArray[np.intp], NDArray[np.float32]]],
    ids: Sequence[int],
) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
    """Run ``read`` on blocks of rows of (Y, X, K), and turn its indices into ids."""
    height, width = planes.shape[:2]
    table = np.array(ids, np.uint32)
    labels, confidence = np.empty((height, width), np.uint32), np.empty((height, width), np.float32)
    step = max(1, BLOCK // max(1, width))
    for y in range(0, height, step):
        index, confidence[y : y + step] = read(planes[y : y + step])
        labels[y : y + step] = table[index]
    return labels, confidence

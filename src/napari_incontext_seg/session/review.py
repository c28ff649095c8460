"""Where to look next: the least sure slices, and the one whose annotation would teach the model most."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import numpy as np

from ..core.stack import Stack


def least_sure(confidence: Mapping[int, float], locked: Collection[int]) -> list[int]:
    """Slices that have a confidence and are not locked, the least sure first."""
    return sorted((p for p in confidence if p not in locked), key=lambda p: (confidence[p], p))


def worth_annotating(
    stack: Stack, confidence: Mapping[int, float], unsure: Iterable[int], annotated: Collection[int]
) -> int | None:
    """The slice to annotate next: one that the model doubts, and that is unlike what it was shown.

    A neighbour of an annotated slice tells it little new, however unsure it is: doubt counts half there, and ever more
    with the distance d to the closest annotated slice, d / (d + 1).

    Parameters
    ----------
    stack
        The image.
    confidence
        Slice -> how sure the model is.
    unsure
        Slices to choose from, in the order in which they are taken where they are worth the same.
    annotated
        Slices that are examples.
    """
    candidates = list(unsure)
    if not candidates:
        return None
    doubt = 1 - np.array([confidence[p] for p in candidates])
    if annotated and stack.grid:
        shown, places = _places(stack, annotated), _places(stack, candidates)
        distance = np.full(len(candidates), np.inf)
        for place in shown:
            distance = np.minimum(distance, np.abs(places - place).sum(axis=1))
        doubt = doubt * distance / (distance + 1)
    return candidates[int(doubt.argmax())]


def _places(stack: Stack, positions: Collection[int]) -> np.ndarray:
    """Index along each plane axis, one row a slice."""
    return np.array([stack.unravel(p) for p in positions])

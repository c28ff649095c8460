"""Labels that are names: each is one object, and an annotated plane says nothing of objects that only others name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ..core.palette import MAX_COLOURS
from ..core.types import Context, Example, Predictor
from ..errors import InputError
from .memory import memory_errors

MOST = MAX_COLOURS - 1  # objects that are told apart in one painting


def names_of(example: Example) -> frozenset[int]:
    """The objects that an annotated plane shows."""
    return frozenset(example.ids) - {0}


def check_names(examples: Mapping[int, Example]) -> None:
    """Raise InputError if more objects are named than can be told apart by their looks."""
    found = frozenset[int]().union(*map(names_of, examples.values()))
    if len(found) > MOST:
        raise InputError(
            f"up to {MOST} objects can be named and told apart by colour; got {len(found)}. Many objects are found by "
            "what they have in common, and linked (track)."
        )


def first_shown(examples: Mapping[int, Example]) -> frozenset[int]:
    """Numbers of the planes that show an object before any other annotated plane does."""
    first: dict[int, int] = {}
    for position in sorted(examples):
        for name in names_of(examples[position]):
            first.setdefault(name, position)
    return frozenset(first.values())


def reconciled(examples: Mapping[int, Example], predictor: Predictor) -> dict[int, Example]:
    """Annotated planes whose background is taken back where it may be an object that the plane does not name.

    A plane is complete as to the objects that it shows; of those that only other planes show it says nothing: they may
    have been left out, or not been known yet. So it is painted as the planes that do show them would have it (planes
    that show the same objects together, which do not contradict each other), and where such an object appears in its
    background, it says nothing. All else stays background.

    Parameters
    ----------
    examples
        By plane number.
    predictor
        What paints.
    """
    groups: dict[frozenset[int], list[Example]] = {}
    for position in sorted(examples):
        groups.setdefault(names_of(examples[position]), []).append(examples[position])
    doubtful = {p: np.zeros(e.labels.shape, bool) for p, e in examples.items()}
    for known, group in groups.items():
        others = {p: known - names_of(e) for p, e in examples.items() if known - names_of(e)}
        if not others:
            continue
        with memory_errors("the examples"):
            segmenter = predictor.bind(Context(tuple(group)))
            for position, missing in others.items():
                painted = segmenter(examples[position].image).labels
                doubtful[position] |= np.isin(painted, list(missing)) & (examples[position].labels == 0)
    return {p: _without(e, doubtful[p]) for p, e in examples.items()}


def _without(example: Example, doubtful: np.ndarray) -> Example:
    valid = example.valid & ~doubtful
    return replace(example, valid=valid) if valid.any() and (valid != example.valid).any() else example

"""Pairs of least cost, against every possible choice."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from napari_incontext_seg.infer.assignment import assign


def least_cost(rows: np.ndarray, columns: np.ndarray, costs: np.ndarray, limit: float) -> float:
    """The least sum of ``cost - limit`` over all sets of pairs that share no row and no column."""
    best = 0.0
    for size in range(1, len(rows) + 1):
        for chosen in map(list, combinations(range(len(rows)), size)):
            if len({*rows[chosen]}) == size == len({*columns[chosen]}):
                best = min(best, float((costs[chosen] - limit).sum()))
    return best


@pytest.mark.parametrize("seed", range(5))
def test_the_choice_is_the_best_there_is(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pairs = rng.permutation(16)[:9]
    rows, columns, costs = pairs // 4, pairs % 4, rng.uniform(0, 10, 9)
    chosen = assign(rows, columns, costs, 8.0)
    assert len({*rows[chosen]}) == len(chosen) == len({*columns[chosen]})
    assert (costs[chosen] - 8).sum() == pytest.approx(least_cost(rows, columns, costs, 8.0), abs=1e-3)


def test_a_pair_on_its_own_and_one_too_dear() -> None:
    chosen = assign(np.array([0, 1, 2]), np.array([5, 6, 7]), np.array([1.0, 9.0, 7.9]), 8.0)
    assert chosen.tolist() == [0, 2]
    assert len(assign(np.zeros(0, int), np.zeros(0, int), np.zeros(0), 8.0)) == 0

"""Who belongs to whom: pairs with costs in, at most one partner for each out. laptrack solves what is ambiguous."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

NOBODY = -1  # number of a row and of a column that are none


def assign(
    rows: NDArray[np.int64], columns: NDArray[np.int64], costs: NDArray[np.float64], limit: float
) -> NDArray[np.intp]:
    """Choose pairs of least total cost, in which every row and every column is at most once.

    Only the pairs given are candidates, so neither memory nor time grows with rows times columns. What can be decided
    alone is: a pair whose row and column have no other candidate needs no solver. All other groups of pairs that
    compete go to one call of laptrack, each as a pair of frames of its own.

    Parameters
    ----------
    rows, columns, costs
        (N,) candidates; costs are 0 or more.
    limit
        A pair of at least this cost is worse than none.

    Returns
    -------
    (M,) indices into the candidates, ascending.
    """
    usable = np.flatnonzero(costs < limit)
    if not len(usable):
        return usable
    row_ids, row = np.unique(rows[usable], return_inverse=True)
    column_ids, column = np.unique(columns[usable], return_inverse=True)
    size = len(row_ids) + len(column_ids)
    graph = coo_matrix((np.ones(len(usable)), (row, column + len(row_ids))), shape=(size, size))
    _, group = connected_components(graph, directed=False)
    group = group[row]
    alone = np.bincount(group)[group] == 1
    chosen = [usable[alone]]
    if not alone.all():
        chosen.append(usable[~alone][_solve(row[~alone], column[~alone], costs[usable][~alone], group[~alone], limit)])
    return np.sort(np.concatenate(chosen))


def _solve(
    rows: NDArray[np.intp], columns: NDArray[np.intp], costs: NDArray[np.float64], groups: NDArray[Any], limit: float
) -> list[int]:
    """Indices of the pairs that laptrack chooses."""
    from laptrack import LapTrack  # here, not above: it brings pandas and networkx, which take seconds to import

    at = {pair: k for k, pair in enumerate(zip(rows.tolist(), columns.tolist(), strict=True))}
    # laptrack adds the least cost of a frame to that of a link: with a pair of cost 0 in every frame, a link is made
    # where it costs less than an end and a beginning, which is what `limit` says
    prices = {**{pair: float(costs[k]) for pair, k in at.items()}, (NOBODY, NOBODY): 0.0}

    def cost(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
        return prices.get((int(a[0]), int(b[0])), np.inf)

    coordinates: list[NDArray[np.float64]] = []
    order = np.argsort(groups, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1):
        sides = (np.unique(rows[members]), np.unique(columns[members]))
        coordinates += [np.append(side, NOBODY).astype(float)[:, None] for side in sides]
        coordinates.append(np.empty((0, 1)))  # an empty frame, so that groups do not meet
    settings: dict[str, Any] = {
        "metric": cost, "cutoff": limit, "track_start_cost": limit / 2, "track_end_cost": limit / 2,
        "gap_closing_cutoff": False, "splitting_cutoff": False, "merging_cutoff": False,
    }  # fmt: skip
    solver = LapTrack(**settings)
    edges = solver.predict(coordinates).edges()
    pairs = [(int(coordinates[a[0]][a[1], 0]), int(coordinates[b[0]][b[1], 0])) for a, b in edges]
    return [at[pair] for pair in pairs if pair in at]

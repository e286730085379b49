"""The Pareto front: the entries that no other entry dominates, by their means and by what is significant."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from velodrome.metrics.catalogue import Direction


def pareto_front(points: Mapping[str, Sequence[float | None]], directions: Sequence[Direction]) -> frozenset[str]:
    """The names of the points that none dominates.

    A point dominates another if it is at least as good in every objective and better in one. So points that are equal
    in all objectives are on the front together. `points` gives each entry one value for each of `directions`, in the
    same order. The front is empty only if there are no points. The points are compared as they are: pass means, and
    show their intervals beside them.

    Takes O(n log n + n · f) for n points of which f are on the front.

    Raises:
        ValueError: there is no objective, a direction is unknown, or an entry has too few or too many values, or a
        value
            that is NaN. An infinite value is the worst or the best, depending on its sign and the direction.
    """
    costs = _costs(points, directions)
    names = np.array(list(points), dtype=object)
    # In lexicographic order, no later point dominates an earlier one. So the first remaining point is on the front.
    order = np.lexsort(costs.T[::-1])
    names, costs = names[order], costs[order]
    front: list[str] = []
    while len(costs):
        front.append(names[0])
        beaten = (costs[0] <= costs).all(axis=1) & (costs[0] < costs).any(axis=1)
        beaten[0] = True  # this point is done; the others remain
        names, costs = names[~beaten], costs[~beaten]
    return frozenset(front)


def dominated(better: Sequence[NDArray[np.bool_]], surely_better: Sequence[NDArray[np.bool_]]) -> NDArray[np.bool_]:
    """For each entry, whether some other entry is surely better in one objective and worse in none.

    There is one matrix for each objective, whose element [i, j] says that entry i is significantly better than entry j:
    `better` at the level of the ranks, so that nobody is dominated whom a rank calls better, and `surely_better` at a
    level that is corrected for the number of objectives. Where all entries are equal, at most a share α of races has a
    dominated one if that level is α divided by the number of objectives (Bonferroni).
    """
    wins = np.logical_or.reduce(surely_better)
    loses = np.logical_or.reduce([matrix.T for matrix in better])
    found: NDArray[np.bool_] = (wins & ~loses).any(axis=0)
    return found


def _costs(points: Mapping[str, Sequence[float | None]], directions: Sequence[Direction]) -> NDArray[np.float64]:
    """One row for each point and one column for each objective; less is better."""
    if not directions:
        raise ValueError("directions: there are none; a front needs at least one objective")
    for direction in directions:
        if direction not in ("higher", "lower"):
            raise ValueError(f"directions: {direction!r} is neither 'higher' nor 'lower'")
    for name, point in points.items():
        if len(point) != len(directions):
            raise ValueError(f"entry {name!r} has {len(point)} values for {len(directions)} objectives: leave it out")
        for index, value in enumerate(point):
            if value is None or math.isnan(value):
                raise ValueError(f"entry {name!r} misses objective {index} (it is {value}): leave it out")
    signs = [1.0 if direction == "lower" else -1.0 for direction in directions]
    return np.array(list(points.values()), dtype=np.float64).reshape(len(points), len(directions)) * signs

"""What random search would have found: the reference beside the best so far of a search. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from velodrome.metrics.catalogue import MetricKey
from velodrome.plan import read_spans
from velodrome.results.searches import Suggestion
from velodrome.search.outcomes import Outcome
from velodrome.spec import Search

# After so many trials, Optuna's algorithms no longer choose at random. Grid and QMC go through the space evenly: the
# order in which they do so says nothing about the values.
_STARTUP: Mapping[str, float] = {
    "Random": math.inf,
    "QMC": math.inf,
    "Grid": math.inf,
    "TPE": 10,
    "GP": 10,
    "NSGA-II": 50,
    "CMA-ES": 1,
}
_NEGLIGIBLE = 1e-12


def random_values(
    search: Search, points: int, suggestions: Mapping[int, Suggestion], outcomes: Mapping[int, Outcome]
) -> list[float]:
    """The values of the first objective that an entry's trials of random parameters have, by number.

    The first `points` trials were given. A trial that ended early counts by its last value.
    """
    found = []
    for number, one in sorted(suggestions.items()):
        told = outcomes[number].told if number in outcomes else None
        if number < points or told is None or _known(one, outcomes) >= _STARTUP[search.algorithm]:
            continue
        if told.values:
            found.append(told.values[0])
        elif told.state == "Pruned" and told.steps:
            found.append(told.steps[max(told.steps)])
    return found


def _known(one: Suggestion, outcomes: Mapping[int, Outcome]) -> int:
    """How many trials with a value the algorithm knew when it made a suggestion."""
    known = read_spans(one.known, one.number)
    return sum(number in outcomes and outcomes[number].told.state != "Failed" for number in known)


def expected_best(key: MetricKey, values: Sequence[float]) -> list[float]:
    """The expected best value of 1, 2, … random trials, for as many as there are `values` of random ones.

    It is the mean over all choices of so many of these values. So it is unbiased, and known for no larger number.
    The expected maximum of J. Dodge and others, Show Your Work, EMNLP 2019, draws with replacement instead; see R. Tang
    and others, Showing Your Work Doesn't Always Work, ACL 2020.
    """
    ordered = sorted(values, reverse=key.metric.direction == "higher")
    count, found = len(ordered), []
    for drawn in range(1, count + 1):
        share, mean = drawn / count, 0.0
        for place, value in enumerate(ordered):
            mean += share * value
            left = count - place - 1
            if left < drawn or share < _NEGLIGIBLE:
                break
            share *= (left - drawn + 1) / left  # the best of those drawn stands at the next place
        found.append(mean)
    return found

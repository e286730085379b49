"""What random search is expected to find, beside what a search found."""

from __future__ import annotations

from itertools import combinations
from statistics import fmean
from typing import Any

import pytest

from velodrome.board.searches import course_of
from velodrome.metrics.catalogue import MetricKey
from velodrome.results.searches import Suggestion
from velodrome.search.outcomes import Outcome
from velodrome.search.reference import expected_best, random_values
from velodrome.search.study import Told
from velodrome.spec import Search

LOSS, ACCURACY = MetricKey.of("validation_loss"), MetricKey.of("accuracy")
VALUES = (0.5, 0.1, 0.9, 0.9, 0.3, 0.2)


@pytest.mark.parametrize(("key", "best"), [(LOSS, min), (ACCURACY, max)])
def test_the_expected_best_is_the_mean_over_all_choices(key: MetricKey, best: Any) -> None:
    wanted = [fmean(map(best, combinations(VALUES, drawn))) for drawn in range(1, 7)]
    assert expected_best(key, VALUES) == pytest.approx(wanted)


def test_the_expected_best_of_many_is_not_known_without_them() -> None:
    assert expected_best(LOSS, []) == []
    assert len(expected_best(LOSS, [float(value) for value in range(3000)])) == 3000


def _found(algorithm: str) -> list[float]:
    """The random values of 30 trials in turn: the first was given, trial 3 failed, and trial 4 ended early at 0.7."""
    search = Search.model_validate(
        {"maxTrials": 30, "algorithm": algorithm, "parameters": [{"name": "x", "type": "Float", "low": 0, "high": 1}]}
    )
    outcomes = {number: Outcome(Told("Complete", (float(number),))) for number in range(30)}
    outcomes |= {3: Outcome(Told("Failed"), "X"), 4: Outcome(Told("Pruned", steps={1: 0.9, 2: 0.7}), "Pruned")}
    made = {
        number: Suggestion(entry="a", number=number, values={}, known=f"0-{number - 1}" if number else "")
        for number in range(30)
    }
    return random_values(search, 1, made, outcomes)


def test_only_random_trials_say_what_random_search_finds() -> None:
    assert _found("TPE") == [1, 2, 0.7, *range(5, 11)], "ten trials without the failed one are known to trial 11"
    assert _found("Random") == [1, 2, 0.7, *range(5, 30)]
    assert _found("CMA-ES") == []


def test_the_course_has_what_was_better_than_all_before() -> None:
    losses = (0.5, 0.6, 0.4, 0.4, 0.1)
    found = {number: Outcome(Told("Complete", (value,))) for number, value in enumerate(losses)}
    found[1] = Outcome(Told("Failed"), "X")
    assert course_of(LOSS, found) == ((1, 0.5), (3, 0.4), (5, 0.1))
    assert course_of(ACCURACY, found) == ((1, 0.5),)

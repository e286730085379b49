"""Whose turn it is, when a search ends, which trial wins, and what a failure means."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from velodrome.metrics.catalogue import MetricKey
from velodrome.plan import plan
from velodrome.results.records import EpochPoint, TrialResult
from velodrome.results.searches import Searched, Spent, Winner, tuned_note
from velodrome.search.outcomes import Outcome, best_of, front_of, outcome_of
from velodrome.search.state import SearchState
from velodrome.search.study import Told
from velodrome.spec import validate

LOSS, SIZE, ACCURACY = (MetricKey.of(name) for name in ("validation_loss", "parameters", "accuracy"))
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def result(outcome: str = "Succeeded", **fields: Any) -> TrialResult:
    facts = {"job_uid": "u.search", "index": 0, "entry": "a", "repeat": 0, "seed": 5, "trial_id": "t", "attempt": "x"}
    times = {"started_at": NOW, "finished_at": NOW}
    return TrialResult.model_validate({**facts, **times, "outcome": outcome, **fields})


def curve(*losses: float) -> tuple[EpochPoint, ...]:
    return tuple(
        EpochPoint(
            epoch=epoch,
            seconds=2.0 * epoch,
            train_loss=1.0,
            learning_rate=0.1,
            samples_per_second=10.0,
            validation={"validation_loss": value},
        )
        for epoch, value in enumerate(losses, start=1)
    )


def test_the_kept_epoch_counts() -> None:
    points = curve(0.5, 0.2, 0.9)
    assert outcome_of([LOSS], result(), points).told.values == (0.9,)
    found = outcome_of([LOSS], result(best_epoch=2), points)
    assert (found.told.values, dict(found.told.steps)) == ((0.2,), {1: 0.5, 2: 0.2, 3: 0.9})
    assert (found.epochs, found.seconds) == (3, 6.0)


def test_a_trial_without_a_value_has_failed() -> None:
    found = outcome_of([ACCURACY], result(), curve(0.5))
    assert (found.told.state, found.reason, found.epochs) == ("Failed", "ObjectiveMissing", 1)


def test_what_was_trained_before_an_early_end_is_charged() -> None:
    found = outcome_of([LOSS], result("Failed", reason="Pruned"), curve(0.5, 0.4))
    assert (found.told.state, found.epochs, found.seconds) == ("Pruned", 2, 4.0)


@pytest.mark.parametrize(("reason", "avoided"), [("OutOfMemory", True), ("LossNotFinite", True), ("NoSpace", False)])
def test_failures_of_the_parameters_are_avoided(reason: str, *, avoided: bool) -> None:
    told = outcome_of([LOSS], result("Failed", reason=reason), ()).told
    assert (told.state, told.avoided) == ("Failed", avoided)


def complete(*values: float) -> Outcome:
    return Outcome(Told("Complete", values), epochs=4)


def test_the_first_of_equal_ones_wins_and_the_direction_counts() -> None:
    found = {0: complete(0.5), 1: complete(0.2), 2: complete(0.2), 3: Outcome(Told("Failed"), "X")}
    assert best_of([LOSS], found) == 1
    assert best_of([ACCURACY], found) == 0
    assert best_of([LOSS], {3: found[3]}) is None


def test_a_front_has_what_no_other_beats() -> None:
    found = {
        0: complete(0.5, 10),
        1: complete(0.2, 90),
        2: complete(0.6, 11),
        3: complete(0.2, 91),
        4: complete(0.5, 10),
    }
    assert front_of([LOSS, SIZE], found) == (0, 1, 4)


def state(most: int = 3, **search: Any) -> SearchState:
    model = {"name": "velodrome/mlp"}
    parameters = [{"name": "training.batchSize", "type": "Integer", "low": 1, "high": 99, "entries": ["a", "b"]}]
    document = {
        "apiVersion": "velodrome.dev/v1alpha1",
        "kind": "BenchmarkJob",
        "metadata": {"name": "s"},
        "spec": {
            "dataset": {"name": "digits"},
            "budget": {"maxEpochs": 4},
            "search": {"maxTrials": most, "parameters": parameters, "algorithm": "Random", **search},
            "entries": [{"name": name, "model": model} for name in ("a", "plain", "b")],
        },
    }
    return SearchState(plan(validate(document)))


def run(found: SearchState, outcome: Outcome) -> list[int]:
    """Runs one trial after another to the end of the search, and returns their indexes."""
    ran = []
    while (index := found.next(())) is not None:
        made = found.suggest(index)
        found.note(index, made, made)
        found.tell(index, outcome)
        ran.append(index)
    return ran


def test_entries_take_turns_and_untuned_ones_have_none() -> None:
    found = state()
    assert run(found, complete(0.9)) == [0, 2, 3, 5, 6, 8]
    assert found.is_over()
    assert found.searched().entries["plain"] == Winner()
    assert found.without_winner() == {}


def test_a_shared_budget_is_shared() -> None:
    found = state(budget={"epochs": 13, "scope": "Race"})
    assert run(found, complete(0.9)) == [0, 2, 3]
    assert found.searched().ended == {"a": "its budget is spent", "b": "its budget is spent"}


def test_running_trials_count_in_full() -> None:
    found = state(budget={"epochs": 8})
    for _ in range(4):
        index = found.next(found.suggestions.keys())
        assert index is not None
        made = found.suggest(index)
        found.note(index, made, made)
    assert found.next(found.suggestions.keys()) is None


def test_an_entry_whose_first_trials_all_fail_gets_no_more() -> None:
    found = state(most=30)
    assert len(run(found, Outcome(Told("Failed"), "OutOfDisk"))) == 20
    assert found.without_winner() == {"a": "OutOfDisk", "b": "OutOfDisk"}


def test_a_search_ends_when_no_better_trial_comes() -> None:
    found = state(most=30, terminator={"name": "Stagnation", "trials": 3, "minTrials": 5})
    values = iter([0.5, 0.5, 0.6, 0.6, *[0.1] * 60])
    ran = []
    while (index := found.next(())) is not None:
        made = found.suggest(index)
        found.note(index, made, made)
        found.tell(index, complete(next(values)))
        ran.append(index)
    assert len(ran) == 2 * 6, "the second trial of both was the better one, and four followed"
    assert found.is_over()
    assert found.searched().ended["a"] == "more trials are unlikely to improve it (terminator Stagnation)"


def test_a_search_ends_when_little_is_left_to_gain() -> None:
    """Regret: a smooth function is known after 53 trials, and noise is not."""
    size = [{"name": "training.batchSize", "type": "Integer", "low": 1, "high": 99, "entries": ["a"]}]
    noise = iter([0.13, 0.85, 0.76, 0.26, 0.5, 0.45, 0.65, 0.79, 0.09, 0.03] * 6)

    def ended(value: Callable[[int], float]) -> tuple[int, str]:
        least = {"name": "Regret", "minTrials": 53}
        found = state(most=56, algorithm="TPE", parameters=size, terminator=least)
        while (index := found.next(())) is not None:
            made = found.suggest(index)
            found.note(index, made, made)
            found.tell(index, complete(value(made.values["training.batchSize"])))
        return len(found.suggestions), found.searched().ended["a"]

    trials, said = ended(lambda batch: 1 - ((batch - 50) / 99) ** 2)
    assert 53 <= trials < 56
    assert said == "more trials are unlikely to improve it (terminator Regret)"
    assert ended(lambda _: next(noise)) == (56, "maxTrials: 56")


def test_points_of_other_searches_come_after_its_own() -> None:
    own = state(enqueue=[{"training.batchSize": 7}])
    found = SearchState(own.plan, {"a": ({"training.batchSize": 9}, {"training.batchSize": 11})})
    run(found, complete(0.9))
    assert [found.suggestions[index].values["training.batchSize"] for index in (0, 3, 6)] == [7, 9, 11]
    assert found.suggestions[2].values == {"training.batchSize": 7}
    assert found.suggestions[5].values != {"training.batchSize": 9}


def test_a_winner_says_how_much_each_parameter_mattered() -> None:
    parameters = [
        {"name": f"training.regularization.{name}", "type": "Float", "low": 0, "high": 0.9, "entries": ["a"]}
        for name in ("dropout", "labelSmoothing")
    ]
    found = state(most=40, parameters=parameters)
    while (index := found.next(())) is not None:
        made = found.suggest(index)
        found.note(index, made, made)
        found.tell(index, complete((made.values["training.regularization.dropout"] - 0.3) ** 2))
    shares = found.searched().entries["a"].importances
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["training.regularization.dropout"] > 0.7
    few = state(most=3)
    run(few, complete(0.9))
    assert few.searched().entries["a"].importances == {}


def test_another_suggestion_in_the_store_is_the_one_that_counts() -> None:
    found = state()
    made = found.suggest(0)
    other = made.model_copy(update={"values": {"training.batchSize": 7}})
    found.note(0, made, other)
    found.tell(0, complete(0.9))
    assert found.searched().entries["a"].values == {"training.batchSize": 7}


def test_a_row_says_how_it_was_tuned() -> None:
    spent = Spent(trials=60, epochs=1412)
    searched = Searched(entries={"a": Winner(number=3, spent=spent), "plain": Winner()})
    assert tuned_note(searched, "a") == "tuned: the best of 60 search trials (1,412 epochs)"
    assert "untuned" in tuned_note(searched, "plain")
    assert tuned_note(None, "a") == ""

"""A variant on the pages: its steps are parameters of the entry, and its run says what they did."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from streamlit.testing.v1 import AppTest

from tests.integration.leaderboard.test_leaderboard_pages import table_of, text_of
from tools.sample_results import CLEAR, Race, accept
from velodrome.plan import plan
from velodrome.results.records import Held, TrialRecord
from velodrome.results.registration import job_info
from velodrome.spec import validate
from velodrome.store import Store

Draw = Callable[..., AppTest]
AT = datetime.now(UTC) - timedelta(minutes=10)
DOCUMENT: dict[str, Any] = {
    "apiVersion": "velodrome.dev/v1alpha1",
    "kind": "BenchmarkJob",
    "metadata": {"name": "smaller"},
    "spec": {
        "board": "digits",
        "dataset": {"name": "digits"},
        "objectives": [{"name": "accuracy", "metric": "accuracy"}],
        "entries": [
            {"name": "slow", "model": {"name": "velodrome/mlp"}},
            {
                "name": "quick",
                "variantOf": "slow",
                "optimize": [{"prune": {"amount": 0.5}}, {"quantize": "int8-dynamic"}],
            },
        ],
    },
}


def raced(store: Store) -> None:
    """The race's results. Seed 3 of the variant has trained other weights than its base."""
    made = plan(validate(DOCUMENT))
    race = Race(made, job_info(made, "done", AT), CLEAR)
    store.register(race.info)

    def record(index: int) -> TrialRecord:
        trial = made.trial(index)
        kept = race.record(trial)
        weights = f"{trial.seed + (trial.seed == 3 and trial.entry == 'quick'):016x}"
        done = ("prune: 50 of 100 weights are 0",) if trial.config.optimize else None
        told = {"held": Held(trained_weights=weights), "optimized": done}
        return kept.model_copy(update={"result": kept.result.model_copy(update=told)})

    accept(store, race, [record(index) for index in range(len(made))])


def test_the_steps_of_a_variant_stand_on_the_page_of_its_run(store: Store, page_of: Draw) -> None:
    raced(store)
    page = text_of(page_of("run", job="done", trial="1"))
    assert "optimize prune amount 0.5" in page
    assert "optimize quantize int8-dynamic" in page
    assert "trained weights 0000000000000000" in page
    assert "optimized prune: 50 of 100 weights are 0" in page
    assert "optimize prune" not in text_of(page_of("run", job="done", trial="0"))


def test_the_steps_are_the_parameters_in_which_a_variant_differs_from_its_base(store: Store, page_of: Draw) -> None:
    raced(store)
    app = page_of("compare", board="digits", entry=["slow", "quick"])
    assert table_of(app, "Parameters that differ") == [
        ["optimize.prune.amount", "–", "0.5"],
        ["optimize.quantize", "–", "int8-dynamic"],
    ]


def test_a_variant_with_other_weights_than_its_base_is_noted_on_the_board(store: Store, page_of: Draw) -> None:
    raced(store)
    assert "seed 3 trained other weights than those of slow" in text_of(page_of("board", name="digits"))

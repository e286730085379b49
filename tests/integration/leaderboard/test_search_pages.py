"""The page of a search, as Streamlit draws it and in a browser."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from velodrome.keys import search_uid
from velodrome.plan import plan
from velodrome.results.records import EpochPoint, Observed, TrialRecord, TrialResult
from velodrome.results.registration import job_info
from velodrome.search.outcomes import outcome_of
from velodrome.search.state import SearchState
from velodrome.search.trials import search_info, search_plan, tuned
from velodrome.spec import validate

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from streamlit.testing.v1 import AppTest

    from velodrome.store import Store

    RedisServer = Any

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RATE, DROPOUT, OPTIMIZER = (
    "training.optimizer.learningRate",
    "training.regularization.dropout",
    "training.optimizer.name",
)


def document(**search: Any) -> dict[str, Any]:
    parameters = [
        {"name": RATE, "type": "LogFloat", "low": 1e-4, "high": 1, "entries": ["net"]},
        {"name": DROPOUT, "type": "Float", "low": 0, "high": 0.8, "entries": ["net"]},
        {"name": OPTIMIZER, "type": "Categorical", "choices": ["SGD", "AdamW"], "entries": ["net"]},
    ]
    return {
        "apiVersion": "velodrome.dev/v1alpha1",
        "kind": "BenchmarkJob",
        "metadata": {"name": "tuning"},
        "spec": {
            "board": "tuned",
            "dataset": {"name": "digits"},
            "budget": {"maxEpochs": 6},
            "search": {
                "maxTrials": 24,
                "parameters": parameters,
                "objectives": [{"metric": "validation_loss"}],
                **search,
            },
            "entries": [{"name": name, "model": {"name": "velodrome/mlp"}} for name in ("net", "plain")],
        },
    }


def searched(store: Store, uid: str = "tuning", **search: Any) -> None:
    """A search in the store: trials 1, 5, 9, … ended early, and trial 3 failed."""
    made = document(**search)
    base = plan(validate(made))
    info = job_info(base, uid, NOW)
    store.register(info)
    store.register_search(search_info(info, base))
    state, records = SearchState(base), []
    while (index := state.next(())) is not None:
        suggestion = state.suggest(index)
        state.note(index, suggestion, store.suggest(search_uid(uid), index, suggestion))
        trial = search_plan(base, state.suggestions).trial(index)
        early = suggestion.number % 4 == 1 and len(state.keys) == 1  # several objectives end none early
        failed = suggestion.number == 3
        loss = 0.1 + abs(suggestion.values[DROPOUT] - 0.3) + (0.2 if suggestion.values[OPTIMIZER] == "SGD" else 0)
        epochs = 2 if early else 6
        curve = tuple(
            EpochPoint(
                epoch=epoch, seconds=1.0 * epoch, train_loss=1.0, learning_rate=0.1, samples_per_second=9.0,
                validation={"validation_loss": loss * (1 + 1 / epoch)},
            )
            for epoch in range(1, epochs + 1)
        )  # fmt: skip
        reason = "Pruned" if early else "OutOfMemory" if failed else None
        result = TrialResult(
            job_uid=search_uid(uid), index=index, entry=trial.entry, repeat=trial.repeat, seed=trial.seed,
            trial_id=trial.id, attempt="x", outcome="Failed" if reason else "Succeeded", reason=reason,
            message="because" if reason else None, metrics={} if reason else {"parameters": 100.0 + suggestion.number},
            curves=() if failed else curve, started_at=NOW, finished_at=NOW,
        )  # fmt: skip
        config = tuned(base.configs[trial.entry], suggestion.values)
        records.append(
            TrialRecord(
                result=result, config=config, observed=Observed(executor="local", run_seconds=1.0), accepted_at=NOW
            )
        )
        state.tell(index, outcome_of(state.keys, result, result.curves))
    store.accept(search_uid(uid), 0, records, [])
    store.keep_searched(uid, state.searched())


def text_of(app: AppTest) -> str:
    return "\n".join(str(element.proto) for element in app.main)


def charts_of(app: AppTest) -> list[Any]:
    return [json.loads(one.proto.spec) for one in app.get("vega_lite_chart")]


def test_a_search_is_shown_with_its_trials(page_of: Callable[..., AppTest], store: Store) -> None:
    searched(store)
    page = page_of("search", uid="tuning")
    text = text_of(page)
    for words in (
        "Search of tuning", "Not every entry was tuned", "24 of 24", "OutOfMemory", "It took net 24 trials",
        "PED-ANOVA", "random search is expected", "Selected", "Confirmed", "Gap",
    ):  # fmt: skip
        assert words in text, words
    assert [one.value for one in page.header] == [
        "Best so far", "Parameters and values", "Importance", "Values over learningRate",
        "learningRate and dropout together", "Epochs",
    ]  # fmt: skip
    assert len(charts_of(page)) == 6
    other = page_of("search", uid="tuning", across=OPTIMIZER, up=DROPOUT)
    assert "optimizer and dropout together" in [one.value for one in other.header]
    assert "see the search" in text_of(page_of("job", uid="tuning"))


def test_several_objectives_have_a_front(page_of: Callable[..., AppTest], store: Store) -> None:
    searched(store, objectives=[{"metric": "validation_loss"}, {"metric": "parameters"}])
    page = page_of("search", uid="tuning")
    assert "Front" in [one.value for one in page.header]
    assert "No other trial beats these in all objectives" in text_of(page)


def test_a_search_that_has_just_begun_and_a_job_without_one(page_of: Callable[..., AppTest], store: Store) -> None:
    base = plan(validate({**document(), "spec": {**document()["spec"], "entries": document()["spec"]["entries"][:1]}}))
    info = job_info(base, "begun", NOW)
    store.register(info)
    assert "No trial has a value yet" in text_of(page_of("search", uid="begun"))
    bare = document()
    del bare["spec"]["search"]
    bare["spec"]["entries"] = bare["spec"]["entries"][:1]
    store.register(job_info(plan(validate(bare)), "bare", NOW))
    assert "This job has no search" in text_of(page_of("search", uid="bare"))
    assert "see the search" not in text_of(page_of("job", uid="bare"))
    assert "There is no such job" in text_of(page_of("search", uid="nobody"))


@pytest.mark.timeout(300)
def test_a_browser_draws_each_chart(
    serve: Callable[[str], str], redis_server: RedisServer, tab: Page, store: Store, tmp_path: Path
) -> None:
    searched(store)
    page = tab
    page.set_viewport_size({"width": 1400, "height": 3400})
    page.goto(f"{serve(redis_server.url)}/search?uid=tuning")
    page.wait_for_selector("text=Epochs")
    page.wait_for_function("document.querySelectorAll('.vega-embed canvas, .vega-embed svg').length >= 6")
    page.screenshot(path=tmp_path / "search.png", full_page=True)
    assert page.locator("text=Not every entry was tuned").count() == 1

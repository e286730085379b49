"""Made-up searches, for pictures and tests of the page of a search."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from velodrome.keys import search_uid
from velodrome.plan import plan
from velodrome.results.records import EpochPoint, Observed, TrialRecord, TrialResult
from velodrome.results.registration import job_info
from velodrome.search.outcomes import outcome_of
from velodrome.search.state import SearchState
from velodrome.search.trials import search_info, search_plan, tuned
from velodrome.spec import validate
from velodrome.store import Store

AT = datetime(2026, 1, 1, tzinfo=UTC)
RATE, DROPOUT, OPTIMIZER = (
    "training.optimizer.learningRate",
    "training.regularization.dropout",
    "training.optimizer.name",
)


def document(**search: Any) -> dict[str, Any]:
    """A job of two entries, of which one is tuned."""
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


def searched(store: Store, uid: str = "tuning", at: datetime = AT, **search: Any) -> None:
    """A search in the store: trials 1, 5, 9, … ended early, and trial 3 failed."""
    made = document(**search)
    base = plan(validate(made))
    info = job_info(base, uid, at)
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
            curves=() if failed else curve, started_at=at, finished_at=at,
        )  # fmt: skip
        config = tuned(base.configs[trial.entry], suggestion.values)
        records.append(
            TrialRecord(
                result=result, config=config, observed=Observed(executor="local", run_seconds=1.0), accepted_at=at
            )
        )
        state.tell(index, outcome_of(state.keys, result, result.curves))
    store.accept(search_uid(uid), 0, records, [])
    store.keep_searched(uid, state.searched())

"""Searches on one machine, with real processes and a real Redis."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_race_executor import STANDIN, Track, folder, track
from tests.searched import RATE, SIZE, search_of_two
from velodrome import keys
from velodrome.board.searches import outcomes_in
from velodrome.board.viewing import objectives_of, read_objectives
from velodrome.board.warm_start import warm_points, warm_words
from velodrome.machine.processes.stop import Stop
from velodrome.machine.race import events
from velodrome.plan import Plan, local_uid, plan
from velodrome.results.searches import Suggestion
from velodrome.search.state import SearchState
from velodrome.search.study import EntryStudy, Told
from velodrome.search.trials import search_of, search_plan, searched_keys
from velodrome.spec import validate

__all__ = ["folder", "track"]  # fixtures


def document(name: str = "search", trials: int = 12, **search: Any) -> dict[str, Any]:
    """Two entries with the same parameters, which have the same search, and one that has none."""
    model = {"name": "velodrome/mlp"}
    return {
        "apiVersion": "velodrome.dev/v1alpha1",
        "kind": "BenchmarkJob",
        "metadata": {"name": name},
        "spec": {
            "dataset": {"name": "digits"},
            "budget": {"maxEpochs": 4},
            "evaluation": {"metrics": ["accuracy"]},
            "entries": [{"name": one, "model": model} for one in ("a", "b", "plain")],
            "search": search_of_two(trials, **search),
        },
    }


def job(name: str = "search", trials: int = 12, **search: Any) -> Plan:
    return plan(validate(document(name, trials, **search)))


def loss(values: dict[str, Any]) -> float:
    """What a trial of the stand-in has after its last epoch."""
    rate, size = math.log10(values[RATE]), math.log2(values[SIZE])
    return float(((rate + 2) ** 2 + (size - 6) ** 2 / 4 + 0.1) * 1.25)


def by_optuna_alone(made: Plan) -> list[dict[str, Any]]:
    """The suggestions of one entry, if each is told before the next one is asked for."""
    search = search_of(made.job)
    study, found = EntryStudy(search, "a", ["minimize"]), list[dict[str, Any]]()
    for number in range(search.max_trials):
        found.append(dict(study.suggest().values))
        study.tell(number, Told("Complete", (loss(found[-1]),)))
    return found


def suggestions(track: Track, uid: str) -> dict[int, Suggestion]:
    with track.store() as store:
        return store.suggestions(keys.search_uid(uid))


def values_of(found: dict[int, Suggestion], entry: str) -> list[dict[str, Any]]:
    return [dict(one.values) for one in found.values() if one.entry == entry]


def test_winners_run_again_on_fresh_seeds_and_only_these_rank(track: Track) -> None:
    made = job()
    finish = track.race(made)
    assert (finish.succeeded, finish.missing, finish.halt, finish.searched) == (6, 0, None, False)
    found, wanted = suggestions(track, finish.uid), by_optuna_alone(made)
    assert values_of(found, "a") == values_of(found, "b") == wanted
    best = min(range(12), key=lambda number: loss(wanted[number]))
    with track.store() as store:
        info = store.job(finish.uid)
        assert info is not None
        assert info.searched is not None
        chosen = info.searched.entries["a"]
        assert (chosen.number, dict(chosen.values)) == (best, wanted[best])
        assert chosen.objectives == {"validation_loss": pytest.approx(loss(wanted[best]))}
        assert (chosen.spent.trials, chosen.spent.epochs) == (12, 12 * 4)
        assert info.searched.entries["plain"].number is None
        seeds = {store.trial(keys.search_uid(finish.uid), index).result.seed for index in found}  # type: ignore[union-attr]
        ranked = {store.trial(finish.uid, index).result.seed for index in range(6)}  # type: ignore[union-attr]
        assert not seeds & ranked
        config = store.trial(finish.uid, 0).config  # type: ignore[union-attr]
        assert (config.training.optimizer.learning_rate, config.training.batch_size) == tuple(wanted[best].values())
        (reading,) = read_objectives(store, "digits", objectives_of(store, "digits"))
        assert {row.entry: len(row.samples) for row in reading.ranking.ranked} == {"a": 2, "b": 2, "plain": 2}
        assert [one.uid for one in store.jobs()] == [finish.uid], "search trials are of no board"
        assert [board.name for board in store.boards()] == ["digits"]


@pytest.mark.timeout(600)  # it starts the race again and again
def test_a_search_that_was_stopped_anywhere_goes_on_with_the_same_suggestions(track: Track) -> None:
    made, ran, halts = job(trials=5), list[int](), list[str | None]()
    while not halts or halts[-1] is not None:
        stop = Stop()

        def after_three(event: events.Event, stop: Stop = stop) -> None:
            if isinstance(event, events.TrialFinished) and len(track.finished()) == 4:
                stop.request()

        finish = track.race(made, after_three, stop)
        halts.append(finish.halt)
        ran += [event.trial.index for event in track.events_of(events.TrialFinished) if event.trial.config.searched]
    assert len(halts) > 3
    assert sorted(ran) == sorted(suggestions(track, local_uid(made))), "each trial once"
    assert values_of(suggestions(track, local_uid(made)), "b") == by_optuna_alone(made)


@pytest.mark.timeout(600)  # as above
def test_a_search_that_was_killed_anywhere_loses_no_suggestion_and_gives_none_twice(track: Track) -> None:
    """`kill -9` of the executor, twice on the way."""
    file = track.folder / "job.json"
    file.write_text(json.dumps(document(trials=5)))
    (track.folder / "script.json").write_text("{}")
    program = "import sys; from tests.integration.test_race_search import run_file; run_file(*sys.argv[1:])"
    command = [sys.executable, "-c", program, str(file), str(track.folder), track.redis.url]
    environ = {**os.environ, "STANDIN_SCRIPT": str(track.folder / "script.json")}
    before: dict[int, Suggestion] = {}
    for least in (2, 6):
        process = subprocess.Popen(command, env=environ, cwd=Path(__file__).parents[2])
        while len(found := suggestions(track, local_uid(job(trials=5)))) < least and process.poll() is None:
            time.sleep(0.02)
        process.kill()
        process.wait()
        assert before.items() <= found.items(), "what was suggested stays"
        before = found
    finish = track.race(job(trials=5))
    assert (finish.succeeded, finish.missing) == (6, 0)
    after = suggestions(track, finish.uid)
    assert before.items() <= after.items()
    assert values_of(after, "a") == by_optuna_alone(job(trials=5)) == values_of(after, "b")


def run_file(file: str, folder: str, redis: str) -> None:
    """The race of a file, in a process of its own."""
    from velodrome.machine.home import Home
    from velodrome.machine.race.connection import Connection
    from velodrome.machine.race.executor import RaceSettings
    from velodrome.machine.race.race import race

    made, stop = plan(validate(json.loads(Path(file).read_text()))), Stop()
    settings = RaceSettings(
        parallel=1, cpus=1, data=Path(folder), retry_failed=False, starter=(sys.executable, str(STANDIN))
    )
    connection = Connection(redis, lambda _: None, stop)
    race(made, Home(Path(folder) / "home"), connection, settings, lambda _: None, stop)


def test_parallel_trials_are_all_suggested_ahead(track: Track) -> None:
    made = job(trials=6)
    finish = track.race(made, parallel=3)
    found = suggestions(track, finish.uid)
    assert sorted(found) == sorted(number * 3 + place for number in range(6) for place in (0, 1))
    assert {one.known for index, one in found.items() if index < 3} == {""}


def test_an_entry_whose_trials_all_fail_ends_the_search_with_the_most_frequent_reason(track: Track) -> None:
    finish = track.race(job(trials=12), script={"search": {"": ["fail"], "3": ["code:9"]}})
    assert (finish.halt, finish.searched, finish.failed) == ("noWinner", True, 20)
    said = [note.text for note in track.events_of(events.Note)]
    assert any("a: none of its search trials" in text and "LossNotFinite" in text for text in said)
    with track.store() as store:
        assert store.trials(finish.uid) == {}


def test_failed_trials_are_counted_and_the_others_go_on(track: Track) -> None:
    finish = track.race(job(trials=6), script={"search": {"1": ["fail"], "2": ["fail"], "": ["searched"]}})
    assert finish.halt is None
    with track.store() as store:
        chosen = store.job(finish.uid).searched.entries["a"]  # type: ignore[union-attr]
    assert (chosen.spent.failed, chosen.spent.reasons) == (2, {"LossNotFinite": 2})


def test_a_budget_of_epochs_is_never_passed(track: Track) -> None:
    finish = track.race(job(trials=9, budget={"epochs": 18}), parallel=2)
    with track.store() as store:
        searched = store.job(finish.uid).searched  # type: ignore[union-attr]
    assert searched is not None
    assert {entry: searched.entries[entry].spent.epochs for entry in ("a", "b")} == {"a": 16, "b": 16}
    assert "budget" in searched.ended["a"]


def test_known_points_come_first(track: Track) -> None:
    point = {RATE: 0.01, SIZE: 64}
    finish = track.race(job(trials=3, enqueue=[point]))
    assert values_of(suggestions(track, finish.uid), "b")[0] == point


def test_hopeless_trials_end_early_and_a_search_made_again_knows_it(
    track: Track, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STANDIN_EPOCH_SECONDS", "1.2")
    points = [{RATE: 0.01, SIZE: 64}, {RATE: 0.9, SIZE: 256}, {RATE: 0.8, SIZE: 240}]
    made = job(trials=3, enqueue=points, pruner={"name": "ASHA", "reductionFactor": 2})
    finish = track.race(made)
    assert finish.halt is None
    with track.store() as store:
        chosen = store.job(finish.uid).searched.entries["a"]  # type: ignore[union-attr]
        assert (chosen.number, chosen.spent.pruned) == (0, 2)
        assert 4 + 2 <= chosen.spent.epochs < 12
        tried = search_plan(made, store.suggestions(keys.search_uid(finish.uid)))
        outcomes = outcomes_in(store, tried, keys.search_uid(finish.uid), searched_keys(made.job))
    again = SearchState(made)
    again.resume(tried.suggestions, outcomes)
    assert again.is_over()
    assert again.searched().entries["a"] == chosen


def test_it_is_deleted_with_its_job(track: Track) -> None:
    from velodrome.store.deletion import DeletionTarget, open_deleter

    finish = track.race(job(trials=2))
    with open_deleter(track.redis.url) as deleter:
        deleter.delete(DeletionTarget("digits", finish.uid))
    client = track.client()
    assert [name for name in client.scan_iter("*") if finish.uid.encode() in name] == []


def test_a_search_of_more_trials_carries_on_that_of_fewer(track: Track) -> None:
    few, many = job(trials=3), job(trials=5)
    first = track.race(few)
    second = track.race(many)
    assert first.uid != second.uid
    ran = [event.trial.repeat for event in track.events_of(events.TrialFinished) if event.trial.config.searched]
    assert sorted(set(ran)) == [3, 4]
    assert values_of(suggestions(track, second.uid), "a") == by_optuna_alone(many)


def test_a_winner_that_is_the_same_after_more_trials_keeps_what_confirmed_it(track: Track) -> None:
    few, many = job(trials=2), job(trials=3)
    first, values = track.race(few), by_optuna_alone(many)
    assert min(values, key=loss) == values[0]
    second = track.race(many)
    with track.store() as store:
        before, after = (store.records(uid, 0, 6) for uid in (first.uid, second.uid))
        info = store.job(second.uid)
    assert [one.result.metrics for one in after] == [one.result.metrics for one in before]
    assert {one.taken_from.job_uid for one in after if one.taken_from} == {first.uid}
    assert all(one.taken_from for one in after), "no trial confirms anything again"
    assert info is not None
    assert info.searched is not None
    assert info.searched.entries["a"].spent.trials == 3
    assert second.succeeded == 6


def _from(**source: Any) -> dict[str, Any]:
    return {"from": source}


def test_the_best_points_of_another_search_are_tried_early_and_measured_again(track: Track) -> None:
    made = job(trials=4)
    first = track.race(made)
    best = sorted(by_optuna_alone(made), key=loss)
    warm = job("warm", trials=3, seed=9, **_from(job="search", points=2))
    second = track.race(warm)
    assert values_of(suggestions(track, second.uid), "a")[:2] == best[:2]
    assert values_of(suggestions(track, second.uid), "a")[2] not in best
    notes = [note.text for note in track.events_of(events.Note)]
    assert "the best points of job search are tried early, and measured again: 2 of a, 2 of b" in notes
    ran = [event.trial.repeat for event in track.events_of(events.TrialFinished) if event.trial.config.searched]
    assert ran == [0, 0, 1, 1, 2, 2]
    with track.store() as store:
        both = job("both", **_from(board="digits", points=9))
        assert warm_points(store, both, "both")["a"][0] == best[0]
        smaller = [{"name": SIZE, "type": "Integer", "low": 16, "high": 20, "entries": ["a"]},
                   {"name": RATE, "type": "LogFloat", "low": 1e-4, "high": 1, "entries": ["a"]}]  # fmt: skip
        narrow = job("narrow", parameters=smaller, **_from(job=first.uid))
        wanted = [{name: point[name] for name in (SIZE, RATE) if name == RATE or point[SIZE] <= 20} for point in best]
        assert list(warm_points(store, narrow, "narrow")["a"]) == wanted
        nowhere = job("nowhere", **_from(job="nothing"))
        assert warm_points(store, nowhere, "nowhere") == {}
        assert "nothing is taken" in warm_words(nowhere, {})

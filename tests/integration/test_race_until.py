"""Races until decided on one machine, with real processes and a real Redis."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_race_executor import Track, folder, track
from velodrome.board.reading import read_job
from velodrome.board.rounds import read_rounds
from velodrome.cli.files import plans_in
from velodrome.machine.home import Home
from velodrome.machine.processes.stop import Stop
from velodrome.machine.race import events
from velodrome.machine.race.executor import Finish
from velodrome.machine.redis.server import OwnRedis
from velodrome.metrics.catalogue import MetricKey
from velodrome.plan import Plan, local_uid, plan
from velodrome.results.rounds import asked
from velodrome.spec import validate
from velodrome.store import open_store

__all__ = ["folder", "track"]  # fixtures

EXAMPLE = Path(__file__).parents[2] / "deploy/examples/until.yaml"
# With the noise below, the first look tells the first from the others, and the third tells these two apart.
MEANS = {"far": 0.7, "good": 0.958, "best": 0.965}


def job(name: str = "until", *, repeats: int = 4, most: int = 16, **trials: Any) -> Plan:
    model = {"name": "velodrome/mlp"}
    document = {
        "apiVersion": "velodrome.dev/v1alpha1",
        "kind": "BenchmarkJob",
        "metadata": {"name": name},
        "spec": {
            "dataset": {"name": "digits"},
            "evaluation": {"metrics": ["accuracy"]},
            "entries": [{"name": entry, "model": model} for entry in MEANS],
            "trials": {"repeats": repeats, "until": {"decided": ["accuracy"], "maxRepeats": most}, **trials},
        },
    }
    return plan(validate(document))


def values(made: Plan) -> dict[int, list[str]]:
    """What each trial of the stand-in measures: the same for the same trial, whenever it runs."""
    noise = random.Random(16)  # noqa: S311 - figures, not secrets
    return {trial.index: [f"accuracy:{MEANS[trial.entry] + noise.gauss(0, 0.005):.6f}"] for trial in made.trials}


def test_seeds_are_added_only_for_entries_that_are_undecided(track: Track) -> None:
    made = job()
    finish = track.race(made, script=values(made))
    assert finish.rounds is not None
    assert finish.rounds.finished
    assert (finish.missing, finish.halt) == (0, None)
    assert track.finished() == list(asked(made, finish.rounds)) != list(range(len(made)))
    assert finish.rounds.repeats == {"far": 4, "good": 8, "best": 8}
    rounds = track.events_of(events.RoundBegun)
    assert [begun.stopped for begun in rounds] == [("far",), (), ("good", "best")]
    assert [begun.pending for begun in rounds] == [(13, 14, 16, 17), (19, 20, 22, 23), ()]
    totals = [event.total for event in track.events_of(events.TrialFinished)]
    assert (totals[0], totals[-1]) == (12, finish.succeeded)
    with track.store() as store:
        known = store.job(finish.uid)
        (reading,) = read_job(store, finish.uid, [MetricKey.of("accuracy")])
    assert known is not None
    assert known.rounds == finish.rounds
    assert {row.entry: len(row.samples) for row in reading.ranking.ranked} == finish.rounds.repeats
    assert reading.ranking.leaders == ("best",)


def test_a_race_that_was_stopped_anywhere_comes_to_the_same_decision(track: Track) -> None:
    undisturbed = track.race(job("whole"), script=values(job("whole")))
    made, ran, ends = job("stopped"), list[int](), list[Finish]()
    while not ends or ends[-1].halt is not None:
        stop = Stop()

        def after_three(event: events.Event, stop: Stop = stop) -> None:
            if isinstance(event, events.TrialFinished) and len(track.finished()) == 3:
                stop.request()

        ends.append(track.race(made, after_three, stop, script=values(made)))
        ran += track.finished()
    assert ends[-1].rounds == undisturbed.rounds
    assert sorted(ran) == sorted(asked(made, undisturbed.rounds)), "each trial once"


def test_a_finished_race_runs_nothing_more(track: Track) -> None:
    made = job()
    first = track.race(made, script=values(made))
    again = track.race(made, script=values(made))
    assert track.finished() == []
    assert again == first


def test_more_seeds_by_hand_take_over_and_are_marked(track: Track) -> None:
    made = job()
    first = track.race(made, script=values(made))
    assert first.rounds is not None
    more = job(repeats=5, most=20)
    assert local_uid(more) != local_uid(made)
    second = track.race(more, script=values(more))
    ran = set(track.finished())
    assert not ran & set(range(12)), "what was measured before is taken over"
    assert 12 in ran, "the fifth seed of the entry that had four"
    with track.store() as store:
        (reading,) = read_job(store, second.uid, [MetricKey.of("accuracy")])
    notes = {row.entry: row.note for row in reading.ranking.ranked}
    assert "seed 4 was added when the others were known" in notes["far"]


def test_a_trial_that_failed_and_is_run_again_is_looked_at_again(track: Track) -> None:
    made = job(maxFailed=1)
    script = values(made)
    failing = {**script, 2: ["fail"]}
    first = track.race(made, script=failing)
    assert first.rounds is not None
    assert "best" not in first.rounds.stopped
    second = track.race(made, script=script, retry_failed=True)
    assert second.rounds is not None
    assert second.rounds == track.race(job("other", maxFailed=1), script=script).rounds
    assert "best" in second.rounds.stopped


@pytest.mark.timeout(600)
def test_the_example_is_raced_and_killed_and_comes_to_the_decision_that_its_records_give(folder: Path) -> None:
    command = [sys.executable, "-m", "velodrome", "run", str(EXAMPLE), "--json", "--no-rehearsal", "--cpus", "1"]
    home, environ = folder / "home", {**os.environ, "VELODROME_HOME": str(folder / "home")}

    def run(*, kill: bool) -> list[dict[str, Any]]:
        """What it says. It is killed once a trial of its second round has started."""
        said: list[dict[str, Any]] = []
        with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            assert process.stdout is not None
            for line in process.stdout:
                said.append(json.loads(line))
                if kill and said[-1]["event"] == "started" and any(one["event"] == "round" for one in said):
                    os.kill(process.pid, signal.SIGKILL)
                    break  # the Redis that it started lives on, and holds the other end of the pipe
        return said

    before, after = run(kill=True), run(kill=False)
    assert "rankings" not in {one["event"] for one in before}
    assert after[-1]["event"] == "rankings"
    ran = [one["index"] for one in (*before, *after) if one["event"] == "finished"]
    (race,) = plans_in(EXAMPLE)
    with OwnRedis(Home(home)) as redis, open_store(redis.url) as store:
        found, known = read_rounds(store, race, local_uid(race)), store.job(local_uid(race))
    assert found is not None
    assert known is not None
    assert (found.finished, known.rounds) == (True, found)
    assert len(ran) == len(set(ran)), "no trial has run twice"
    # The trial that ran at the kill may have reported before it ended too: then the second run only collects it.
    assert sorted({*ran, before[-1]["index"]}) == sorted(asked(race, found)), "each trial that was asked for has run"
    assert found.repeats["narrow"] < found.repeats["wide"]

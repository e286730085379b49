"""What a race looks like to those who watch it."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from velodrome.cli.progress import JsonLines, Lines, Live, Seen, fitting
from velodrome.cli.trial import sparkline
from velodrome.machine.race import events
from velodrome.plan import Plan, plan
from velodrome.results.records import Phase, Progress, TrialResult
from velodrome.results.searches import Suggestion
from velodrome.search.trials import search_plan
from velodrome.spec import read_jobs

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "deploy/examples/digits.yaml"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def made() -> Plan:
    (job,) = read_jobs(EXAMPLE)
    return plan(job)


def started(made: Plan, index: int) -> events.TrialStarted:
    return events.TrialStarted(made.trial(index), f"log-{index}", 1000 + index)


def progressed(made: Plan, index: int, phase: Phase = "Training") -> events.TrialProgressed:
    progress = Progress(
        job_uid="u",
        index=index,
        attempt="x",
        phase=phase,
        epoch=3,
        epochs=15,
        fraction=0.2,
        loss=0.51239,
        samples_per_second=12345.6,
        at=NOW,
    )
    return events.TrialProgressed(made.trial(index), progress)


def finished(made: Plan, index: int, done: int, reason: str | None = None) -> events.TrialFinished:
    trial = made.trial(index)
    result = TrialResult(
        job_uid="u",
        index=index,
        entry=trial.entry,
        repeat=trial.repeat,
        seed=trial.seed,
        trial_id=trial.id,
        attempt="x",
        outcome="Failed" if reason else "Succeeded",
        reason=reason,
        message="the loss became nan" if reason else None,
        metrics={} if reason else {"accuracy": 0.9742, "latency_p50_seconds{batch_size=1}": 0.000123},
        started_at=NOW,
        finished_at=NOW + timedelta(seconds=2.9),
    )
    return events.TrialFinished(trial, result, f"log-{index}", done, len(made))


def race(made: Plan) -> list[events.Event]:
    return [
        events.Opened("u", made, tuple(range(2, 25)), 1, 2),
        events.Waiting("the runner is warming up"),
        events.Resumed(),
        started(made, 2),
        progressed(made, 2),
        finished(made, 2, 3),
        events.Waiting("the runner is warming up"),
        started(made, 3),
        events.TrialWithdrawn(made.trial(3)),
        events.Note("the starter ended"),
        started(made, 3),
        finished(made, 3, 4, "LossNotFinite"),
    ]


def test_a_log_gets_a_line_for_everything_that_matters(made: Plan) -> None:
    lines: list[str] = []
    watch = Lines(lines.append)
    for event in race(made):
        watch(event)
    assert lines[0] == "digits: 23 of 25 trials to run, 2 are finished already; one at a time, 2 CPUs"
    assert lines[1] == "waiting: the runner is warming up"
    assert re.fullmatch(
        r"\[3/25, about \S.* left\] mlp    seed 0     2\.9 s  accuracy 97\.42 %, speed 123 µs.*", lines[2]
    )
    assert lines[3] == "lstm seed 0: its process had to end; it has to run again"
    assert lines[4] == "note: the starter ended"
    assert lines[5].startswith("[4/25, about ")
    assert "] lstm   seed 0  failed after 2.9 s: LossNotFinite: the loss became nan\n" in lines[5]
    assert lines[5].endswith("log-3"), "a path is the end of its line"
    assert len(lines) == 6


def test_a_finished_race_says_how_to_run_it_again(made: Plan) -> None:
    lines: list[str] = []
    Lines(lines.append)(events.Opened("u", made, (), 1, 2))
    assert lines == ["digits: all 25 trials are finished already (run them again with --fresh)"]


def test_programs_get_every_event_as_json(made: Plan) -> None:
    reported: list[Mapping[str, Any]] = []
    watch = JsonLines(reported.append, lambda: NOW)
    for event in race(made):
        watch(event)
    assert [one["event"] for one in reported] == [
        "opened", "waiting", "resumed", "started", "progress", "finished", "waiting", "started", "withdrawn", "note",
        "started", "finished",
    ]  # fmt: skip
    assert reported[3] == {
        "at": "2026-01-01T00:00:00+00:00",
        "event": "started",
        "index": 2,
        "entry": "mlp",
        "repeat": 0,
        "seed": 0,
        "log": "log-2",
        "pid": 1002,
    }
    assert reported[4]["loss"] == 0.51239
    assert reported[5]["metrics"]["accuracy"] == 0.9742
    assert reported[-1]["reason"] == "LossNotFinite"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_a_bar_for_the_race_and_one_for_each_running_trial(
    made: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    terminal = Terminal()
    with Live(terminal) as watch:
        for event in race(made):
            watch(event)
        drawn = terminal.getvalue()
    assert "about" in drawn
    assert "3 of 25 trials" in drawn
    assert "mlp seed 0" in drawn
    assert re.search("✓\x1b\\[0m mlp    seed 0 ", drawn), "at once: the bars are drawn over what is on their line"
    assert re.search("✗\x1b\\[0m lstm   seed 0 ", drawn)
    assert "LossNotFinite" in drawn
    assert "the runner is warming up" in drawn


def test_a_search_shows_the_best_so_far_of_each_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    (job,) = read_jobs(ROOT / "deploy/examples/search.yaml")
    points = {index: Suggestion(entry=("mlp", "cnn")[index % 2], number=index // 2, values={}) for index in range(2)}
    made = search_plan(plan(job), points)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    terminal = Terminal()
    with Live(terminal) as watch:
        watch(events.Opened("u", made, tuple(range(1, 40)), 1, 2))
        watch(started(made, 1))
        ended = finished(made, 1, 2, "Pruned")
        watch(
            replace(ended, said="ended early after 2 epochs; best 0.2 nats by trial 0", best="best 0.2 nats by trial 0")
        )
        drawn = terminal.getvalue()
    assert re.search("–\x1b\\[0m cnn trial 0 .* ended early after 2 epochs", drawn), "it did not fail"
    assert re.search(" cnn .* best 0.2 nats by trial 0 ", drawn)


def test_nothing_is_drawn_while_a_trial_is_being_timed(made: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    terminal, now = Terminal(), [0.0]
    with Live(terminal, lambda: now[0]) as watch:
        watch(events.Opened("u", made, tuple(range(25)), 2, 1))
        for index in (0, 1):
            watch(started(made, index))
        watch(progressed(made, 0, "Timing"))
        before = terminal.getvalue()
        now[0] = 1000.0
        watch(progressed(made, 1))
        assert terminal.getvalue() == before
        watch(finished(made, 0, 1))
        watch(progressed(made, 1))
        assert len(terminal.getvalue()) > len(before)


def test_the_time_left_is_unknown_until_a_trial_has_ended(made: Plan) -> None:
    now = [0.0]
    seen = Seen(clock=lambda: now[0])
    seen.take(events.Opened("u", made, tuple(range(25)), 1, 2))
    seen.take(started(made, 0))
    assert seen.left() is None
    now[0] = 10.0
    seen.take(finished(made, 0, 1))
    assert seen.left() == pytest.approx(240.0)
    seen.take(started(made, 1))
    now[0] = 14.0
    assert seen.left() == pytest.approx(236.0)
    seen.take(events.TrialWithdrawn(made.trial(1)))
    assert seen.left() == pytest.approx(240.0)


@pytest.mark.parametrize(
    ("values", "drawn"),
    [
        ([1.0], "▁"),
        ([2.0, 2.0], "▁▁"),
        ([0.0, 1.0], "▁█"),
        ([7.0, 5.0, 3.0, 1.0, 0.0], "█▆▄▂▁"),
        ([0.0, 7.0, 3.0], "▁█▄"),
    ],
)
def test_a_curve_in_one_line(values: list[float], drawn: str) -> None:
    assert sparkline(values) == drawn


def test_a_long_curve_keeps_its_ends() -> None:
    drawn = sparkline([float(value) for value in range(1000)], width=10)
    assert len(drawn) == 10
    assert (drawn[0], drawn[-1]) == ("▁", "█")


VALUES = ["accuracy 97.42 %", "speed 1.234 ms", "efficiency 412 MiB"]


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (None, "cnn  accuracy 97.42 %, speed 1.234 ms, efficiency 412 MiB"),
        (60, "cnn  accuracy 97.42 %, speed 1.234 ms, efficiency 412 MiB"),
        (50, "cnn  accuracy 97.42 %, speed 1.234 ms and 1 more"),
        (10, "cnn  accuracy 97.42 % and 2 more"),
    ],
)
def test_a_line_has_as_many_values_as_fit(width: int | None, shown: str) -> None:
    assert fitting("cnn  ", VALUES, width) == shown
    assert fitting("cnn  ", [], width) == "cnn"

"""What got worse, pins and accepted changes, by the commands, over a real Redis with made-up results."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner, Result

from velodrome.cli.app import app
from velodrome.store import open_store

sys.path.append(str(Path(__file__).parents[2]))  # as a person does who wants to look

from tools.sample_results import Rider, finish, race

if TYPE_CHECKING:
    from tests.integration.conftest import RedisServer

NOW = datetime(2026, 1, 1, tzinfo=UTC)
QUICK = {
    "cnn": Rider("velodrome/cnn", 0.98, 0.001, 4e8, 0.001),
    "mlp": Rider("velodrome/mlp", 0.95, 0.0005, 3e8, 0.001),
}
SLOW = QUICK | {"cnn": Rider("velodrome/cnn", 0.98, 0.002, 4e8, 0.001)}
Command = Callable[..., Result]


@pytest.fixture
def velodrome(redis_server: RedisServer) -> Command:
    """Runs a command against a Redis in which the third night's cnn is slow, and stays so."""
    nights: tuple[Mapping[str, Rider], ...] = (QUICK, QUICK, SLOW, SLOW)
    with open_store(redis_server.url) as store:
        for night, riders in enumerate(nights, start=1):
            made = race(
                f"uid-{night}", NOW + timedelta(days=night), name=f"night-{night}", board="digits", riders=riders
            )
            finish(store, made)

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, list(arguments), env={"VELODROME_REDIS_URL": redis_server.url, "TZ": "UTC"})

    return run


def verdict(result: Result, entry: str = "cnn", objective: str = "speed") -> dict[str, Any]:
    compared = json.loads(result.output)["comparisons"]
    (found,) = (one for one in compared if (one["entry"], one["objective"]) == (entry, objective))
    assert isinstance(found, dict)
    return found


def test_the_newest_job_is_shown_and_a_regression_ends_with_1(velodrome: Command) -> None:
    shown = velodrome("regressions")
    assert shown.exit_code == 1
    first = shown.output.splitlines()[0]
    assert first.startswith("Regressed  cnn, speed: worse: ")
    assert "over 2 jobs up to night-2" in first
    assert "(+103 %" in first
    assert shown.output.count("\n") == 6
    assert velodrome("regressions", "night-2").exit_code == 0


def test_accepting_a_change_silences_it_and_undoing_that_does_not_last(velodrome: Command) -> None:
    assert velodrome("ack", "night-3", "cnn", "--objective", "speed", "--note", "traded").exit_code == 0
    third, fourth = velodrome("regressions", "night-3", "--json"), velodrome("regressions", "--json")
    assert (third.exit_code, fourth.exit_code) == (0, 0)
    assert (verdict(third)["verdict"], verdict(third)["acknowledged"]) == ("Regressed", True)
    assert (verdict(fourth)["verdict"], verdict(fourth)["baseline_uid"]) == ("Unchanged", "uid-3")

    assert velodrome("ack", "night-3", "cnn", "--undo").exit_code == 0
    assert velodrome("regressions").exit_code == 1


def test_a_pin_is_set_shown_and_cleared(velodrome: Command) -> None:
    assert "Nothing is pinned" in velodrome("baseline", "show").output
    assert velodrome("baseline", "set", "night-3", "cnn", "--objective", "speed").exit_code == 0
    (pin,) = json.loads(velodrome("baseline", "show", "--json").output)["baselines"]
    assert (pin["entry"], pin["metric_key"], pin["job_uid"]) == ("cnn", "latency_p50_seconds{batch_size=1}", "uid-3")
    assert "uid-3" in velodrome("baseline", "show", "--board", "digits").output
    found = velodrome("regressions", "--json")
    assert verdict(found)["baseline_uid"] == "uid-3"
    assert verdict(found)["verdict"] == "Unchanged"
    assert verdict(found, objective="accuracy")["baseline_uid"] == "uid-3"  # as the newest, not by the pin

    assert velodrome("baseline", "clear", "digits", "cnn").exit_code == 0
    assert verdict(velodrome("regressions", "--json"))["verdict"] == "Regressed"
    again = velodrome("baseline", "clear", "digits", "cnn")
    assert again.exit_code == 2
    assert "nothing is pinned for cnn" in again.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("ack", "night-3", "gru"), "no entry gru"),
        (("ack", "night-9", "cnn"), "no job night-9"),
        (("baseline", "set", "night-3", "cnn", "--objective", "size"), "no objective 'size'"),
        (("baseline", "clear", "nowhere", "cnn", "--objective", "speed"), "no board nowhere"),
    ],
)
def test_what_is_not_there_is_named_with_what_is(velodrome: Command, arguments: tuple[str, ...], words: str) -> None:
    result = velodrome(*arguments)
    assert result.exit_code == 2
    assert words in " ".join(result.output.split())


def test_undoing_what_was_never_accepted_says_so(velodrome: Command) -> None:
    nothing = velodrome("ack", "night-3", "cnn", "--undo")
    assert nothing.exit_code == 2
    assert "no change of cnn in job night-3 is accepted, so nothing is undone" in " ".join(nothing.output.split())
    assert velodrome("ack", "night-3", "cnn", "--objective", "speed").exit_code == 0
    other = velodrome("ack", "night-3", "cnn", "--objective", "accuracy", "--undo")
    assert other.exit_code == 2
    assert "no accuracy of cnn in job night-3 is accepted" in " ".join(other.output.split())
    undone = velodrome("ack", "night-3", "cnn", "--undo")
    assert undone.exit_code == 0
    assert "cnn's latency_p50_seconds{batch_size=1} in job night-3" in undone.output
    assert "accuracy" not in undone.output
    assert velodrome("ack", "night-3", "cnn", "--undo").exit_code == 2


def test_a_note_in_the_c_locale_is_kept_as_it_was_meant(velodrome: Command) -> None:
    note = "geändert".encode().decode("ascii", "surrogateescape") + "\udcff"
    assert velodrome("baseline", "set", "night-3", "cnn", "--note", note).exit_code == 0
    (pin,) = json.loads(velodrome("baseline", "show", "--json").output)["baselines"]
    assert pin["note"] == "geändert\\xff"


def test_a_regression_that_nobody_reads_or_can_be_written_is_not_1(
    velodrome: Command, redis_server: RedisServer
) -> None:
    def ended(rest: str, **environ: str) -> subprocess.CompletedProcess[str]:
        command = f"set -o pipefail; {sys.executable} -m velodrome {rest}"
        environ = {**os.environ, "VELODROME_REDIS_URL": redis_server.url, **environ}
        return subprocess.run(
            ["bash", "-c", command],
            env=environ,
            capture_output=True,
            encoding="utf-8",
            errors="backslashreplace",
            check=False,
        )

    assert velodrome("regressions").exit_code == 1
    assert ended("regressions > /dev/null").returncode == 1
    gone = ended("regressions | true")
    assert (gone.returncode, gone.stderr) == (141, "")
    full = ended("regressions --json > /dev/full")
    assert full.returncode == 74
    assert full.stderr.count("\n") == 1
    head = ended("results | head -0")
    assert (head.returncode, head.stderr) == (141, "")
    narrow = ended("results digits", PYTHONIOENCODING="latin-1")
    assert (narrow.returncode, narrow.stderr) == (0, "")

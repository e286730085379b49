"""Commands that read and move results, over a real Redis with made-up results."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import pytest
from typer.testing import CliRunner, Result

from velodrome.cli.app import app
from velodrome.store import open_store

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT))  # the tests fill Redis as a person does who wants to look: with tools/

from tools.sample_results import DIGITS, Rider, accept, finish, race  # noqa: E402

NOW = datetime(2026, 1, 1, tzinfo=UTC)
Command = Callable[..., Result]


class Server(Protocol):
    @property
    def url(self) -> str: ...


@pytest.fixture
def velodrome(redis_server: Server) -> Command:
    """Runs a command against an empty Redis."""

    def run(*arguments: str, text: str | None = None) -> Result:
        return CliRunner().invoke(
            app, list(arguments), input=text, env={"VELODROME_REDIS_URL": redis_server.url, "TZ": "UTC"}
        )

    return run


@pytest.fixture
def filled(velodrome: Command, redis_server: Server) -> Command:
    """Two boards: one done, with failures, a conflict and values of two machines; one that runs."""
    nan = ("LossNotFinite", "the loss became nan in epoch 4: lower training.optimizer.learningRate")
    wide = Rider("velodrome/lstm", 0.95, 0.0011, 520e6, spread=0.01)
    done = race("sample-digits", NOW - timedelta(minutes=7), riders={**DIGITS, "lstm-wide": wide})
    old = race("sample-old", NOW - timedelta(days=3), name="digits-laptop", board="digits", machine="Sample laptop CPU")
    running = race("sample-running", NOW - timedelta(seconds=50), name="fashion", board="fashion-mnist")
    with open_store(redis_server.url) as store:
        finish(store, old)
        finish(store, done, {"lstm-wide": nan})
        accept(store, done, [done.record(done.trials[3], attempt="sample-2")])
        store.register(running.info)
        records = [running.record(trial) for trial in running.trials[:11]]
        accept(store, running, records, [running.progress(running.trials[11], 0.5, NOW)])
    return velodrome


def objective(result: Result, name: str) -> dict[str, Any]:
    (found,) = (one for one in json.loads(result.output)["objectives"] if one["name"] == name)
    assert isinstance(found, dict)
    return found


# results


def test_results_show_each_objective_with_ranks_intervals_and_conditions(filled: Command) -> None:
    done = filled("results", "digits")
    assert done.exit_code == 0
    for words in (
        "board digits",
        "accuracy  accuracy, higher is better",
        "speed  latency_p50_seconds{batch_size=1}, lower is better",
        "efficiency  peak_memory_bytes, lower is better",
        "95 % interval",
        "1-",
        "not ranked: lstm-wide: 2 of 5 trials failed: LossNotFinite",
        "Holds for: digits 5a5a5a5a",
        "Sample CPU @ 2.00GHz",
    ):
        assert words in done.output


def test_results_as_json_agree_with_the_table_and_keep_every_digit(filled: Command) -> None:
    accuracy = objective(filled("results", "digits", "--json"), "accuracy")
    assert accuracy["metric"] == "accuracy"
    assert accuracy["unit"] == "ratio"
    assert accuracy["cohort"]["words"].startswith("digits 5a5a5a5a")
    ranked = accuracy["ranked"]
    assert {row["entry"] for row in ranked} == {"cnn", "cnn-l1", "mlp", "lstm", "gru"}
    best = ranked[0]
    assert best["rank"] == 1
    assert best["n"] == 5
    assert best["low"] < best["mean"] < best["high"]
    assert best["mean"] == pytest.approx(sum(best["samples"].values()) / 5)
    assert sorted(best["samples"], key=int) == list("01234")
    (held,) = accuracy["unranked"]
    assert (held["entry"], held["why"], held["planned"], len(held["samples"])) == ("lstm-wide", "Failed", 5, 3)


def test_results_as_csv_have_a_line_for_each_entry_of_each_objective(filled: Command) -> None:
    lines = list(csv.DictReader(io.StringIO(filled("results", "digits", "--csv").output)))
    assert len(lines) == 3 * 6
    wide = [line for line in lines if line["entry"] == "lstm-wide"]
    assert [line["rank"] for line in wide] == ["", "", ""]
    assert all("LossNotFinite" in line["unranked"] for line in wide)
    accuracy = objective(filled("results", "digits", "--json"), "accuracy")
    (cnn,) = (line for line in lines if line["entry"] == "cnn" and line["objective"] == "accuracy")
    (same,) = (row for row in accuracy["ranked"] if row["entry"] == "cnn")
    assert float(cnn["mean"]) == same["mean"]
    assert int(cnn["rank"]) == same["rank"]


def test_one_objective_by_its_name_or_by_its_key(filled: Command) -> None:
    by_name = json.loads(filled("results", "digits", "--objective", "speed", "--json").output)
    by_key = json.loads(
        filled("results", "digits", "--objective", "latency_p50_seconds{batch_size=1}", "--json").output
    )
    assert by_name == by_key
    assert [one["name"] for one in by_name["objectives"]] == ["speed"]
    wrong = filled("results", "digits", "--objective", "beauty")
    assert wrong.exit_code == 2
    assert "accuracy, speed, efficiency" in wrong.stderr


def test_other_conditions_are_another_ranking(filled: Command) -> None:
    found = json.loads(filled("results", "digits", "--cohorts", "--json").output)["cohorts"]["speed"]
    assert len(found) == 2
    machines = {one["conditions"]["hardware"]["cpu_model"]: one["id"] for one in found}
    laptop = json.loads(filled("results", "digits", "--cohort", machines["Sample laptop CPU"], "--json").output)
    assert [one["name"] for one in laptop["objectives"]] == ["speed"]  # a cohort belongs to one metric
    assert "Sample laptop CPU" in laptop["objectives"][0]["cohort"]["words"]
    shown = filled("results", "digits", "--cohorts").output
    assert machines["Sample laptop CPU"] in shown
    assert "CPU: Sample laptop CPU" in shown
    wrong = filled("results", "digits", "--cohort", "0123")
    assert wrong.exit_code == 2
    assert "--cohorts" in wrong.stderr


def test_the_newest_board_is_shown_where_none_is_named_and_a_misspelt_one_is_guessed(filled: Command) -> None:
    assert json.loads(filled("results", "--json").output)["board"] == "fashion-mnist"
    wrong = filled("results", "digit")
    assert wrong.exit_code == 2
    assert "did you mean digits?" in wrong.stderr


def test_an_unmeasurable_metric_is_unranked_with_the_runners_reason(velodrome: Command, redis_server: Server) -> None:
    energy = {"name": "energy", "metric": "energy_joules"}
    with open_store(redis_server.url) as store:
        finish(store, race("green", NOW, name="green", objectives=(energy,)))
    shown = velodrome("results").output
    assert "Nothing can be ranked yet." in shown
    assert "not ranked: cnn: energy_joules was not measured: this device has no energy counter" in shown


def test_nothing_yet_says_how_to_begin(velodrome: Command) -> None:
    done = velodrome("results")
    assert done.exit_code == 2
    assert "velodrome run" in done.stderr
    assert "velodrome run" in velodrome("jobs").output
    assert json.loads(velodrome("jobs", "--json").output) == {"schema": 1, "jobs": []}


def test_json_and_csv_exclude_each_other(filled: Command) -> None:
    assert filled("results", "--json", "--csv").exit_code == 2


# jobs and show


def test_jobs_are_listed_with_how_they_stand(filled: Command) -> None:
    found = json.loads(filled("jobs", "--board", "digits", "--json").output)["jobs"]
    assert [(job["name"], job["trials"], job["succeeded"], job["failed"]) for job in found] == [
        ("digits", 30, 28, 2),
        ("digits-laptop", 25, 25, 0),
    ]
    assert "sample-running" in filled("jobs").output
    assert len(json.loads(filled("jobs", "--limit", "1", "--json").output)["jobs"]) == 1


def test_a_trial_is_shown_with_all_that_is_known(filled: Command) -> None:
    shown = filled("show", "digits/cnn/2")
    assert shown.exit_code == 0
    for words in (
        "digits/cnn/2   trial 12 of sample-digits, board digits",
        "Succeeded at 2",
        "seed 2",
        "latency_p50_seconds{batch_size=1}",
        "energy_joules",
        "not measured: this device has no energy counter",
        "curves, 15 epochs",
        "train_loss",
        "█",
        "training.optimizer.learningRate",
        "hardware.cpu_model",
        "1294 train, 143 validation, 360 test",
    ):
        assert words in shown.output
    assert filled("show", "sample-digits/12").output == shown.output


def test_the_most_confused_classes_of_a_trial_are_shown(filled: Command) -> None:
    shown = filled("show", "digits/gru/2").output
    assert "right class, and how many were predicted as which" in shown
    section = shown.partition("most confused, right class as predicted class\n")[2].partition("\n\n")[0]
    pairs = [re.fullmatch(r"  (\d) as (\d)  (\d+) of 36 samples, \d+\.\d %", text) for text in section.split("\n")]
    assert len(pairs) == 5
    counts = [int(pair[3]) for pair in pairs if pair and pair[1] != pair[2]]
    assert len(counts) == 5
    assert counts == sorted(counts, reverse=True)
    assert "most confused" not in filled("show", "digits/lstm-wide/1").output  # it failed


def test_a_failed_trial_is_shown_with_its_reason_and_the_end_of_its_log(filled: Command) -> None:
    shown = filled("show", "digits/lstm-wide/1").output
    assert "LossNotFinite: the loss became nan in epoch 4" in shown
    assert "end of the log\n  Loading: digits\n" in shown


def test_a_trial_that_conflicts_runs_or_waits_says_so(filled: Command) -> None:
    assert "Another result of this trial differs" in filled("show", "sample-digits/3").output
    assert "It runs, or was interrupted: Training" in filled("show", "fashion/11").output
    assert "has not run yet" in filled("show", "fashion/20").output


def test_a_trial_as_json(filled: Command) -> None:
    found = json.loads(filled("show", "digits/cnn/2", "--json").output)
    assert found["index"] == 12
    assert found["record"]["result"]["seed"] == 2
    assert len(found["curves"]) == 15
    assert json.loads(filled("show", "fashion/20", "--json").output)["record"] is None


@pytest.mark.parametrize(
    ("run", "says"),
    [
        ("nothing/cnn/0", "there is no job nothing"),
        ("digits/cnm/0", "digits/ENTRY/REPEAT with an entry of cnn"),
        ("digits/cnn/5", "repeat of 0 to 4"),
        ("digits/30", "index of 0 to 29"),
        ("digits", "digits/INDEX"),
        ("digits/cnn/0/1", "is no trial of digits"),
    ],
)
def test_a_trial_that_is_not_there_is_answered_with_what_there_is(filled: Command, run: str, says: str) -> None:
    done = filled("show", run)
    assert done.exit_code == 2
    assert says in " ".join(done.stderr.split())


def test_the_newest_job_of_a_name_is_meant(velodrome: Command, redis_server: Server) -> None:
    with open_store(redis_server.url) as store:
        for age in (2, 1):
            store.register(race(f"uid-{age}", NOW - timedelta(days=age)).info)
    assert "uid-1" in velodrome("show", "digits/0").output
    assert "uid-2" in velodrome("show", "uid-2/0").output


# export and import


def test_what_is_exported_and_imported_elsewhere_ranks_the_same(
    filled: Command, redis_server: Any, tmp_path: Path
) -> None:
    before = filled("results", "digits", "--json").output
    file = tmp_path / "backup.jsonl"
    done = filled("export", str(file))
    assert done.exit_code == 0
    lines = file.read_text().splitlines()
    assert f"{len(lines)} lines" in done.stderr
    assert filled("export").output.splitlines() == lines
    redis_server.client().flushall()
    assert filled("import", str(file)).exit_code == 0
    assert filled("results", "digits", "--json").output == before
    again = filled("import", "-", text=file.read_text())
    assert again.exit_code == 0
    assert "imported 0," in again.output


def test_one_job_or_one_board_can_be_exported(filled: Command) -> None:
    one = filled("export", "--job", "digits-laptop").output.splitlines()
    board = filled("export", "--board", "digits").output.splitlines()
    assert 25 < len(one) < len(board) < len(filled("export").output.splitlines())
    assert filled("export", "--job", "nothing").exit_code == 2


def test_lines_that_are_no_results_are_refused_by_number_and_the_rest_is_taken(
    filled: Command, redis_server: Any
) -> None:
    text = filled("export", "--job", "digits-laptop").output
    redis_server.client().flushall()
    done = filled("import", "-", text=text + "no json\n{}\n")
    assert done.exit_code == 1
    count = len(text.splitlines())
    assert f"line {count + 1}: " in done.stderr
    assert f"line {count + 2}: " in done.stderr
    assert "refused 2" in done.output
    assert json.loads(filled("jobs", "--json").output)["jobs"][0]["succeeded"] == 25


def test_a_file_that_can_not_be_read_or_written_is_named(filled: Command, tmp_path: Path) -> None:
    assert filled("import", str(tmp_path / "missing")).exit_code == 2
    done = filled("export", str(tmp_path / "missing" / "file"))
    assert str(tmp_path / "missing" / "file") in str(done.exception)
    assert not list(tmp_path.iterdir())


# Redis


def test_a_redis_that_does_not_answer_is_named(velodrome: Command, tmp_path: Path) -> None:
    done = velodrome("results", "--redis", f"unix://{tmp_path}/nobody.sock")
    assert f"{tmp_path}/nobody.sock" in str(done.exception)
    wrong = velodrome("results", "--redis", "http://example.org")
    assert wrong.exit_code == 2
    assert "--redis" in wrong.stderr


def test_results_that_arrive_meanwhile_are_there_the_next_time(velodrome: Command, redis_server: Server) -> None:
    made = race("growing", NOW)
    with open_store(redis_server.url) as store:
        store.register(made.info)
        accept(store, made, [made.record(trial) for trial in made.trials[:7]])
        assert "2 of 5 trials done" in velodrome("results").output
        accept(store, made, [made.record(trial) for trial in made.trials[7:]])
    assert "not ranked" not in velodrome("results").output


# What is not there


@pytest.mark.parametrize(
    "arguments",
    [
        ("results", "nowhere"),
        ("jobs", "--board", "nowhere"),
        ("jobs", "--board", "nowhere", "--json"),
        ("jobs", "--board", ""),
        ("export", "--board", "nowhere"),
        ("baseline", "show", "--board", "nowhere"),
        ("baseline", "clear", "nowhere", "cnn"),
        ("delete", "board", "nowhere", "--yes"),
        ("prune", "--keep-jobs", "1", "--board", "nowhere", "--yes"),
        ("prune", "--keep-jobs", "1", "--board", "", "--yes"),
        ("results", "\udcc3\udca4"),
    ],
    ids=" ".join,
)
def test_a_board_that_is_not_there_is_named_with_those_that_are(filled: Command, arguments: tuple[str, ...]) -> None:
    before = filled("export").output
    done = filled(*arguments)
    assert done.exit_code == 2
    assert (done.stdout == "") == ("--json" not in arguments)
    said = " ".join(done.stderr.split())
    assert "there is no board" in said
    assert "there are: fashion-mnist, digits" in said
    assert filled("export").output == before


@pytest.mark.parametrize("arguments", [("results", "zzzz"), ("show", "zzzz/cnn/0")], ids=["boards", "jobs"])
def test_of_many_names_a_few_are_offered(velodrome: Command, redis_server: Server, arguments: tuple[str, ...]) -> None:
    with open_store(redis_server.url) as store:
        for number in range(30):
            store.register(race(f"sample-{number}", NOW, name=f"job-{number}", board=f"job-{number}").info)
    said = " ".join(velodrome(*arguments).stderr.split())
    assert said.count("job-") == 10
    assert "and 20 more" in said


@pytest.mark.parametrize(
    ("name", "named"),
    [("", "''"), ("\udcff", "\\xff"), ("\udcc3\udca4", "ä")],
    ids=["empty", "no UTF-8", "UTF-8 in the C locale"],
)
def test_a_job_of_an_odd_name_is_not_there(filled: Command, name: str, named: str) -> None:
    done = filled("show", f"{name}/cnn/0")
    assert done.exit_code == 2
    assert f"there is no job {named}: there are: fashion, digits" in " ".join(done.stderr.split())


def test_an_export_that_would_be_of_nothing_writes_no_file(filled: Command, tmp_path: Path) -> None:
    file = tmp_path / "backup.jsonl"
    file.write_text("an older one")
    assert filled("export", str(file), "--board", "nowhere").exit_code == 2
    other = filled("export", str(file), "--board", "digits", "--job", "fashion")
    assert other.exit_code == 2
    assert "fashion is of board fashion-mnist" in " ".join(other.stderr.split())
    assert file.read_text() == "an older one"


def test_a_job_without_a_trial_is_no_empty_name(filled: Command) -> None:
    assert "digits is a job, and no trial is named: write digits/ENTRY/REPEAT" in " ".join(
        filled("show", "digits").stderr.split()
    )
    assert "'' is no trial of digits" in " ".join(filled("show", "digits/").stderr.split())


def test_conditions_as_csv_are_the_same_as_in_json(filled: Command) -> None:
    lines = list(csv.DictReader(io.StringIO(filled("results", "digits", "--cohorts", "--csv").output)))
    found = json.loads(filled("results", "digits", "--cohorts", "--json").output)["cohorts"]
    assert [(line["objective"], line["cohort"], int(line["entries"])) for line in lines] == [
        (name, one["id"], one["entries"]) for name, cohorts in found.items() for one in cohorts
    ]
    both = filled("results", "digits", "--cohorts", "--cohort", lines[0]["cohort"])
    assert both.exit_code == 2


@pytest.mark.parametrize(
    ("content", "number"),
    [
        (b"apiVersion: v1\nkind: Namespace\n" * 30, 1),
        (b"\n\n[1, 2]\n{}\n", 3),
        (b'{"type": "other"}\n', 1),
        (b"\xff\xfe\x00garbage\x80\n" * 5, 1),
    ],
    ids=["YAML", "JSON", "another kind of line", "bytes"],
)
def test_some_other_file_is_no_export_which_is_one_sentence(
    filled: Command, tmp_path: Path, content: bytes, number: int
) -> None:
    file = tmp_path / "other"
    file.write_bytes(content)
    done = filled("import", str(file))
    assert done.exit_code == 2
    assert done.stdout == ""
    said = " ".join(done.stderr.split())
    assert f"{file} is no export of Velodrome, so nothing is imported: line {number}: " in said
    assert said.count(": line ") == 1


def test_an_export_is_read_with_a_mark_at_its_start_and_bytes_that_are_no_text_in_its_midst(
    filled: Command, redis_server: Any, tmp_path: Path
) -> None:
    lines = filled("export", "--job", "digits-laptop").output.encode().splitlines()
    redis_server.client().flushall()
    file = tmp_path / "damaged"
    file.write_bytes(b"\xef\xbb\xbf" + b"\n".join([*lines[:5], b"\xff\xfe", *lines[5:]]) + b"\n")
    done = filled("import", str(file))
    assert done.exit_code == 1
    assert "line 6: " in done.stderr
    assert json.loads(filled("jobs", "--json").output)["jobs"][0]["succeeded"] == 25

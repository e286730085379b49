"""The noise floor of boards and profiles over boards, over a real Redis with made-up results."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest
from scipy import stats
from typer.testing import CliRunner, Result

from velodrome.cli.app import app
from velodrome.store import Store, open_store

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT))  # the tests fill Redis as a person does who wants to look: with tools/

from tools.sample_results import DIGITS, Race, Rider, finish, race  # noqa: E402

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATENCY = "latency_p50_seconds{batch_size=1}"
Command = Callable[..., Result]
TWINS = {"left": DIGITS["mlp"], "right": DIGITS["mlp"], "cnn": DIGITS["cnn"]}


class Server(Protocol):
    @property
    def url(self) -> str: ...


@pytest.fixture
def velodrome(redis_server: Server) -> Command:
    """Runs a command against an empty Redis."""

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, list(arguments), env={"VELODROME_REDIS_URL": redis_server.url, "TZ": "UTC"})

    return run


@pytest.fixture
def store(redis_server: Server) -> Any:
    with open_store(redis_server.url) as opened:
        yield opened


def night(number: int, riders: Mapping[str, Rider] = TWINS, **given: Any) -> Race:
    return race(
        f"job-{number}", NOW + timedelta(days=number), name=f"night-{number}", board="digits", riders=riders, **given
    )


def of(result: Result, objective: str) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    (found,) = (one for one in json.loads(result.output)["objectives"] if one["name"] == objective)
    assert isinstance(found, dict)
    return found


def values(store: Store, uid: str, entry: str, key: str) -> dict[int, float]:
    (samples,) = store.samples([uid])
    return dict(next(one.values for one in samples if (one.entry, one.metric_key) == (entry, key)))


# noise


def test_the_noise_floor_is_that_of_the_values_in_the_store(store: Store, velodrome: Command) -> None:
    for number in range(8):
        finish(store, night(number))
    speed = of(velodrome("noise", "digits", "--json"), "speed")
    assert (speed["metric"], speed["scale"], speed["unit"]) == (LATENCY, "relative", "seconds")
    in_job, jobs = speed["in_job"], speed["job_to_job"]
    assert in_job["called"]["of"] == 8  # left and right are one entry
    assert jobs["called"]["of"] == 14  # seven pairs of jobs of two different entries
    logs = {
        (number, entry): np.log([*values(store, f"job-{number}", entry, LATENCY).values()])
        for number in range(8)
        for entry in TWINS
    }
    spread = [float(np.var(found, ddof=1)) for found in logs.values()]
    assert speed["over_seeds"]["value"] == pytest.approx(
        np.expm1(np.sqrt(np.median(spread) / (stats.chi2.median(4) / 4)))
    )
    assert speed["over_seeds"]["low"] < 0.03 < speed["over_seeds"]["high"]  # as the sample values are made
    expected = [logs[number, "right"].mean() - logs[number, "left"].mean() for number in range(8)]
    assert [one["difference"] for one in in_job["comparisons"]] == pytest.approx(np.expm1(expected))
    plain = [stats.ttest_rel(logs[number, "right"], logs[number, "left"]).pvalue for number in range(8)]
    assert [one["p_value"] for one in in_job["comparisons"]] == pytest.approx(plain)
    assert in_job["called"]["hits"] == sum(p_value <= 0.05 for p_value in plain)
    first, second = speed["smallest"]
    assert (first["seeds"], second["seeds"]) == (5, 10)
    assert first["job_to_job"] > second["job_to_job"] > speed["least"]
    assert first["job_to_job"] > first["in_job"] > second["in_job"] > 0


def test_the_terminal_says_what_a_board_can_see(store: Store, velodrome: Command) -> None:
    for number in range(8):
        finish(store, night(number))
    shown = velodrome("noise").output
    for words in (
        "noise floor of board digits",
        "smallest seen with 5 and 10 seeds: in a job",
        "8 A/A comparisons of two names in one job",
        "14 A/A comparisons of two jobs",
        "chance makes 5 %",
        "With 5 seeds, this board sees in 80 of 100 cases a difference of",
        "Holds for: digits 5a5a5a5a",
    ):
        assert words in shown
    one = velodrome("noise", "digits", "--objective", "speed").output
    assert "accuracy" not in one


def test_jobs_that_differ_by_more_than_their_seeds_are_told(store: Store, velodrome: Command) -> None:
    """Each night has a speed of its own, four times the spread over seeds."""
    for number in range(10):
        slower = 1.12 if number % 2 else 1.0
        riders = {name: Rider(r.model, r.accuracy, r.latency * slower, r.memory, r.spread) for name, r in TWINS.items()}
        finish(store, night(number, riders))
    speed = of(velodrome("noise", "--json"), "speed")
    assert speed["job_to_job"]["called"]["low"] > 0.05
    assert speed["between_jobs"]["low"] > 0.03
    assert any("more than the 5 % that chance makes. Jobs differ" in sentence for sentence in speed["sentences"])
    assert speed["in_job"]["called"]["low"] < 0.05, "names of one job share its speed"
    accuracy = of(velodrome("noise", "--json"), "accuracy")
    assert not any("more than the 5 %" in sentence for sentence in accuracy["sentences"])


def test_one_job_says_what_is_missing_and_makes_nothing_up(store: Store, velodrome: Command) -> None:
    finish(store, night(0, {"mlp": DIGITS["mlp"]}))
    accuracy = of(velodrome("noise", "--json"), "accuracy")
    for name in ("over_seeds", "between_jobs", "least"):
        assert accuracy[name] is None
    assert accuracy["smallest"] == []
    assert accuracy["in_job"] == accuracy["job_to_job"]
    assert accuracy["in_job"]["called"] is None
    said = " ".join(accuracy["sentences"])
    assert "No entry was measured twice under these conditions" in said
    assert "it takes 8 values beyond the first ones of entries and jobs, and there are 4" in said
    assert "unknown" in velodrome("noise").output


def test_two_jobs_tell_what_two_entries_show_and_not_what_jobs_add(store: Store, velodrome: Command) -> None:
    for number in range(2):
        finish(store, night(number))
    speed = of(velodrome("noise", "--json"), "speed")
    assert speed["between_jobs"] is None
    assert speed["smallest"][0]["in_job"] > 0
    assert speed["smallest"][0]["job_to_job"] is None
    assert "it takes 6 pairs of jobs that raced the same entry, and there is 1" in " ".join(speed["sentences"])


def test_other_conditions_are_no_repetition(store: Store, velodrome: Command) -> None:
    for number in range(3):
        finish(store, night(number, machine="Old CPU" if number < 2 else "New CPU"))
    assert of(velodrome("noise", "--json"), "speed")["job_to_job"]["called"] is None
    assert of(velodrome("noise", "--json"), "accuracy")["job_to_job"]["called"]["of"] == 4
    cohorts = json.loads(velodrome("results", "--cohorts", "--json").output)["cohorts"]["speed"]
    old = next(one["id"] for one in cohorts if one["conditions"]["hardware"]["cpu_model"] == "Old CPU")
    assert of(velodrome("noise", "--cohort", old, "--json"), "speed")["job_to_job"]["called"]["of"] == 2


def test_a_metric_that_follows_from_the_model_has_no_noise(store: Store, velodrome: Command) -> None:
    for number in range(2):
        finish(store, night(number, objectives=[{"name": "size", "metric": "parameters"}]))
    size = of(velodrome("noise", "--json"), "size")
    assert size["sentences"] == [
        "The value follows from the model alone, whatever the seed: any difference is a change."
    ]


def test_what_does_not_exist_is_bad_input(store: Store, velodrome: Command) -> None:
    assert velodrome("noise").exit_code == 2
    finish(store, night(0))
    wrong = velodrome("noise", "digit")
    assert (wrong.exit_code, "did you mean digits?" in wrong.stderr) == (2, True)
    assert "accuracy, speed, efficiency" in velodrome("noise", "digits", "--objective", "beauty").stderr
    no_cohort = velodrome("noise", "digits", "--cohort", "0123")
    assert (no_cohort.exit_code, "--cohorts" in no_cohort.stderr) == (2, True)


# profile


@pytest.fixture
def three(store: Store) -> Store:
    """Three boards, with five, five and eight runs; the third has no lstm."""
    for place, (board, repeats) in enumerate((("easy", 5), ("hard", 5), ("large", 8))):
        riders = {
            name: Rider(
                rider.model, rider.accuracy - 0.2 * place, rider.latency * (1 + place), rider.memory, rider.spread
            )
            for name, rider in DIGITS.items()
            if board != "large" or name != "lstm"
        }
        finish(store, race(f"on-{board}", NOW, name=board, riders=riders, repeats=repeats))
    return store


def runs(store: Store, board: str, entry: str, key: str = "accuracy") -> list[float]:
    return [*values(store, f"on-{board}", entry, key).values()]


def test_a_profile_is_the_interquartile_mean_of_the_declared_boards(three: Store, velodrome: Command) -> None:
    found = json.loads(velodrome("profile", "cnn", "--boards", "easy,hard", "--json").output)
    assert found["complete"] is True
    assert found["declaration"]["boards"] == [
        {"name": "easy", "worst": None, "best": None},
        {"name": "hard", "worst": None, "best": None},
    ]
    assert found["score"] == "Score: the value itself."
    own, *others = found["entries"]
    assert own["entry"] == "cnn"
    expected = stats.trim_mean([*runs(three, "easy", "cnn"), *runs(three, "hard", "cnn")], 0.25)
    assert own["mean"]["value"] == pytest.approx(expected)
    assert own["mean"]["low"] <= expected <= own["mean"]["high"]
    assert own["runs"] == {"easy": 5, "hard": 5}
    assert own["improvement"] is None
    lstm = next(one for one in others if one["entry"] == "lstm")
    chance = [
        stats.mannwhitneyu(runs(three, board, "cnn"), runs(three, board, "lstm")).statistic / 25
        for board in ("easy", "hard")
    ]
    assert lstm["improvement"]["value"] == pytest.approx(np.mean(chance))
    means = [one["mean"]["value"] for one in others]
    assert means == sorted(means, reverse=True)
    shares = [one["value"] for one in own["shares"]]
    assert shares == sorted(shares, reverse=True)


def test_scores_relative_to_an_entry_say_so_and_more_is_better(three: Store, velodrome: Command) -> None:
    arguments = ("profile", "gru", "--boards", "easy,hard,large", "--objective", "speed", "--reference", "mlp")
    found = json.loads(velodrome(*arguments, "--json").output)
    scores = [
        np.mean(runs(three, board, "mlp", LATENCY)) / np.array(runs(three, board, "gru", LATENCY))
        for board in ("easy", "hard", "large")
    ]
    assert "mean divided by the value of mlp" in found["score"]
    own = found["entries"][0]
    assert own["mean"]["low"] < np.mean([np.mean(each) for each in scores]) < own["mean"]["high"]
    assert next(one for one in found["entries"] if one["entry"] == "mlp")["mean"]["value"] == pytest.approx(1, rel=0.05)
    assert "mean divided by the value of mlp" in velodrome(*arguments).output


def test_a_board_without_the_model_is_told_and_the_profile_is_incomplete(three: Store, velodrome: Command) -> None:
    shown = velodrome("profile", "lstm", "--boards", "easy,hard,large")
    assert shown.exit_code == 0
    assert "INCOMPLETE" in shown.output
    assert "2 of 3 declared boards count." in shown.output
    assert "large does not count: nothing ranked there is, or has, the name lstm." in shown.output
    nothing = json.loads(velodrome("profile", "lstm", "--boards", "large", "--json").output)
    assert (nothing["complete"], nothing["entries"], nothing["metric"]) == (False, [], None)


def test_an_entry_without_all_of_its_trials_does_not_count(store: Store, velodrome: Command) -> None:
    failed = {"mlp": ("LossNotFinite", "the loss became nan")}
    finish(store, race("half", NOW, name="half"), failed)
    finish(store, race("once", NOW, name="once", repeats=1))
    found = json.loads(velodrome("profile", "mlp", "--boards", "half,once", "--json").output)
    assert found["missing"]["half"] == "mlp is not ranked there: 2 of 5 trials failed: LossNotFinite"
    assert "once" in found["missing"]


def test_a_model_is_found_if_one_entry_has_it(three: Store, velodrome: Command) -> None:
    by_model = json.loads(velodrome("profile", "velodrome/mlp", "--boards", "easy,hard", "--json").output)
    by_name = json.loads(velodrome("profile", "mlp", "--boards", "easy,hard", "--json").output)
    assert by_model["entries"] == by_name["entries"]
    several = json.loads(velodrome("profile", "velodrome/cnn", "--boards", "easy", "--json").output)
    assert "several entries with velodrome/cnn" in several["missing"]["easy"]


def test_a_file_declares_the_worst_and_the_best_values(three: Store, velodrome: Command, tmp_path: Path) -> None:
    file = tmp_path / "profile.yaml"
    file.write_text(
        "objective: speed\nboards:\n- {name: easy, worst: 0.001, best: 0}\n- {name: hard, worst: 0.002, best: 0}\n"
    )
    found = json.loads(velodrome("profile", "cnn", "--declared", str(file), "--json").output)
    scores = [
        1 - np.array(runs(three, "easy", "cnn", LATENCY)) / 0.001,
        1 - np.array(runs(three, "hard", "cnn", LATENCY)) / 0.002,
    ]
    assert found["entries"][0]["mean"]["value"] == pytest.approx(stats.trim_mean(np.concatenate(scores), 0.25))
    assert "easy: 0.001 to 0; hard: 0.002 to 0" in found["score"]
    assert velodrome("profile", "cnn", "--declared", str(file), "--objective", "accuracy").exit_code == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("boards: [easy, easy]\n", "board easy is there twice"),
        ("boards: [easy, {name: hard, worst: 0, best: 1}]\n", "write them for all boards or for none"),
        ("boards: [{name: easy, worst: 1}]\n", "both worst and best, or neither"),
        ("boards: [{name: easy, worst: 1, best: 1}]\n", "they need to differ"),
        ("boards: [{name: easy, worst: 1, best: .nan}]\n", "finite"),
        ("boards: [{name: easy, worst: 1, best: 2}]\nreference: mlp\n", "either a reference, or worst and best"),
        ("boards: []\n", "boards"),
        ("objective: speed\n", "boards"),
        ("boards: [easy]\nworst: 1\n", "worst"),
        ("boards: [easy\n", "YAML"),
        ("", "0 documents"),
    ],
)
def test_a_wrong_file_says_what_is_wrong_and_where(
    three: Store, velodrome: Command, tmp_path: Path, text: str, words: str
) -> None:
    file = tmp_path / "profile.yaml"
    file.write_text(text)
    wrong = velodrome("profile", "cnn", "--declared", str(file))
    told = wrong.stderr or str(wrong.exception)
    assert wrong.exit_code != 0
    assert words in told


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--boards", "easy,nowhere"], "there is no board nowhere"),
        ([], "--boards"),
        (["--boards", ","], "boards"),
        (["--boards", "easy", "--objective", "speed"], "name an entry that they are relative to"),
        (["--boards", "easy", "--declared", "x.yaml"], "--boards"),
        (["--declared", "absent.yaml"], "absent.yaml"),
    ],
)
def test_a_wrong_declaration_is_bad_input(three: Store, velodrome: Command, arguments: list[str], words: str) -> None:
    wrong = velodrome("profile", "cnn", *arguments)
    assert wrong.exit_code == 2
    assert words in wrong.stderr


def test_one_name_for_two_metrics_is_no_objective(store: Store, velodrome: Command) -> None:
    for board, size in (("one", 1), ("eight", 64)):
        objective = {"name": "speed", "metric": "inference_samples_per_second", "batchSize": 64}
        other = {"name": "speed", "metric": "train_samples_per_second"}
        finish(store, race(board, NOW, name=board, objectives=[objective if size == 1 else other]))
    wrong = velodrome("profile", "cnn", "--boards", "one,eight", "--objective", "speed", "--reference", "mlp")
    assert wrong.exit_code == 2
    assert "inference_samples_per_second{batch_size=64} and train_samples_per_second" in wrong.stderr


def test_others_can_be_chosen_and_absent_ones_are_told(three: Store, velodrome: Command) -> None:
    arguments = ("profile", "cnn", "--boards", "easy,large", "--against", "lstm", "--against", "mlp")
    found = json.loads(velodrome(*arguments, "--json").output)
    assert [one["entry"] for one in found["entries"]] == ["cnn", "mlp"]
    assert found["left_out"] == {"lstm": "not ranked on large"}

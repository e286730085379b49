"""`velodrome pairs`: two entries of a board, sample by sample, over a real Redis; and after a real race."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import binomtest
from typer.testing import CliRunner, Result

from tests.integration.conftest import Race, any_redis
from tests.integration.test_cli_race import Machine, machine
from tests.scored import scored, with_errors
from velodrome import keys
from velodrome.cli.app import app
from velodrome.store import Store

Command = Callable[..., Result]
__all__ = ["machine"]  # a fixture of another module

SAMPLES = 40


@pytest.fixture(scope="session")
def redis_binary() -> str:
    return any_redis()


@pytest.fixture
def velodrome(redis_server: Any) -> Command:
    """Runs a command against the test's Redis."""

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, list(arguments), env={"VELODROME_REDIS_URL": redis_server.url})

    return run


def bits(wrong: Sequence[int], samples: int = SAMPLES) -> list[bool]:
    return [place not in wrong for place in range(samples)]


def fill(store: Store, race: Race, wrong: Mapping[str, Sequence[Sequence[int]]], **change: Any) -> None:
    """Registers the race, with the samples that each repeat of each entry got wrong."""
    store.register(race.info)
    records = []
    for index in range(len(race.plan)):
        trial = race.plan.trial(index)
        records.append(scored(race.record(index), bits(wrong[trial.entry][trial.repeat]), **change))
    store.accept(race.uid, len(records), records)


WRONG = {"cnn": [[0], [0, 1]], "mlp": [[0, 2, 3, 12], [2, 3, 4, 12, 13]], "gru": [[5], [6]]}


def test_the_samples_that_b_loses_and_a_has_are_listed(store: Store, race: Race, velodrome: Command) -> None:
    fill(store, race, WRONG)
    done = velodrome("pairs", "digits", "cnn", "mlp")
    assert done.exit_code == 0, done.output
    for words in (
        "board digits: cnn (job race) and mlp (job race)",
        "40 test samples",
        "accuracy of cnn: 96.25 %, 2 seeds",
        "accuracy of mlp: 88.75 %, 2 seeds",
        "These trained weights (2 of cnn, 2 of mlp), on other samples like these:",
        "These recipes, trained with other seeds, on other samples like these:",
        "These recipes, trained with other seeds, on these same samples:",
        "mlp is right less often than cnn on 5 samples, more often on 2, and equal on 33.",
        "By class",
    ):
        assert words in done.output
    (row,) = [line.split() for line in done.output.splitlines() if line.split()[:2] == ["12", "2"]]
    assert row == ["12", "2", "2", "of", "2", "0", "of", "2"]
    few = velodrome("pairs", "digits", "cnn", "mlp", "--samples", "1").output
    assert "and 4 more: --samples, --json" in few


def test_as_json_it_has_every_sample_and_every_digit(store: Store, race: Race, velodrome: Command) -> None:
    fill(store, race, WRONG)
    found = json.loads(velodrome("pairs", "digits", "cnn", "mlp", "--json").output)
    assert [one["sample"] for one in found["lost"]] == [2, 3, 12, 4, 13]
    assert [(one["sample"], one["a"], one["b"]) for one in found["gained"]] == [(0, 0, 0.5), (1, 0.5, 1)]
    assert found["equal"] == 33
    assert found["a"] == {"entry": "cnn", "job": "race", "job_uid": "race-1", "mean": 0.9625, "seeds": [0, 1]}
    assert [answer["question"] for answer in found["answers"]] == ["weights", "recipe", "test_set"]
    assert all(answer["low"] < answer["difference"] < answer["high"] for answer in found["answers"])
    assert sum(row["samples"] for row in found["classes"]) == 40
    (second,) = [row for row in found["classes"] if row["class"] == "2"]
    assert second == {"class": "2", "samples": 4, "a": 1, "b": 0.5, "a_better": 2, "b_better": 0}


def test_one_seed_each_is_mcnemars_test(store: Store, make_race: type[Race], velodrome: Command) -> None:
    race = make_race(repeats=1)
    fill(store, race, {"cnn": [[0]], "mlp": [range(1, 9)], "gru": [[]]})
    found = json.loads(velodrome("pairs", "digits", "cnn", "mlp", "--json").output)
    weights, recipe, _ = found["answers"]
    assert weights["p_value"] == pytest.approx(binomtest(1, 9).pvalue)
    assert weights["verdict"].startswith("cnn is better, by 17.50 points (95 %: +")
    assert recipe["verdict"] == "not known: each side needs two seeds or more"


def test_an_entry_of_two_jobs_is_compared_with_itself(store: Store, make_race: type[Race], velodrome: Command) -> None:
    old, new = make_race(uid="a", name="night-1"), make_race(uid="b", name="night-2", created=9)
    fill(store, old, WRONG)
    fill(store, new, {**WRONG, "cnn": [[7, 8], [7, 8]]})
    found = json.loads(velodrome("pairs", "digits", "night-1/cnn", "cnn", "--json").output)
    assert (found["a"]["job"], found["b"]["job"]) == ("night-1", "night-2")
    assert [one["sample"] for one in found["lost"]] == [7, 8]
    assert "cnn (job night-2) is right less often" in velodrome("pairs", "digits", "a/cnn", "b/cnn").output
    same = velodrome("pairs", "digits", "b/cnn", "cnn")
    assert same.exit_code == 2
    assert "are the same trials" in same.stderr


def test_losses_are_compared_where_they_were_kept(store: Store, race: Race, velodrome: Command) -> None:
    store.register(race.info)
    records = []
    for index in range(len(race.plan)):
        level = {"cnn": 0.25, "mlp": 0.5, "gru": 0.5}[race.plan.trial(index).entry]
        losses = [level + (place + index) % 5 / 8 for place in range(SAMPLES)]
        records.append(scored(race.record(index), bits([]), losses=losses))
    store.accept(race.uid, 6, records)
    done = velodrome("pairs", "digits", "cnn", "mlp", "--by", "loss")
    assert "loss of cnn: 0.5 nats, 2 seeds" in done.output
    assert "cnn is better, by 0.25 nats" in done.output
    assert "mlp is worse than cnn on" in done.output
    wrong = velodrome("pairs", "digits", "cnn", "mlp", "--by", "mae")
    assert wrong.exit_code == 2
    assert "did not keep errors" in wrong.stderr


def test_errors_of_a_regression(store: Store, make_race: type[Race], velodrome: Command) -> None:
    race = make_race(spec={"dataset": {"name": "diabetes"}})
    store.register(race.info)
    size = {"cnn": 1.0, "mlp": 2.0, "gru": 3.0}
    records = [
        with_errors(race.record(at), [size[race.plan.trial(at).entry] + (at + one) % 3 / 4 for one in range(SAMPLES)])
        for at in range(len(race.plan))
    ]
    store.accept(race.uid, 6, records)
    done = velodrome("pairs", "digits", "cnn", "mlp")
    assert "mae of cnn: 1.244, 2 seeds" in done.output
    assert "cnn is better, by 1.006 (95 %: -" in done.output
    assert "By class" not in done.output
    assert "mse of cnn: 1.58" in velodrome("pairs", "digits", "cnn", "mlp", "--by", "mse").output


def test_groups_are_told_and_counted(store: Store, race: Race, velodrome: Command) -> None:
    fill(store, race, WRONG, groups=[place // 10 for place in range(SAMPLES)])
    done = velodrome("pairs", "digits", "cnn", "mlp")
    assert "40 test samples in 4 groups" in done.output
    assert "on samples of other groups like these:" in done.output


def test_trials_without_scores_are_left_out_and_told(store: Store, race: Race, velodrome: Command) -> None:
    store.register(race.info)
    records = [scored(race.record(index), bits([index])) for index in range(3)]
    store.accept(race.uid, 6, [*records, race.record(3), race.record(4, failed="LossNotFinite")])
    done = velodrome("pairs", "digits", "cnn", "mlp")
    assert done.exit_code == 0
    assert "cnn (job race): 1 of 2 trials have scores and are compared" in done.output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("digit", "cnn", "mlp"), "did you mean digits?"),
        (("digits", "cnn", "nope"), "board digits has no entry 'nope'; it has: cnn, gru, mlp"),
        (("digits", "cnn", "nope/mlp"), "board digits has no job 'nope'"),
        (("digits", "cnn", "race/nope"), "job race has no entry 'nope'; it has: cnn, mlp, gru"),
        (("digits", "cnn", "cnn"), "are the same trials"),
        (("digits", "cnn", "mlp", "--by", "beauty"), "beauty is no measure; use one of accuracy, loss, mae, mse"),
        (("digits", "cnn", "mlp", "--by", "loss"), "did not keep losses"),
    ],
)
def test_what_can_not_be_compared_is_named(
    store: Store, race: Race, velodrome: Command, arguments: tuple[str, ...], says: str
) -> None:
    fill(store, race, WRONG)
    wrong = velodrome("pairs", *arguments)
    assert wrong.exit_code == 2
    assert says in " ".join(wrong.stderr.split())


def test_entries_that_kept_nothing_say_what_to_write(store: Store, race: Race, velodrome: Command) -> None:
    none = velodrome("pairs", "digits", "cnn", "mlp")
    assert "none of its trials has a result yet" in none.stderr
    store.accept(race.uid, 6, [race.record(index) for index in range(6)])
    wrong = velodrome("pairs", "digits", "cnn", "mlp")
    assert wrong.exit_code == 2
    assert "its trials kept nothing of their test samples" in wrong.stderr
    assert "keepSamples: correct" in wrong.stderr


def test_other_samples_are_not_compared(store: Store, make_race: type[Race], velodrome: Command) -> None:
    races = [make_race(uid=f"r{at}", name=f"r{at}", created=at, repeats=1) for at in range(4)]
    for race in races:
        store.register(race.info)
    of = [
        scored(races[0].record(0), bits([])),
        scored(races[1].record(0), bits([]), digest="sha256:" + "1" * 64),
        scored(races[2].record(0), bits([], 41)),
        scored(races[3].record(0), bits([]), labels=[1] * SAMPLES),
    ]
    for race, record in zip(races, of, strict=True):
        store.accept(race.uid, 1, [record])
    for other, says in (("r1", "different data"), ("r2", "on 40 and on 41 samples"), ("r3", "in different orders")):
        wrong = velodrome("pairs", "digits", "r0/cnn", f"{other}/cnn")
        assert wrong.exit_code == 2
        assert says in wrong.stderr


def test_hostile_names_stay_on_their_line(store: Store, make_race: type[Race], velodrome: Command) -> None:
    race = make_race(entries=("cnn", "mlp"), repeats=1)
    store.register(race.info)
    records = []
    for index in range(2):
        made = scored(race.record(index), bits([index], 3), labels=[0, 1, 1])
        facts = made.result.dataset
        assert facts is not None
        facts = facts.model_copy(update={"classes": ("\x1b[31mred\n", "[bold]x[/bold]")})
        records.append(made.model_copy(update={"result": made.result.model_copy(update={"dataset": facts})}))
    store.accept(race.uid, 2, records)
    done = velodrome("pairs", "digits", "cnn", "mlp")
    assert done.exit_code == 0
    assert "\x1b" not in done.output
    assert "\\x1b[31mred\\n" in done.output
    assert "[bold]x[/bold]" in done.output


def test_scores_that_can_not_be_read_are_said(store: Store, race: Race, velodrome: Command, redis_server: Any) -> None:
    fill(store, race, WRONG)
    with redis_server.client() as client:
        stored = json.loads(client.hget(keys.job(race.uid, "scores"), "0"))
        client.hset(keys.job(race.uid, "scores"), "0", json.dumps({**stored, "right": "AAAA"}))
    wrong = velodrome("pairs", "digits", "cnn", "mlp")
    assert wrong.exit_code == 2
    assert "can't be read" in wrong.stderr


OWN = """
import numpy
from velodrome import report
from velodrome_runner.data.loading import read
from velodrome.spec import Dataset
from pathlib import Path

trial = report.trial()
contents = read(Dataset(name="digits"), Path("."))
test = contents.splits["test"]
labels = test.targets.tolist()
guesses = [label if at % 9 else (label + 1) % 10 for at, label in enumerate(labels)]
trial.dataset("digits", digest=contents.digest, train_samples=1, validation_samples=1, test_samples=len(labels),
              shape=[1, 8, 8], classes=[str(at) for at in range(10)])
trial.predictions(labels, guesses)
trial.result(report.classification(labels, guesses))
"""
JOB = """\
apiVersion: velodrome.dev/v1alpha1
kind: BenchmarkJob
metadata: {name: tiny}
spec:
  objectives: [{name: accuracy, metric: accuracy}]
  dataset: {name: digits}
  budget: {maxEpochs: 2}
  entries:
    - {name: small, model: {name: velodrome/mlp, args: {hidden: 8}}}
    - {name: large, model: {name: velodrome/mlp, args: {hidden: 64}}}
    - {name: own, command: [PYTHON, PROGRAM]}
  trials: {repeats: 2}
"""


@pytest.mark.timeout(580)
def test_a_real_race_keeps_its_samples_and_own_programs_compare(machine: Machine, tmp_path: Path) -> None:
    program = machine.folder / "own.py"
    program.write_text(OWN)
    file = machine.folder / "tiny.yaml"
    file.write_text(JOB.replace("PYTHON", sys.executable).replace("PROGRAM", str(program)))
    machine.run("run", str(file))
    exported = [json.loads(line) for line in machine.run("export").stdout.splitlines()]
    results = [line["record"]["result"] for line in exported if line["type"] == "record"]
    assert len(results) == 6
    means = {
        entry: sum(one["metrics"]["accuracy"] for one in results if one["entry"] == entry) / 2
        for entry in ("small", "large", "own")
    }
    for other in ("small", "own"):
        found = json.loads(machine.run("pairs", "digits", "large", other, "--json").stdout)
        assert found["samples"] == results[0]["dataset"]["test_samples"]
        assert (found["a"]["mean"], found["b"]["mean"]) == pytest.approx((means["large"], means[other]))
        listed = sum(row["a"] - row["b"] for part in ("lost", "gained") for row in found[part])
        assert listed / found["samples"] == pytest.approx(found["answers"][0]["difference"])

"""Metrics that a job declares: their keys, what a job may say of them, and how values are reported and compared."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from velodrome import report
from velodrome.errors import SpecError
from velodrome.keys import ENV_REPORT, ENV_TRIAL
from velodrome.metrics.catalogue import ALIASES, CATALOGUE, MetricKey, label_of
from velodrome.metrics.declared import Declared
from velodrome.plan import objective_keys, plan, quality_keys
from velodrome.results.bounds import impossible_metrics, impossible_validation, keys_of
from velodrome.results.objectives import board_objectives
from velodrome.spec import BenchmarkJob, parse_jobs
from velodrome.stats.changepoints import change_points
from velodrome.trends.scales import scale_of
from velodrome.units import quantity
from velodrome_runner.lines import Reported

WORDS: dict[str, Any] = {
    "name": "word_error_rate", "unit": "percent", "direction": "lower", "range": {"least": 0, "most": 100},
    "perEpoch": True,
}  # fmt: skip
BALANCE: dict[str, Any] = {
    "name": "balance", "unit": "points", "direction": "higher", "scale": "interval",
    "range": {"least": -10, "most": 10},
}  # fmt: skip
WORDS_KEY = "own_word_error_rate{better=lower,high=100,kind=quality,low=0,unit=percent}"
BALANCE_KEY = "own_balance{better=higher,high=10,kind=quality,low=-10,scale=interval,unit=points}"


def document(**changes: Any) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "dataset": {"name": "digits"},
        "metrics": [WORDS, BALANCE],
        "objectives": [{"name": "words", "metric": "word_error_rate"}],
        "evaluation": {"metrics": ["accuracy", "balance"]},
        "entries": [{"name": "ours", "command": ["python", "train.py"]}],
    }
    return {
        "apiVersion": "velodrome.dev/v1alpha1", "kind": "BenchmarkJob", "metadata": {"name": "j"},
        "spec": spec | changes,
    }  # fmt: skip


def job(**changes: Any) -> BenchmarkJob:
    return BenchmarkJob.model_validate(document(**changes))


def problems(**changes: Any) -> list[tuple[str, str, str]]:
    with pytest.raises(SpecError) as caught:
        parse_jobs(json.dumps(document(**changes)))
    return [(one.path, one.message, one.hint) for one in caught.value.problems]


def snippets() -> dict[str, str]:
    """The examples of docs/own-code.md on metrics of one's own, by language."""
    text = (Path(__file__).parents[2] / "docs/own-code.md").read_text(encoding="utf-8")
    section = text.partition("## Metrics of your own")[2].partition("\n## ")[0]
    return dict(re.findall(r"```(yaml|python)\n(.*?)```", section, re.DOTALL))


def test_the_examples_of_the_documentation_work(tmp_path: Path) -> None:
    said = yaml.safe_load(snippets()["yaml"])
    declared = plan(job(**said)).trial(0).config.declared
    assert declared == (BALANCE_KEY, WORDS_KEY)
    exec(snippets()["python"], {"trial": trial(tmp_path, declared=declared)})  # noqa: S102 - our own documentation
    assert json.loads((tmp_path / "report").read_text())["metrics"] == {"word_error_rate": 11.5, "balance": -0.4}


def test_a_key_has_the_whole_definition() -> None:
    assert list(map(str, job().spec.own_keys.values())) == [WORDS_KEY, BALANCE_KEY]
    metric = MetricKey.parse(BALANCE_KEY).metric
    assert (metric.unit, metric.direction, metric.kind, metric.range) == ("points", "higher", "quality", (-10, 10))
    assert MetricKey.parse(WORDS_KEY).label == label_of(WORDS_KEY) == "word_error_rate"


LIMITS = st.floats(-1e18, 1e18, allow_nan=False)


@given(interval=st.booleans(), one=LIMITS, other=LIMITS, kind=st.sampled_from(["quality", "speed", "model"]))
def test_a_key_is_spelt_one_way(*, interval: bool, one: float, other: float, kind: Any) -> None:
    low, high = sorted((one, other) if interval else (abs(one), abs(other)))
    if low == high:
        return
    definition = Declared("x", "points", "lower", kind, low, high, interval)
    text = str(MetricKey.declared(definition))
    assert MetricKey.parse(text) == MetricKey.declared(definition)
    assert MetricKey.parse(text).metric.range == (low, high)


@pytest.mark.parametrize(
    "text",
    [
        "own_x",
        "own_x{unit=points}",
        "own_x{better=lower,kind=quality,unit=points,unit=points}",
        "own_x{kind=quality,better=lower,unit=points}",
        "own_x{better=lower,high=1.0,kind=quality,unit=points}",
        "own_x{better=lower,high=nan,kind=quality,unit=points}",
        "own_x{better=lower,kind=quality,low=-1,unit=points}",
        "own_x{better=lower,kind=quality,scale=interval,unit=points}",
        "own_x{better=best,kind=quality,unit=points}",
        "own_x{better=lower,kind=quality,size=1,unit=points}",
        "own_x{better=lower,high=0,kind=quality,low=1,unit=points}",
        "word_error_rate",
    ],
)
def test_anything_else_is_no_key(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        MetricKey.parse(text)


def test_no_metric_of_the_catalogue_looks_declared() -> None:
    assert not [name for name in (*CATALOGUE, *ALIASES) if name.startswith("own_")]


def test_every_place_of_a_job_may_name_one() -> None:
    stopping = {"earlyStopping": {"metric": "word_error_rate"}}
    found = job(budget={"target": {"metric": "word_error_rate", "value": 20}}, training=stopping)
    assert {name: str(key) for name, key in objective_keys(found).items()} == {"words": WORDS_KEY}
    assert quality_keys(found) == ("accuracy", BALANCE_KEY, WORDS_KEY)
    assert plan(found).trial(0).config.declared == (BALANCE_KEY, WORDS_KEY)


def test_what_no_value_depends_on_is_no_new_series() -> None:
    told = [WORDS | {"description": "Share of wrong words.", "perEpoch": False}, BALANCE]
    assert plan(job(metrics=told)).trial(0).id == plan(job()).trial(0).id
    wider = [WORDS | {"range": {"least": 0, "most": 200}}, BALANCE]
    assert plan(job(metrics=wider)).trial(0).id != plan(job()).trial(0).id


@pytest.mark.parametrize(
    ("changes", "field", "message", "hint"),
    [
        ({"objectives": [{"name": "a", "metric": "word_eror_rate"}]}, "spec.objectives[0].metric",
         '"word_eror_rate" is no metric that Velodrome knows', 'did you mean "word_error_rate"?'),
        ({"metrics": [WORDS, BALANCE, BALANCE | {"name": "accuracy"}]}, "spec.metrics[2].name",
         '"accuracy" is a metric of the catalogue', "report it without declaring it, or choose another name"),
        ({"metrics": [WORDS, BALANCE, BALANCE | {"name": "mean_average_precision"}]}, "spec.metrics[2].name",
         '"mean_average_precision" is a metric of the catalogue', None),
        ({"metrics": [WORDS, BALANCE, WORDS]}, "spec.metrics[2].name",
         '"word_error_rate" is taken by another of spec.metrics', None),
        ({"metrics": [WORDS, BALANCE | {"range": {"least": 1}}]}, "spec.metrics[1].range",
         "an interval scale needs a range with both ends", None),
        ({"metrics": [WORDS, BALANCE | {"scale": "ratio"}]}, "spec.metrics[1].range.least",
         "a ratio scale has no negative values", "write scale: interval, or least: 0"),
        ({"metrics": [WORDS, BALANCE | {"range": {"least": 3, "most": 3}}]}, "spec.metrics[1].range",
         "no value lies between 3 and 3", None),
        ({"metrics": [WORDS | {"unit": "ratio"}, BALANCE]}, "spec.metrics[0].range.most",
         "100 is no value of unit ratio", "0 to 1, or another unit"),
        ({"metrics": [WORDS | {"dependsOn": "speed"}, BALANCE]}, "spec.metrics[0].perEpoch",
         "only a metric of quality is reported each epoch", None),
        ({"entries": [{"name": "cnn", "model": {"name": "velodrome/cnn"}}]}, "spec.objectives[0].metric",
         "no model of Velodrome reports word_error_rate", None),
        ({"budget": {"target": {"metric": "balance", "value": 1}}}, "spec.budget.target.metric",
         "balance is not reported each epoch", "write perEpoch: true beside balance in spec.metrics"),
        ({"budget": {"target": {"metric": "word_error_rate", "value": 101}}}, "spec.budget.target.value",
         "word_error_rate is never 101", "0 to 100"),
        ({"objectives": [{"name": "a", "metric": "balance", "batchSize": 1}]}, "spec.objectives[0].batchSize",
         "balance takes no batchSize", None),
    ],
)  # fmt: skip
def test_a_job_that_nobody_could_rank_is_refused(changes: Any, field: str, message: str, hint: str | None) -> None:
    found = problems(**changes)
    assert (field, message) in [one[:2] for one in found], found
    assert hint is None or hint in [one[2] for one in found]


def test_models_may_race_beside_a_program_that_reports_more() -> None:
    entries = [*document()["spec"]["entries"], {"name": "cnn", "model": {"name": "velodrome/cnn"}}]
    job(entries=entries, objectives=[{"name": "a", "metric": "accuracy"}], evaluation={"metrics": ["accuracy"]})


def trial(folder: Path, **changes: Any) -> report.TrialReport:
    conditions = {"budget": {"maxEpochs": 3, "target": {"metric": "word_error_rate", "value": 20}}}
    facts = {
        "entry": "ours", "repeat": 0, "seed": 1, "cpus": 1, "data": "/data", "metrics": ["word_error_rate"],
        "declared": [BALANCE_KEY, WORDS_KEY], "conditions": conditions, **changes,
    }  # fmt: skip
    (folder / "trial.json").write_text(json.dumps(facts))
    return report.trial({ENV_TRIAL: str(folder / "trial.json"), ENV_REPORT: str(folder / "report")})


def test_a_program_reports_it_by_its_plain_name(tmp_path: Path) -> None:
    mine = trial(tmp_path)
    mine.seconds = 2.0
    mine.epoch(1, train_loss=1.0, samples=10, validation={"word_error_rate": 12.5})
    mine.result({"word_error_rate": 11, "balance": -3})
    assert mine.time_to_target == 2.0  # lower is better
    told = Reported(plan(job()).trial(0).config)
    for line in (tmp_path / "report").read_text().splitlines():
        told.take(line)
    assert told.problem is None
    assert told.result is not None
    assert {key: value for key, value in told.result.metrics.items() if key.startswith("own_")} == {
        WORDS_KEY: 11.0, BALANCE_KEY: -3.0,
    }  # fmt: skip
    assert told.curves[0].validation == {WORDS_KEY: 12.5}


def test_an_impossible_value_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"metrics\.word_error_rate: 101\.0 is above 100 percent"):
        trial(tmp_path).result({"word_error_rate": 101})
    with pytest.raises(ValueError, match="names no metric"):
        trial(tmp_path).result({"word_eror_rate": 1})
    keys = keys_of(plan(job()).trial(0).config)
    assert "is above 100 percent" in (impossible_metrics({WORDS_KEY: 101.0}, keys) or "")
    assert impossible_metrics({WORDS_KEY: 99.0, BALANCE_KEY: -9.0}, keys) is None
    other = WORDS_KEY.replace("high=100", "high=200")
    assert "does not declare word_error_rate so" in (impossible_metrics({other: 1.0}, keys) or "")
    speed = WORDS_KEY.replace("quality", "speed")
    assert "not measured on the validation split" in (impossible_validation(speed, 1.0, keys) or "")


def test_a_program_that_runs_by_hand_may_report_any_name() -> None:
    report.TrialReport().result({"word_error_rate": 7.0})


def test_a_report_of_an_older_runner_is_read(tmp_path: Path) -> None:
    facts = json.loads((trial(tmp_path).path and (tmp_path / "trial.json").read_text()) or "{}")
    del facts["declared"]
    (tmp_path / "trial.json").write_text(json.dumps(facts))
    assert report.trial({ENV_TRIAL: str(tmp_path / "trial.json")}).declared == ()


def test_a_board_knows_it_from_the_job_alone() -> None:
    class Info:
        document = job().model_dump(mode="json", by_alias=True)

    (found,) = board_objectives([Info()])  # type: ignore[list-item]
    assert str(found.key) == WORDS_KEY


def test_a_change_on_an_interval_scale_is_relative_to_the_range() -> None:
    span = MetricKey.parse(BALANCE_KEY).metric.span
    scale = scale_of(MetricKey.parse(BALANCE_KEY).metric, positive=True)
    assert scale.relative(np.array([1.0]), np.array([0.0])) == pytest.approx([1.0 / 20])
    assert scale.of(0.0) == "range"
    history = [0.0, 0.01, -0.01] * 8 + [0.2, 0.21, 0.19] * 8
    assert len(change_points(history, 0.005, span)) == 1
    assert change_points(history, 0.02, span) == ()


def test_metrics_of_the_catalogue_that_may_be_negative_have_a_span() -> None:
    below = {name for name, metric in CATALOGUE.items() if metric.range[0] < 0}
    assert below == {name for name, metric in CATALOGUE.items() if metric.span is not None}


def test_values_are_shown_with_their_unit() -> None:
    assert quantity("percent", 12.5) == "12.50 %"
    assert quantity("words_per_minute", 120) == "120 words per minute"

"""Filters and orders that people type, on a sheet that is made of plain values."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from velodrome.board.narrowing import BadFilter, narrow, narrowed, no_hit
from velodrome.board.reading import ObjectiveReading
from velodrome.board.sheet import Sheet, make_sheet
from velodrome.metrics.catalogue import MetricKey
from velodrome.ranking.places import rank_objective
from velodrome.results.objectives import BoardObjective
from velodrome.store.types import Row

AT = datetime(2026, 11, 1, tzinfo=UTC)


def of_metric(name: str, metric: str, values: Mapping[str, tuple[float, ...]]) -> ObjectiveReading:
    objective = BoardObjective(name, MetricKey.parse(metric))
    rows = [Row(entry, "", "j", "night", 3, dict(enumerate(found)), AT) for entry, found in values.items()]
    return ObjectiveReading(objective, (), None, rank_objective(objective.key, rows))


@pytest.fixture(scope="module")
def sheet() -> Sheet:
    accuracy = {
        "cnn": (0.98, 0.981, 0.979),
        "mlp": (0.95, 0.951, 0.949),
        "lstm": (0.97, 0.971, 0.969),
        "gru, new": (0.96, 0.97),
    }
    speed = {"cnn": (0.005, 0.0051, 0.0049), "mlp": (0.001, 0.0011, 0.0009)}
    settings: dict[str, dict[str, float | str]] = {
        "cnn": {"model": "velodrome/cnn", "optimizer": "AdamW", "optimizer.learningRate": 0.003, "batchSize": 64.0},
        "mlp": {"model": "velodrome/mlp", "optimizer": "SGD", "schedule.learningRate": 0.1, "batchSize": 64.0},
        "lstm": {"model": "velodrome/lstm", "optimizer": "AdamW", "batchSize": 128.0, "speed": "x"},
    }
    return make_sheet(
        of_metric("accuracy", "accuracy", accuracy),
        [of_metric("speed", "latency_p50_seconds{batch_size=1}", speed)],
        {"j": settings},
        {"cnn": 2e6, "mlp": 5e5, "lstm": 9e5},
    )


def entries(sheet: Sheet, filtered: str = "", sorted_by: str = "") -> list[str]:
    return [row.entry for row in narrow(sheet, filtered, sorted_by)]


@pytest.mark.parametrize(
    ("filtered", "expected"),
    [
        ("", ["cnn", "lstm", "mlp", "gru, new"]),
        ("optimizer = AdamW, params < 1e6", ["lstm"]),
        ("OPTIMIZER = adamw and PARAMS >= 2M", ["cnn"]),
        ("optimizer=SGD|AdamW; params<1M", ["lstm", "mlp"]),
        ("parameters != 500_000", ["cnn", "lstm", "gru, new"]),
        ("accuracy > 96.5 %", ["cnn", "lstm"]),
        ("mean>0.965", ["cnn", "lstm"]),
        ("speed < 2 ms", ["mlp"]),
        ("speed <= 1000us", ["mlp"]),
        ('"latency_p50_seconds{batch_size=1}" < 0.002', ["mlp"]),
        ("latency_p50_seconds{batch_size=1} > 2 ms", ["cnn"]),
        ("speed = none", ["lstm", "gru, new"]),
        ("speed != none", ["cnn", "mlp"]),
        ("model ~ LST", ["lstm"]),
        ("optimizer.learningRate = 3e-3", ["cnn"]),
        ("training.batchSize = 64", ["cnn", "mlp"]),
        ("training.speed = x", ["lstm"]),
        ("status = ranked", ["cnn", "lstm", "mlp"]),
        ("status = incomplete", ["gru, new"]),
        ("updated >= 2026-11-01", ["cnn", "lstm", "mlp"]),
        ("updated > 2026-11-01", []),
        ("m", ["lstm", "mlp"]),
        ('entry = "gru, new"', ["gru, new"]),
        ('"gru, n"', ["gru, new"]),
        ("<b>", []),
        (" , ", ["cnn", "lstm", "mlp", "gru, new"]),
    ],
)
def test_all_conditions_hold_for_the_rows_that_are_left(sheet: Sheet, filtered: str, expected: list[str]) -> None:
    assert entries(sheet, filtered) == expected


@pytest.mark.parametrize(
    ("sorted_by", "expected"),
    [
        ("params", ["mlp", "lstm", "cnn", "gru, new"]),
        ("-params", ["cnn", "lstm", "mlp", "gru, new"]),
        ("params desc", ["cnn", "lstm", "mlp", "gru, new"]),
        ("batchSize, -entry", ["mlp", "cnn", "lstm", "gru, new"]),
        ("speed", ["mlp", "cnn", "lstm", "gru, new"]),
        ("optimizer", ["cnn", "lstm", "mlp", "gru, new"]),
    ],
)
def test_rows_without_a_value_come_last_and_equal_ones_stay_in_order(
    sheet: Sheet, sorted_by: str, expected: list[str]
) -> None:
    assert entries(sheet, "", sorted_by) == expected


@pytest.mark.parametrize(
    ("filtered", "words"),
    [
        ("optimiser = AdamW", "there is no column 'optimiser': did you mean optimizer?"),
        ("zzz = 1", "there is no column 'zzz': there are: entry, status"),
        ("learningRate = 1", "may be any of optimizer.learningRate and schedule.learningRate"),
        ("params < many", "parameters is a number, and 'many' is none"),
        ("params < 3 ms", "parameters has no unit 'ms'"),
        ("speed < 3 parsecs", "speed has no unit 'parsecs': write 3 with one of ns, µs, ms, s"),
        ("optimizer < 3", "optimizer has words as values"),
        ("params ~ 3", "parameters is a number: compare it by"),
        ("params <", "has no value"),
        ("optimizer = AdamW |  ", "has no value"),
        ("updated > soon", "write 2026-01-31"),
        ("x" * 1001, "at most 1,000 characters"),
    ],
)
def test_what_cannot_be_read_is_named_with_what_to_write(sheet: Sheet, filtered: str, words: str) -> None:
    with pytest.raises(BadFilter) as raised:
        entries(sheet, filtered)
    assert words in str(raised.value)


def test_an_order_by_no_column_names_the_closest_one(sheet: Sheet) -> None:
    with pytest.raises(BadFilter, match="did you mean params"):
        entries(sheet, "", "-parms")


def test_ranks_and_the_summary_are_those_of_all_entries(sheet: Sheet) -> None:
    found = narrowed(sheet, narrow(sheet, "optimizer = SGD"))
    assert [(row.entry, row.place) for row in found.ranking.ranked] == [("mlp", "3")]
    assert found.summary == sheet.reading.summary
    assert "cnn" in found.summary


def test_no_hit_says_which_words_there_are(sheet: Sheet) -> None:
    assert "optimizer is AdamW and SGD" in no_hit(sheet, "optimizer = Adam")
    assert no_hit(sheet, "zzz") == 'No entry has "zzz" in its name.'


def test_a_rows_distance_to_the_best_is_a_difference_or_a_share(sheet: Sheet) -> None:
    by_entry = {row.entry: row.values for row in sheet.rows}
    assert by_entry["cnn"]["delta"] == 0
    assert by_entry["mlp"]["delta"] == pytest.approx(-0.03)
    speed = make_sheet(of_metric("speed", "latency_p50_seconds{batch_size=1}", {"a": (1.0, 1.1), "b": (2.0, 2.2)}))
    alone = {row.entry: row.values["status"] for row in speed.rows}
    assert set(alone.values()) == {"incomplete"}

"""Charts of noise floors and profiles say what their tables say: the specification for the browser is read back."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import pytest

from velodrome.board.declaration import Declaration, DeclaredBoard
from velodrome.board.noise import NoiseComparison, ObjectiveNoise, Smallest
from velodrome.board.profile import EntryProfile, Profile
from velodrome.metrics.catalogue import MetricKey
from velodrome.results.objectives import BoardObjective
from velodrome.stats.noise import Differences, TwinDifference
from velodrome.stats.profile import Bounded
from velodrome.trends.history import Point
from velodrome.trends.twins import Remeasured, TwinPoints
from velodrome_leaderboard.charts import LIGHT, Chart
from velodrome_leaderboard.noise_chart import described, differences
from velodrome_leaderboard.profile_chart import shares

KEY = MetricKey.parse("latency_p50_seconds{batch_size=1}")


def rows(chart: Chart) -> list[list[dict[str, Any]]]:
    return list(chart.to_dict()["datasets"].values())


def compared(*values: float) -> NoiseComparison:
    point = Point("job", "job", datetime(2026, 1, 1, tzinfo=UTC), "cnn", "cohort", {0: 1.0}, 1)
    each = tuple(TwinDifference(math.log1p(value), 0.5, same=False) for value in values)
    return NoiseComparison(tuple(TwinPoints(("id", None), point, point) for _ in values), Differences(each, None, None))


def noise(in_job: NoiseComparison, job_to_job: NoiseComparison, seen: float | None) -> ObjectiveNoise:
    smallest = (Smallest(5, 0.01, None if seen is None else math.log1p(seen)),)
    objective = BoardObjective("speed", KEY)
    return ObjectiveNoise(
        objective, "relative", "c", "words", Remeasured(), in_job, job_to_job, None, None, smallest, None, 0.05, 0.01
    )


def test_bars_of_both_kinds_stand_on_each_other_and_count_every_difference() -> None:
    chart = differences(noise(compared(0.01, 0.012), compared(0.011, -0.03), 0.06), "speed", LIGHT)
    bars, rules = rows(chart)
    assert sum(bar["count"] for bar in bars) == 4
    stacked = [bar for bar in bars if bar["from"] <= 1.1 <= bar["to"]]
    assert [(bar["kind"], bar["base"], bar["top"]) for bar in stacked] == [
        ("two names in one job", 0, 2),
        ("two jobs", 2, 3),
    ]
    assert [rule["from"] for rule in rules] == pytest.approx([-6.0, 6.0])


def test_without_a_smallest_change_there_is_no_line_and_equal_values_are_drawn() -> None:
    chart = differences(noise(compared(), compared(0.0, 0.0), None), "speed", LIGHT)
    (bars,) = rows(chart)
    assert [bar["count"] for bar in bars] == [2]


def test_the_words_for_those_who_can_not_see_the_chart_have_its_numbers() -> None:
    words = described(noise(compared(0.02), compared(0.01, -0.03, 0.05), 0.06), "speed")
    assert "1 A/A difference of speed between two names in one job: half are 2 % or less, the largest is 2 %." in words
    assert "3 A/A differences of speed between two jobs" in words
    assert "the largest is 5 %." in words
    assert "The smallest change that is seen is 6 %." in words


def test_a_profile_has_a_line_for_each_entry_and_a_band_for_the_model() -> None:
    one = Bounded(0.5, 0.25, 0.75)
    entries = tuple(EntryProfile(name, (5,), one, (one, one), None) for name in ("cnn", "<b>mlp"))
    declaration = Declaration(boards=(DeclaredBoard(name="digits"),))
    key = MetricKey.parse("accuracy")
    chart = shares(Profile("cnn", declaration, key, {"digits": ""}, {}, (0.1, 0.9), entries), LIGHT)
    (points,) = rows(chart)
    assert {(point["entry"], point["model"]) for point in points} == {("cnn", True), ("<b>mlp", False)}
    assert {(point["low"], point["share"], point["high"]) for point in points} == {(25, 50, 75)}
    band, lines = chart.to_dict()["layer"]
    assert (band["mark"]["type"], lines["mark"]["type"]) == ("area", "line")
    assert band["transform"] == [{"filter": "datum.model"}]

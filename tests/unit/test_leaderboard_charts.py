"""Charts say what the tables say: the specification that the browser is given is read back here."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import pytest

from velodrome.ranking.places import rank_objective
from velodrome.ranking.trade_offs import pareto
from velodrome.results.records import EpochPoint
from velodrome.store.types import Row
from velodrome.units import Scale, column_scale
from velodrome_leaderboard.charts import DARK, LIGHT, Chart, curve, curve_frame, dressed, intervals, is_loss, trade_off

AT = datetime(2026, 5, 4, tzinfo=UTC)


def rows(**values: tuple[float, ...]) -> list[Row]:
    return [
        Row(name, f"id-{name}", "job", "job", len(found), dict(enumerate(found)), AT) for name, found in values.items()
    ]


def datasets(chart: Chart) -> list[list[dict[str, Any]]]:
    spec = chart.to_dict()
    return list(spec["datasets"].values())


def test_intervals_are_drawn_in_rank_order_in_the_unit_of_the_table() -> None:
    ranking = rank_objective("accuracy", rows(worse=(0.5, 0.51, 0.52), better=(0.9, 0.91, 0.92)))
    scale = column_scale("ratio", [row.interval for row in ranking.ranked])
    chart = intervals(ranking.ranked, scale, "accuracy, %", "higher", LIGHT)
    means, seeds = datasets(chart)
    assert [row["entry"] for row in means] == [row.entry for row in ranking.ranked]
    better = next(row for row in means if row["entry"] == "better")
    assert better["mean"] == pytest.approx(91.0)
    assert better["low"] < 90
    assert better["high"] > 92
    assert sorted(row["value"] for row in seeds if row["entry"] == "better") == pytest.approx([90.0, 91.0, 92.0])
    sort = {str(layer["encoding"]["y"]["sort"]) for layer in chart.to_dict()["layer"]}
    assert sort == {str([row.entry for row in ranking.ranked])}


def test_a_single_value_of_a_deterministic_metric_is_drawn_as_a_point() -> None:
    ranking = rank_objective("parameters", rows(small=(100,), large=(300,)))
    chart = intervals(ranking.ranked, column_scale("count", []), "parameters", "lower", LIGHT)
    means, _ = datasets(chart)
    assert [row["low"] for row in means] == [row["mean"] for row in means] == [row["high"] for row in means]


def test_an_interval_is_drawn_no_further_than_its_values_can_lie() -> None:
    ranking = rank_objective("accuracy", rows(a=(0.99, 0.90), b=(0.1, 0.6)))
    scale = column_scale("ratio", [row.interval for row in ranking.ranked])
    spec = intervals(ranking.ranked, scale, "accuracy, %", "higher", LIGHT).to_dict()
    assert domain_of(spec) == [0.0, 100.0]


def test_no_value_is_left_outside_of_the_chart() -> None:
    close = tuple(0.5 + 0.01 * (-1) ** place for place in range(20))
    ranking = rank_objective("accuracy", rows(a=(*close, 0.2, 0.8)))
    low, high = domain_of(intervals(ranking.ranked, Scale("%", 0.01, 1), "accuracy, %", "higher", LIGHT).to_dict())
    assert low == pytest.approx(20)
    assert high == pytest.approx(80)


def domain_of(spec: dict[str, Any]) -> list[float]:
    axes = [layer["encoding"]["x"] for layer in spec["layer"]]
    (domain,) = [axis["scale"]["domain"] for axis in axes if "scale" in axis]
    return list(domain)


@pytest.mark.parametrize(("metric", "step"), [("accuracy", "step-before"), ("loss", "step-after")])
def test_the_front_is_drawn_as_what_its_entries_reach(metric: str, step: str) -> None:
    values = {"a": (0.9, 0.9), "b": (0.8, 0.8)}
    other = {"a": (2.0, 2.0), "b": (1.0, 1.0)} if metric == "accuracy" else {"a": (1.0, 1.0), "b": (2.0, 2.0)}
    found = pareto([rank_objective(metric, rows(**values)), rank_objective("train_seconds", rows(**other))])
    assert set(found.front) == {"a", "b"}
    chart = trade_off(found, [metric, "time"], DARK).to_dict()
    lines = [layer["mark"] for layer in chart["layer"] if layer["mark"]["type"] == "line"]
    assert [line["interpolate"] for line in lines] == [step]


def test_three_objectives_give_points_their_size_and_no_line() -> None:
    keys = ("accuracy", "train_seconds", "parameters")
    found = pareto([rank_objective(key, rows(a=(0.9, 0.8), b=(0.7, 0.6))) for key in keys])
    chart = trade_off(found, list(keys), LIGHT).to_dict()
    assert any("size" in layer["encoding"] for layer in chart["layer"])
    assert not any(layer["mark"]["type"] == "line" for layer in chart["layer"])


def points(count: int) -> list[EpochPoint]:
    return [
        EpochPoint(
            epoch=epoch, seconds=epoch / 2, train_loss=1 / epoch, learning_rate=0.1, samples_per_second=10,
            validation={"validation_loss": 2 / epoch, "accuracy": 0.5},
        )
        for epoch in range(1, count + 1)
    ]  # fmt: skip


def test_curves_show_losses_together_and_ratios_in_percent() -> None:
    frame = curve_frame(points(4))
    assert list(frame["accuracy"]) == [50.0] * 4
    losses = datasets(curve(frame, ["training loss", "validation_loss"], LIGHT, best_epoch=3))
    assert {row["series"] for data in losses for row in data if "series" in row} == {"training loss", "validation loss"}
    assert [{"epoch": 3}] in losses
    assert is_loss("validation_loss")
    assert not is_loss("accuracy")
    assert not is_loss("of a newer version")


def test_one_epoch_makes_a_chart() -> None:
    assert curve(curve_frame(points(1)), ["accuracy"], LIGHT).to_dict()


def test_each_point_shows_where_its_entry_stands() -> None:
    accuracy = rows(a=(0.9, 0.91, 0.92, 0.9), b=(0.5, 0.51, 0.52, 0.51), c=(0.89, 0.91, 0.92, 0.9))
    seconds = rows(a=(1.0, 1.2, 1.1, 1.3), b=(1.1, 1.2, 1.2, 1.3), c=(1.1, 1.2, 1.2, 1.3))
    found = pareto([rank_objective("accuracy", accuracy), rank_objective("train_seconds", seconds)])
    chart = trade_off(found, ["accuracy", "time"], LIGHT)
    (points,) = (layer for layer in chart.to_dict()["layer"] if "shape" in layer["encoding"])
    assert points["encoding"]["shape"]["field"] == points["encoding"]["color"]["field"] == "standing"
    drawn = {row["entry"]: row["standing"] for row in max(datasets(chart), key=len)}
    assert drawn == {"a": "front", "b": "dominated", "c": "maybe"}


LATENCY = "latency_p50_seconds{batch_size=1}"


def front(other: str = LATENCY, /, **entries: tuple[float, float]) -> Any:
    """The trade-off of entries by their accuracy and their latency, or another metric."""
    accuracy = rows(**{name: (value, value * 1.0001, value * 0.9999) for name, (value, _) in entries.items()})
    latency = rows(**{name: (value, value * 1.001, value * 0.999) for name, (_, value) in entries.items()})
    return pareto([rank_objective("accuracy", accuracy), rank_objective(other, latency)])


def spans(chart: Chart) -> list[list[float]]:
    """What the axes of a trade-off span."""
    (points,) = (layer for layer in chart.to_dict()["layer"] if "shape" in layer["encoding"])
    return [points["encoding"][axis]["scale"]["domain"] for axis in ("x", "y")]


def test_no_axis_shows_values_that_no_trial_can_have() -> None:
    (left, right), (bottom, top) = spans(trade_off(front(a=(0.5, 0.00001), b=(0.999, 0.1)), ["a", "b"], LIGHT))
    assert 0 < left < 50
    assert right == 100
    assert 0 <= bottom < 0.01
    assert top > 100


def test_an_axis_has_room_where_all_entries_are_equal_and_where_values_are_beyond_all_measure() -> None:
    for low, high in ((0.001, 0.001), (1e-9, 1e30), (1e30, 1e30)):
        found = front("loss", a=(0.9, low), b=(0.8, high))
        assert len(found.points) == 2
        for least, most in spans(trade_off(found, ["a", "b"], LIGHT)):
            assert math.isfinite(least)
            assert math.isfinite(most)
            assert least < most


def test_names_on_a_chart_overlap_nowhere_and_those_on_the_front_come_first() -> None:
    crowd = {f"a-rather-long-name-{place:02}": (0.9 + place / 1e5, 0.001 + place / 1e7) for place in range(12)}
    found = front(LATENCY, alone=(0.1, 0.1), **crowd)
    (data,) = [data for data in datasets(trade_off(found, ["a", "b"], LIGHT)) if len(data) == 13]
    for size in ("wide", "narrow"):
        named = {row["entry"] for row in data if row[size] is not None}
        assert "alone" in named
        assert 1 < len(named) < 13, "the crowd has no room for all"
        assert len({row[size] for row in data if row[size] is not None and row["entry"] != "alone"}) == len(named) - 1
        assert max(crowd) in named, "the most accurate one is on the front"


def test_the_text_of_charts_stands_out_from_the_page() -> None:
    def light(colour: str) -> float:
        parts = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
        r, g, b = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    for palette, page in ((LIGHT, "#ffffff"), (DARK, "#11151c")):
        texts = dressed(trade_off(front(a=(0.9, 0.1), b=(0.8, 0.2)), ["a", "b"], palette), palette).to_dict()["config"]
        for kind in ("axis", "legend"):
            for colour in (texts[kind]["labelColor"], texts[kind]["titleColor"]):
                more, less = sorted((light(colour), light(page)), reverse=True)
                assert (more + 0.05) / (less + 0.05) >= 4.5

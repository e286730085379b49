"""Numbers as people read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from velodrome.metrics.catalogue import CATALOGUE
from velodrome.stats import Interval, mean_interval
from velodrome.text import counted
from velodrome.units import ago, clock_time, column_scale, duration, quantity


@pytest.mark.parametrize(
    ("unit", "value", "text"),
    [
        ("seconds", 0.0012345, "1.234 ms"),
        ("seconds", 0.000045, "45 µs"),
        ("seconds", 3.5e-9, "3.500 ns"),
        ("seconds", 75.0, "75 s"),
        ("ratio", 0.97421, "97.42 %"),
        ("ratio", 0.0, "0 %"),
        ("ratio", 1.0, "100 %"),
        ("bytes", 512, "512 B"),
        ("bytes", 3 * 2**20 + 2**19, "3.500 MiB"),
        ("count", 21840, "21,840"),
        ("count", 11_173_962, "11.17 million"),
        ("samples_per_second", 12345.6, "12,346 samples/s"),
        ("nats", 0.10532, "0.1053 nats"),
        ("nats", -0.5, "-0.5000 nats"),
        ("joules", 1500, "1.500 kJ"),
        ("furlongs", 2.5, "2.500 furlongs"),
    ],
)
def test_a_value_alone(unit: str, value: float, text: str) -> None:
    assert quantity(unit, value) == text


def test_every_unit_of_the_catalogue_has_a_symbol_of_its_own() -> None:
    for unit in {metric.unit for metric in CATALOGUE.values()} - {"count", "nats", "bits"}:
        assert unit not in quantity(unit, 123.0)


def test_a_column_shows_two_digits_of_its_margins() -> None:
    intervals = [mean_interval(values) for values in ([0.970, 0.975, 0.972], [0.95, 0.96, 0.955])]
    scale = column_scale("ratio", intervals)
    assert scale.symbol == "%"
    assert [scale.number(interval.mean) for interval in intervals] == ["97.23", "95.50"]
    assert [scale.margin(interval) for interval in intervals] == ["± 0.63", "± 1.24"]


def test_a_few_tiny_margins_do_not_flood_a_column_with_digits() -> None:
    def interval(margin: float) -> Interval:
        return Interval(0.9, 0.9 - margin, 0.9 + margin, 5, margin)

    assert column_scale("ratio", [interval(margin) for margin in (0.0045, 0.0039, 0.0051, 0.000009)]).decimals == 2
    assert column_scale("ratio", [interval(margin) for margin in (0.127, 0.081, 0.153, 0.239, 0.022)]).decimals == 1


def test_a_column_keeps_one_scale_for_all_its_values() -> None:
    scale = column_scale(
        "seconds", [Interval(value, value - 1e-6, value + 1e-6, 5, 1e-6) for value in (0.0009, 0.002, 0.5)]
    )
    assert scale.symbol == "ms"
    assert scale.number(0.0009) == "0.9000"


def test_exact_counts_have_no_decimals_and_one_value_no_margin() -> None:
    scale = column_scale("count", [Interval(21840.0, None, None, 1, None), Interval(9.0, 9.0, 9.0, 2, 0.0)])
    assert scale.number(21840.0) == "21,840"
    assert scale.margin(Interval(1.0, None, None, 1, None)) == ""
    assert scale.margin(Interval(9.0, 9.0, 9.0, 2, 0.0)) == "± 0"


@given(st.sampled_from(sorted({metric.unit for metric in CATALOGUE.values()})), st.floats(-1e100, 1e100))
def test_any_value_has_a_text(unit: str, value: float) -> None:
    assert quantity(unit, value)
    assert column_scale(unit, [Interval(value, None, None, 1, None)]).number(value)


def test_an_empty_column_has_a_scale() -> None:
    assert column_scale("bytes", []).decimals == 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0.0 s"),
        (0.84, "0.8 s"),
        (42, "42 s"),
        (185, "3 min 5 s"),
        (120, "2 min"),
        (7800, "2 h 10 min"),
        (273600, "3 d 4 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "just now"),
        (-299, "just now"),
        (-7300, "in 2 h"),
        (-40 * 86400 + 60, "in 40 days"),
        (3, "just now"),
        (42, "42 s ago"),
        (300, "5 min ago"),
        (7300, "2 h ago"),
        (86400, "1 day ago"),
        (300000, "3 days ago"),
    ],
)  # fmt: skip
def test_times_past(seconds: float, text: str) -> None:
    assert ago(seconds) == text


@pytest.mark.parametrize(
    ("zone", "shown"),
    [
        (UTC, "2026-03-01 12:00:00 UTC"),
        (timezone(timedelta(hours=5, minutes=30), "IST"), "2026-03-01 17:30:00 UTC+05:30"),
        (timezone(-timedelta(hours=3, minutes=30)), "2026-03-01 08:30:00 UTC-03:30"),
    ],
)
def test_a_time_carries_its_distance_from_utc(zone: timezone, shown: str) -> None:
    assert clock_time(datetime(2026, 3, 1, 12, tzinfo=UTC), zone=zone) == shown


def test_a_time_that_other_zones_do_not_have_is_in_utc() -> None:
    assert clock_time(datetime.max.replace(tzinfo=UTC), "%H:%M", timezone(timedelta(hours=1))) == "23:59 UTC"


@pytest.mark.parametrize(("number", "shown"), [(0, "0 entries"), (1, "1 entry"), (1200, "1,200 entries")])
def test_a_noun_agrees_with_its_number(number: int, shown: str) -> None:
    assert counted(number, "entry", "entries") == shown

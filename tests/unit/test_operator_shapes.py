"""What the operator reads of objects that anybody may have written."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from velodrome_operator import shapes

# Whatever a JSON document can hold, and what stands in for it in fields of the API.
odd_texts = st.sampled_from(
    [
        "",
        "abc",
        "0-99999999999",
        "5-2",
        "-1",
        "١٢",
        "9" * 5000,
        "9999-12-31T23:59:59-14:00",
        "2026-01-01",
        "True",
        "\x00",
    ]
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8) | odd_texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(json_values)
def test_every_reader_answers_its_type_whatever_it_reads(value: Any) -> None:
    assert isinstance(shapes.at(shapes.mapping(value), "a", "b"), object)
    assert isinstance(shapes.items(value), list | tuple)
    assert isinstance(shapes.text(value), str)
    assert shapes.text_or_none(value) is None or isinstance(value, str)
    assert isinstance(shapes.flag(value), bool)
    assert 0 <= shapes.count(value) <= shapes.MOST_COUNT
    assert shapes.decimal(value) is None or 0 <= int(value) <= shapes.MOST_COUNT
    found = shapes.moment(value)
    assert found is None or found.tzinfo is UTC
    assert shapes.indexes(value, 100) <= frozenset(range(100))
    assert all(one["type"] for one in shapes.conditions(value) if one["type"] is not None)
    assert isinstance(shapes.held(shapes.by_type(value)), frozenset)
    assert isinstance(shapes.status(value), dict)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2026-03-01T12:00:00Z", datetime(2026, 3, 1, 12, tzinfo=UTC)),
        ("2026-03-01T12:00:00.123456Z", datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)),
        ("2026-03-01T14:00:00+02:00", datetime(2026, 3, 1, 12, tzinfo=UTC)),
        ("2026-03-01T12:00:00", None),
        ("9999-12-31T23:59:59-14:00", None),
        ("9999-12-31T23:59:59Z", None),
        ("yesterday", None),
        (1_772_366_400, None),
        (None, None),
    ],
)
def test_a_time_is_one_that_can_be_reckoned_with(written: Any, read: datetime | None) -> None:
    assert shapes.moment(written) == read


@pytest.mark.parametrize(
    ("written", "read"),
    [("0-99999999999", {0, 1, 2, 3, 4}), ("3-", set()), ("4-2,1", {1}), ("abc,2", {2}), ("-1", set()), (7, set())],
)
def test_completion_indexes_are_those_that_there_can_be(written: Any, read: set[int]) -> None:
    assert shapes.indexes(written, 5) == read


@pytest.mark.parametrize(
    ("written", "read"),
    [("0", 0), ("12", 12), ("abc", None), ("-1", None), ("1.0", None), ("", None), ("²", None), (3, None),
     (str(2**31 - 1), 2**31 - 1), (str(2**31), None), ("9" * 5000, None)],
)  # fmt: skip
def test_numbers_in_texts(written: Any, read: int | None) -> None:
    assert shapes.decimal(written) == read


def test_what_a_status_does_not_say_readably_it_does_not_say() -> None:
    whole = {
        "type": "Complete",
        "status": "True",
        "reason": "R",
        "message": "m",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    given = {
        "conditions": [whole, {**whole, "lastTransitionTime": "soon"}, {**whole, "reason": None}, "Failed", None],
        "trials": {"total": "many", "succeeded": 3, "done": "3/4", "failed": True},
        "message": 4,
        "startTime": "9999-12-31T23:59:59Z",
        "completionTime": "2026-01-01T00:00:00Z",
        "leader": "cnn",
    }
    assert shapes.status(given) == {
        "conditions": [whole],
        "trials": {"succeeded": 3, "done": "3/4"},
        "completionTime": "2026-01-01T00:00:00Z",
        "leader": "cnn",
    }
    assert shapes.status("Complete") == {}

"""Equal values have one spelling, whoever spells them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from velodrome.canonical import canonical, digest

VALUE: dict[str, Any] = {
    "b": [1.0, 1, 0.1, 1e22, 1e-7, -0.0, 123456789012345678],
    "a": {"ü": "ß\n", "2": None, "10": True},
    "": "",
}


def test_one_spelling(golden: Callable[[str, str], None]) -> None:
    golden("canonical.txt", f"{canonical(VALUE)}\n{digest(VALUE)}\n{digest(VALUE, 64)}\n")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1.0, 1),
        (-0.0, 0),
        (1e22, 10**22),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ((1, 2), [1, 2]),
        ({"a": {"b": (1.0,)}}, {"a": {"b": [1]}}),
    ],
    ids=repr,
)
def test_equal_values_are_spelt_alike(one: Any, other: Any) -> None:
    assert canonical(one) == canonical(other)
    assert digest(one) == digest(other)


@pytest.mark.parametrize(
    ("one", "other"), [(1, "1"), (1, True), (0, None), ([], {}), ("a", "a "), (0.1, 0.10000000000000002)], ids=repr
)
def test_different_values_are_spelt_differently(one: Any, other: Any) -> None:
    assert canonical(one) != canonical(other)
    assert digest(one) != digest(other)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [-float("inf")], {"a": float("nan")}], ids=repr)
def test_what_is_no_number_has_no_spelling(value: Any) -> None:
    with pytest.raises(ValueError, match="Out of range float values are not JSON compliant"):
        canonical(value)


@pytest.mark.parametrize("value", [b"a", {1, 2}, 1j, {1: 2}, {"a": {True: 1}}], ids=repr)
def test_what_json_cannot_hold_has_no_spelling(value: Any) -> None:
    with pytest.raises(TypeError):
        canonical(value)


@pytest.mark.parametrize("length", [1, 12, 16, 64])
def test_a_digest_has_the_length_that_was_asked_for(length: int) -> None:
    assert len(digest("a", length)) == length
    assert digest("a", 64).startswith(digest("a", length))

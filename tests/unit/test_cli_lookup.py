"""The names that a usage error offers."""

from __future__ import annotations

import pytest

from velodrome.board.choosing import listing

MANY = [f"nightly-{number}" for number in range(1000)]


def test_a_few_names_keep_their_order() -> None:
    assert listing("gru", ["cnn", "mlp", "gru"]) == "cnn, mlp, gru"
    assert listing("gru", MANY[:10]) == ", ".join(MANY[:10])
    assert listing("gru", []) == ""


def test_of_many_names_the_nearest_come_first_and_the_rest_is_counted() -> None:
    said = listing("weekly-digits", [*MANY, "weekly-digit"])
    names, _, rest = said.partition(" and ")
    assert names.split(", ")[0] == "weekly-digit"
    assert len(names.split(", ")) == 10
    assert rest == "991 more"


@pytest.mark.parametrize("wanted", ["", "ä" * 5000, "\udcff", "nightly"])
def test_any_text_may_be_typed(wanted: str) -> None:
    assert listing(wanted, MANY).endswith(" and 990 more")

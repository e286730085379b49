"""Confusion matrices are added up over an entry's trials, and those that no test split has are left out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tools.sample_results import race
from velodrome.results.confusion import Confusion, Pair, confusion_of
from velodrome.results.records import TrialRecord

MADE = race("sums", datetime(2026, 1, 1, tzinfo=UTC))
NAMES = ("cat", "dog", "newt")


def record(matrix: Any, classes: tuple[str, ...] | None = NAMES) -> TrialRecord:
    made = MADE.record(MADE.trials[0])
    facts = None if classes is None else made.result.dataset and made.result.dataset.model_copy(
        update={"classes": classes}
    )  # fmt: skip
    return made.model_copy(update={"result": made.result.model_copy(update={"confusion": matrix, "dataset": facts})})


def test_matrices_are_added_up_cell_by_cell() -> None:
    found = confusion_of([record(((5, 1, 0), (2, 4, 0), (0, 0, 0))), record(((4, 2, 0), (2, 3, 1), (0, 0, 0)))])
    assert found == Confusion(NAMES, ((9, 3, 0), (4, 7, 1), (0, 0, 0)), trials=2)
    assert found.most_confused(2) == [Pair("dog", "cat", 4, 12), Pair("cat", "dog", 3, 12)]
    assert found.most_confused(9)[2:] == [Pair("dog", "newt", 1, 12)]
    assert found.pairs[0].share == 0.75
    assert found.pairs[-1] == Pair("newt", "newt", 0, 0)
    assert found.pairs[-1].share == 0


@pytest.mark.parametrize(
    "odd",
    [
        None,
        (),
        ((),),
        ((1, 2, 3),),
        ((1, 2), (3,)),
        ((1, 2), (3, -1)),
        ((2**53, 1), (0, 0)),
        ((1,) * 101,) * 101,
        ((1, 0), (0, 1)),  # of two classes, and the first matrix has three
    ],
)
def test_an_odd_matrix_is_left_out(odd: Any) -> None:
    good = record(((1, 0, 0), (0, 1, 0), (0, 0, 1)))
    found = confusion_of([good, record(odd), record(((1, 0, 0), (0, 1, 0), (0, 0, 1)), ("other", "dog", "newt"))])
    assert found is not None
    assert (found.trials, found.counts) == (1, good.result.confusion)


def test_there_may_be_none() -> None:
    assert confusion_of([]) is None
    assert confusion_of([record(None), record(((1, 2),))]) is None
    assert confusion_of([record(((2**53 - 1, 1), (0, 0)), ("a", "b"))] * 2) is None, "the sum is too large to draw"


def test_classes_without_a_name_have_their_number() -> None:
    for classes in (None, (), ("a", "b", "c")):
        found = confusion_of([record(((1, 0), (0, 1)), classes)])
        assert found is not None
        assert found.classes == ("0", "1")

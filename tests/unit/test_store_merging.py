"""Where jobs of an export take their place: in the order of their source, merged with others by time."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from velodrome.store.merging import MARGIN, ROOM, Ahead, SourceOrder, among

DAY = 86_400_000_000
NOW = 1_700_000_000_000_000
LATE = NOW + 40 * DAY


def places(source: list[tuple[int, int]], ahead: list[Ahead] | None = None) -> list[int]:
    """The places of jobs, newest first as an export has them, from place and time at their source."""
    order, found = SourceOrder(), []
    for there, created in source:
        found.append(order.place(there, created, ahead or []))
        order.note(there, found[-1])
    return found


def test_where_clocks_went_forward_a_place_stays_what_it_was() -> None:
    source = [(NOW + 9, NOW + 9), (NOW + 6, NOW + 5), (NOW + 5, NOW + 5), (NOW, NOW)]
    assert places(source) == [NOW + 9, NOW + 6, NOW + 5, NOW]


def test_a_clock_that_was_ahead_makes_no_later_job_older() -> None:
    """The first job ran 40 days ahead, and was taken as of now; the second ran yesterday, the third today."""
    source = [(LATE + 2, NOW - 10), (LATE + 1, NOW - DAY), (LATE, NOW)]
    assert places(source) == [NOW - 10, NOW - DAY, NOW - DAY - 1]


def test_a_clock_that_was_behind_makes_the_older_ones_as_old() -> None:
    source = [(NOW + 2, NOW + 2), (NOW + 1, 0), (NOW, NOW)]
    found = places(source)
    assert found[0] == NOW + 2
    assert sorted(found, reverse=True) == found


def test_among_jobs_from_the_future_it_stands_behind_those_that_were_registered_before_it() -> None:
    ahead = [Ahead(LATE, LATE), Ahead(LATE + ROOM, NOW - DAY), Ahead(LATE + 2 * ROOM, NOW + DAY)]
    assert among(NOW - 2 * DAY, ahead) == NOW - 2 * DAY
    assert LATE + ROOM < among(NOW, ahead) < LATE + 2 * ROOM
    assert among(NOW + 2 * DAY, ahead) > LATE + 2 * ROOM
    assert among(NOW, []) == NOW


TIMES = st.integers(2 * MARGIN, 2**53)


@given(st.dictionaries(TIMES, TIMES, max_size=20))
def test_the_order_of_the_source_is_kept(source: dict[int, int]) -> None:
    found = places(sorted(source.items(), reverse=True))
    assert all(newer > older for newer, older in pairwise(found))


@given(st.dictionaries(TIMES, TIMES, max_size=20), st.dictionaries(TIMES, TIMES, max_size=5))
def test_it_is_kept_among_jobs_from_the_future_as_well(source: dict[int, int], future: dict[int, int]) -> None:
    ahead = [Ahead(*one) for one in sorted(future.items())]
    found = places(sorted(source.items(), reverse=True), ahead)
    assert all(newer > older for newer, older in pairwise(found))

"""How far a race until decided is, as the store keeps it, with a real Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from velodrome.errors import StoreRefused
from velodrome.results.records import Rounds
from velodrome.store import Store, export_lines, import_lines, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.conftest import Race, RedisServer

TRIALS = {"trials": {"repeats": 2, "until": {"decided": ["accuracy"], "maxRepeats": 8}}}
FIRST = Rounds(looks=0, repeats={"cnn": 2, "mlp": 2, "gru": 2})
SECOND = Rounds(looks=1, repeats={"cnn": 4, "mlp": 2, "gru": 4})


@pytest.fixture
def other(redis_server: RedisServer) -> Iterator[Store]:
    """Another empty store."""
    with open_store(f"{redis_server.url}?db=1") as opened:
        yield opened


def registered(store: Store, make_race: type[Race]) -> Race:
    race = make_race(spec=TRIALS)
    store.register(race.info)
    return race


def rounds(store: Store, race: Race) -> Rounds | None:
    job = store.job(race.uid)
    assert job is not None
    return job.rounds


def test_rounds_only_go_forward_and_count_as_a_change_of_the_board(store: Store, make_race: type[Race]) -> None:
    race = registered(store, make_race)
    assert rounds(store, race) == FIRST
    before = store.board_version(race.board)
    store.keep_rounds(race.uid, SECOND)
    after = store.board_version(race.board)
    assert (rounds(store, race), before != after) == (SECOND, True)
    store.keep_rounds(race.uid, SECOND)
    store.keep_rounds(race.uid, FIRST)
    store.register(race.info)
    assert (rounds(store, race), store.board_version(race.board)) == (SECOND, after), "the same again changes nothing"


def test_what_was_planned_for_an_entry_is_what_was_asked_for(store: Store, make_race: type[Race]) -> None:
    race = registered(store, make_race)
    store.accept(race.uid, 0, [race.record(index) for index in range(6)])
    (cohort,) = store.cohorts(race.board, "accuracy")
    store.keep_rounds(race.uid, SECOND)
    assert {name: state.planned for name, state in store.entries(race.uid).items()} == SECOND.repeats
    store.accept(race.uid, 0, [race.record(index) for index in (6, 8)])
    rows = store.ranking_rows(race.board, "accuracy", cohort.cohort_id)
    assert {row.entry: (len(row.samples), row.planned) for row in rows} == {"cnn": (3, 4), "mlp": (2, 2), "gru": (3, 4)}


def test_impossible_rounds_are_refused(store: Store, make_race: type[Race]) -> None:
    race = registered(store, make_race)
    for wrong in (
        {"cnn": 2, "mlp": 2},
        {**SECOND.repeats, "lstm": 2},
        {**SECOND.repeats, "cnn": 9},
        {**SECOND.repeats, "cnn": 0},
    ):
        with pytest.raises(ValueError, match="the rounds of job"):
            store.keep_rounds(race.uid, Rounds(looks=2, repeats=wrong))
    with pytest.raises(StoreRefused, match="register it"):
        store.keep_rounds("nobody", SECOND)
    assert rounds(store, race) == FIRST


def test_an_export_has_them_and_a_later_look_replaces_an_earlier_one(
    store: Store, other: Store, make_race: type[Race]
) -> None:
    race = registered(store, make_race)
    early = list(export_lines(store))
    store.keep_rounds(race.uid, SECOND)
    store.accept(race.uid, 0, [race.record(index) for index in range(9) if index != 7])
    late = list(export_lines(store))
    for lines in (early, late, early):
        assert import_lines(other, lines).rejected == ()
    assert rounds(other, race) == SECOND
    assert list(export_lines(other)) == late

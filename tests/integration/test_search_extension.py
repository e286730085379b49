"""A search that is carried on by a further run: whatever breaks it off, what was suggested and measured is there."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.test_operator_search import UID, finish, made
from tests.searched import registered
from velodrome.board.desk import SearchDesk
from velodrome.board.extension import carry, present_run, raise_trials
from velodrome.errors import StoreRefused, StoreUnavailable
from velodrome.keys import object_uid, run_uid, search_uid
from velodrome.results.registration import job_info

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.conftest import Race
    from velodrome.store import Store

AT = datetime(2026, 2, 1, tzinfo=UTC)
NEXT = run_uid(UID, 2)


def searched(store: Store, race: Race) -> SearchDesk:
    """A search that has ended, with its winners stored."""
    registered(store, race.plan, UID)
    desk = SearchDesk(race.plan, UID, lambda question: question(store))
    while (index := desk.suggest()) is not None:
        finish(store, race, index)
        desk.take([index])
    store.keep_searched(UID, desk.state.searched())
    return desk


def broken_off(store: Store, after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis is away after so many writes."""
    left = after

    def counted(write: Callable[..., Any]) -> Callable[..., Any]:
        def written(*given: Any) -> Any:
            nonlocal left
            if left == 0:
                raise StoreUnavailable("it is away")
            left -= 1
            return write(*given)

        return written

    for name in ("suggest", "accept", "register_search"):
        monkeypatch.setattr(store, name, counted(getattr(store, name)))


def test_a_search_that_is_carried_on_has_all_of_it_wherever_that_was_broken_off(
    store: Store, make_race: type[Race], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, whole = searched(store, made(make_race, trials=3)), made(make_race, trials=5)
    giver = store.job(UID)
    assert giver is not None
    info = job_info(whole.plan, NEXT, AT)
    store.register(info)
    for after in range(20):
        with monkeypatch.context() as patch:
            broken_off(store, after, patch)
            try:
                carry(store, giver, whole.plan, info, AT)
            except StoreUnavailable:
                continue
            break
    assert after > 6, "it was broken off at each of its writes"
    assert carry(store, giver, whole.plan, info, AT) == 0, "it has begun"
    assert store.suggestions(search_uid(NEXT)) == store.suggestions(search_uid(UID))
    records = store.records(search_uid(NEXT), 0, 15)
    assert [one.taken_from.job_uid for one in records if one.taken_from] == [UID] * 6
    on = SearchDesk(whole.plan, NEXT, lambda question: question(store))
    on.read()
    assert on.state.outcomes == desk.state.outcomes
    assert on.suggest() == 9


def test_a_run_begins_once_its_search_has_ended_with_fewer_trials(store: Store, make_race: type[Race]) -> None:
    race = made(make_race, trials=3)
    assert present_run(store, UID, 5) == 1, "nothing is registered"
    registered(store, race.plan, UID)
    assert present_run(store, UID, 5) == 1, "it goes on"


def test_a_search_that_has_ended_stays_as_it_is(store: Store, make_race: type[Race]) -> None:
    searched(store, made(make_race, trials=3))
    before = store.job(UID)
    raised = made(make_race, trials=5).plan
    assert store.raise_search(job_info(raised, UID, AT)) == before == store.job(UID)
    assert (present_run(store, UID, 3), present_run(store, UID, 5)) == (1, 2)
    store.register(job_info(raised, NEXT, AT))
    assert present_run(store, UID, 5) == present_run(store, UID, 9) == 2, "that one goes on"
    with pytest.raises(StoreRefused, match="knows no job 'unknown'"):
        store.raise_search(job_info(raised, "unknown", AT))
    assert {object_uid(uid) for uid in (UID, NEXT, search_uid(NEXT))} == {UID}


def test_a_job_knows_a_raised_search_and_its_further_trials_are_accepted(store: Store, make_race: type[Race]) -> None:
    race, whole = made(make_race, trials=1), made(make_race, trials=2)
    registered(store, race.plan, UID)
    desk = SearchDesk(race.plan, UID, lambda question: question(store))
    assert desk.suggest() == 0
    finish(store, race, 0)
    raise_trials(store, whole.plan, job_info(whole.plan, UID, AT))
    raise_trials(store, race.plan, job_info(race.plan, UID, AT))  # an operator that saw less changes nothing
    on = SearchDesk(whole.plan, UID, lambda question: question(store))
    on.read()
    assert [on.suggest(), on.suggest(), on.suggest()] == [1, 3, 4]
    finish(store, whole, 4)
    assert store.trials(search_uid(UID)).keys() == {0, 4}
    info = store.job(search_uid(UID))
    assert info is not None
    assert (info.most_searched, info.repeats, info.trials) == (2, 2, 6)

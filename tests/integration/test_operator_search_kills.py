"""A search that is raised while its operator is killed at each of its writes, and is raised once more before the next
operator starts. Redis is real; the API server keeps objects, and the test is its pods.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.test_operator_judgement import Operator
from tests.integration.test_operator_search import (
    ONE_AT_A_TIME,
    Cleared,
    confirmed,
    finish,
    held,
    made,
    more,
    plan_of,
    restarted,
    searched,
    searched_on,
    suggested,
    turns,
)
from tests.integration.test_operator_takeover import status
from tests.integration.test_race_search import by_optuna_alone
from velodrome import keys
from velodrome.board.viewing import objectives_of, read_objectives

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.integration.conftest import Race, RedisServer
    from velodrome.store import Store

OF_STORE = ("register", "register_search", "raise_search", "give_turn", "accept", "keep_searched")
OF_CLUSTER = ("create", "write_status", "delete_job", "patch_job")


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A status that changed only counts is written in the same pass."""
    monkeypatch.setattr("velodrome_operator.status_writer.STATUS_SECONDS", 0.0)


class Killed(BaseException):
    """The operator is gone: nothing of it runs any more."""


class Writes:
    """Counts what an operator writes, and kills it before it writes once more than it may."""

    def __init__(self, may: int) -> None:
        self.may, self.made, self.left = may, list[str](), True

    def watch(self, patch: pytest.MonkeyPatch, *places: tuple[object, tuple[str, ...]]) -> None:
        """Counts these methods of these objects."""
        for place, methods in places:
            for name in methods:
                patch.setattr(place, name, self._counted(name, getattr(place, name)))

    def _counted(self, name: str, write: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*given: Any, **named: Any) -> Any:
            if len(self.made) == self.may:
                self.left = False
                raise Killed
            self.made.append(name)
            return write(*given, **named)

        return counted


def raised(
    may: int, before: Operator, objects: Cleared, store: Store, server: RedisServer, race: Race
) -> tuple[Operator, Writes]:
    """The operator that goes on after the search was raised to 4 trials, and was raised to 5 when that one was killed
    after so many writes.
    """
    writes = Writes(may)
    more(before, race, 4)
    with pytest.MonkeyPatch.context() as patch:
        writes.watch(patch, (store, OF_STORE), (objects, OF_CLUSTER))
        try:
            for _ in range(3):
                before.passes(race)
        except Killed:
            assert not writes.left
    more(before, race, 5)
    return restarted(store, server, objects, before, race), writes


def ends_as_it_should(now: Operator, objects: Cleared, store: Store, race: Race, whole: Race) -> None:
    """Runs the rest of the search, and of the trials that confirm."""
    for _ in range(4):
        now.passes(race)
    known = now.controller.races.get(race.uid)
    assert known is not None
    uid = known.results_uid
    searched_on(now, store, race, uid)
    given = [index for stretch in store.turns(keys.search_uid(uid)).values() for index in stretch]
    assert len(given) == len(set(given)), "no suggestion is given twice"
    assert suggested(store, uid) == by_optuna_alone(plan_of(whole))
    confirmed(now, store, race)
    assert held(now, race).keys() == {"Complete"}
    assert status(now, race)["search"]["done"] == "10/10"
    own = [job for job in objects.made_jobs if job["metadata"]["labels"][keys.LABEL_JOB_UID] == race.uid]
    for job in own:
        assert keys_of(job, objects) >= job["spec"]["completions"], "each of its pods finds its report key"


def keys_of(job: dict[str, Any], objects: Cleared) -> int:
    """How many completion indexes of a Job have a report key, from the first one on."""
    volumes = {one["name"]: one for one in job["spec"]["template"]["spec"]["volumes"]}
    of = volumes[keys.VOLUME_REPORT_KEYS]["secret"]["secretName"]
    there, found = objects.created["Secret", of]["stringData"], 0
    while f"report-key-0-{found}" in there:
        found += 1
    return found


def test_a_search_under_way_that_is_raised_ends_as_it_should_whichever_write_is_the_last(
    store: Store, redis_server: RedisServer, make_race: type[Race]
) -> None:
    writes = Writes(0)
    for may in range(100):
        objects = Cleared()
        uid = f"going{may}"
        race, whole = (made(make_race, trials=most, uid=uid, spec=ONE_AT_A_TIME) for most in (1, 5))
        now = Operator(store, redis_server.client(), objects)
        now.sees(race)
        now.passes(race)
        finish(store, race, turns(store, uid)[0])
        now, writes = raised(may, now, objects, store, redis_server, race)
        ends_as_it_should(now, objects, store, race, whole)
        if writes.left:
            break
    assert {"raise_search", "give_turn", "create", "write_status"} <= set(writes.made)


def test_a_search_that_has_ended_and_is_raised_ends_as_it_should_whichever_write_is_the_last(
    store: Store, redis_server: RedisServer, make_race: type[Race]
) -> None:
    writes = Writes(0)
    for may in range(100):
        objects = Cleared()
        uid = f"over{may}"
        race, whole = (made(make_race, trials=most, uid=uid, spec=ONE_AT_A_TIME) for most in (1, 5))
        now = Operator(store, redis_server.client(), objects)
        searched(now, store, race)
        confirmed(now, store, race)
        now, writes = raised(may, now, objects, store, redis_server, race)
        ends_as_it_should(now, objects, store, race, whole)
        assert len(store.trials(uid)) == 6, "what was confirmed before stays on record"
        if writes.left:
            break
    assert {"register", "accept", "give_turn", "create", "write_status"} <= set(writes.made)


def waits_no_more(raw: Mapping[str, Any]) -> bool:
    """Whether `kubectl wait --for=condition=Complete` ends: it looks at the generation that a condition is of."""
    complete = [one for one in raw.get("status", {}).get("conditions", ()) if one["type"] == "Complete"]
    return any(
        one["status"] == "True" and one["observedGeneration"] >= raw["metadata"].get("generation", 1)
        for one in complete
    )


def parent(now: Operator, race: Race) -> dict[str, Any]:
    known = now.controller.races.get(race.uid)
    assert known is not None
    return dict(known.parent.raw)


def changed(now: Operator, race: Race, **spec: Any) -> None:
    """Somebody changes fields of the spec."""
    raw = deepcopy(parent(now, race))
    raw["spec"] |= spec
    raw["metadata"]["generation"] = raw["metadata"].get("generation", 1) + 1
    raw["metadata"]["resourceVersion"] = str(int(raw["metadata"]["resourceVersion"]) + 1)
    now.controller.races.saw_parent(raw)


def test_who_waits_for_the_end_of_a_raised_search_does_not_see_the_one_before(
    store: Store, redis_server: RedisServer, make_race: type[Race], monkeypatch: pytest.MonkeyPatch
) -> None:
    objects, seen = Cleared(), list[bool]()
    race, now = made(make_race, trials=3, spec=ONE_AT_A_TIME), Operator(store, redis_server.client(), objects)
    searched(now, store, race)
    confirmed(now, store, race)
    assert waits_no_more(parent(now, race))
    write = objects.write_status

    async def written(of: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any] | None:
        found = await write(of, wanted)
        assert found is not None
        seen.append(waits_no_more(found))
        return found

    monkeypatch.setattr(objects, "write_status", written)
    more(now, race, 4)
    assert not waits_no_more(parent(now, race)), "before the operator saw it"
    now.passes(race)
    (complete,) = [one for one in status(now, race)["conditions"] if one["type"] == "Complete"]
    generation = parent(now, race)["metadata"]["generation"]
    assert (complete["status"], complete["reason"]) == ("False", "SearchRaised")
    assert {one["observedGeneration"] for one in status(now, race)["conditions"]} == {generation}
    assert status(now, race)["observedGeneration"] == generation
    for _ in range(3):
        now.passes(race)
    searched_on(now, store, race, keys.run_uid(race.uid, 2))
    assert seen
    assert not any(seen)
    confirmed(now, store, race)
    assert waits_no_more(parent(now, race))


def test_who_waits_for_a_race_that_has_ended_and_was_changed_sees_its_end(
    store: Store, redis_server: RedisServer, make_race: type[Race]
) -> None:
    objects = Cleared()
    race, now = made(make_race, trials=1, spec=ONE_AT_A_TIME), Operator(store, redis_server.client(), objects)
    searched(now, store, race)
    confirmed(now, store, race)
    before = status(now, race)
    changed(now, race, suspend=True)
    assert not waits_no_more(parent(now, race))
    now.passes(race)
    assert waits_no_more(parent(now, race))
    after = status(now, race)
    assert [one | {"observedGeneration": 1} for one in after["conditions"]] == before["conditions"]
    written = objects.statuses
    now.passes(race)
    assert objects.statuses == written, "it is said once"


def test_a_winner_that_is_the_same_after_more_trials_keeps_what_confirmed_it(
    store: Store, redis_server: RedisServer, make_race: type[Race]
) -> None:
    """Of four trials the fourth is the best one, and the first of three."""
    objects = Cleared()
    race, now = made(make_race, trials=2, spec=ONE_AT_A_TIME), Operator(store, redis_server.client(), objects)
    searched(now, store, race)
    confirmed(now, store, race)
    jobs, again, third = len(objects.made_jobs), keys.run_uid(race.uid, 2), keys.run_uid(race.uid, 3)
    more(now, race, 3)
    for _ in range(4):
        now.passes(race)
    searched_on(now, store, race, again)
    assert held(now, race)["Complete"][0] == "AllTrialsFinished"
    assert len(objects.made_jobs) == jobs + 1, "no pod confirms anything again"
    said = status(now, race)
    assert (said["takenOver"]["uid"], said["takenOver"]["count"], said["trials"]["done"]) == (race.uid, 6, "6/6")
    before, after = (store.records(uid, 0, 6) for uid in (race.uid, again))
    assert [one.result.metrics for one in after] == [one.result.metrics for one in before]
    assert [one.result.seed for one in after] == [one.result.seed for one in before]
    info = store.job(again)
    assert info is not None
    assert info.searched is not None
    assert info.searched.entries["a"].spent.trials == 3, "the row is charged with all search trials, each once"
    (reading,) = read_objectives(store, "digits", objectives_of(store, "digits"))
    ranked, unranked = reading.ranking.ranked, reading.ranking.unranked
    assert {row.job_uid for row in ranked} | {row.job_uid for row in unranked} == {again}
    assert restarted(store, redis_server, objects, now, race).controller.races.get(race.uid) is not None

    more(now, race, 4)
    for _ in range(4):
        now.passes(race)
    searched_on(now, store, race, third)
    *_, confirm = objects.made_jobs
    assert confirm["spec"]["completions"] == 4, "those of the entry that has no parameters are the same"
    assert status(now, race)["takenOver"]["count"] == 2

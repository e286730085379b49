"""Boards of one namespace and of several, in a whole operator with a real Redis. The API server keeps objects."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
import redis

from tests.integration.test_operator_judgement import NoUsers, Operator
from tests.integration.test_operator_takeover import Kept
from velodrome.board.tenancy import BoardPolicy, parse_rule
from velodrome.store import Store
from velodrome_operator.__main__ import main
from velodrome_operator.access import Access
from velodrome_operator.children import ChildSettings
from velodrome_operator.controller import Controller

if TYPE_CHECKING:
    from tests.integration.conftest import Race, RedisServer

OWNED = BoardPolicy("owned", (parse_rule("common=team-a,team-b"),))


class Team(Operator):
    """An operator with a policy. It sees each race in a namespace."""

    def __init__(self, store: Store, client: redis.Redis, policy: BoardPolicy, kind: type[Access] = NoUsers) -> None:
        objects = Kept()
        super().__init__(store, client, objects)
        self.kept = objects
        access = kind(client, "secret", "redis:6379")
        self.controller = Controller(objects, store, access, ChildSettings(), boards=policy)

    def applied(self, race: Race, namespace: str) -> None:
        document: dict[str, Any] = json.loads(race.plan.job.model_dump_json(by_alias=True, exclude_none=True))
        document["metadata"] |= {"uid": race.uid, "namespace": namespace, "resourceVersion": "1"}
        document["metadata"]["creationTimestamp"] = race.info.created_at.isoformat()
        self.controller.races.saw_parent(document)
        self.passes(race)

    def held(self, race: Race) -> dict[str, str]:
        """The message of each condition that holds, by type and reason."""
        known = self.controller.races.get(race.uid)
        assert known is not None
        found = known.parent.status["conditions"]
        return {f"{one['type']}/{one['reason']}": one["message"] for one in found if one["status"] == "True"}


@pytest.fixture
def team(store: Store, redis_server: RedisServer) -> Callable[[BoardPolicy], Team]:
    return lambda policy: Team(store, redis_server.client(), policy)


def test_a_race_of_another_namespace_ends_before_it_has_a_pod(
    team: Callable[[BoardPolicy], Team], store: Store, make_race: type[Race]
) -> None:
    operator = team(OWNED)
    own, again, others = (make_race(uid=uid, name=uid) for uid in ("own", "again", "others"))
    operator.applied(own, "team-a")
    operator.applied(others, "team-b")
    operator.applied(again, "team-a")
    made = {job["metadata"]["labels"]["velodrome.dev/job-name"] for job in operator.kept.made_jobs}
    assert made == {"own", "again"}
    held = operator.held(others)
    assert list(held) == ["Failed/BoardRefused", "Stalled/BoardRefused"]
    assert held["Failed/BoardRefused"].startswith("board digits is for races of namespace team-a, and this race is of")
    assert "--board=digits=team-a,team-b" in held["Failed/BoardRefused"]
    assert ("others", "BoardRefused") in operator.kept.events
    assert {job.uid for job in store.jobs()} == {"own", "again"}
    operator.passes(others)
    assert list(operator.held(others)) == ["Failed/BoardRefused", "Stalled/BoardRefused"]
    assert operator.kept.events.count(("others", "BoardRefused")) == 1


def test_a_listed_board_is_shared_by_its_namespaces_alone(
    team: Callable[[BoardPolicy], Team], make_race: type[Race]
) -> None:
    operator = team(OWNED)
    for uid, namespace in (("one", "team-a"), ("two", "team-b"), ("three", "team-c")):
        operator.applied(make_race(uid=uid, name=uid, board="common", spec={"board": "common"}), namespace)
    made = {job["metadata"]["labels"]["velodrome.dev/job-name"] for job in operator.kept.made_jobs}
    assert made == {"one", "two"}


def test_boards_are_shared_by_all_unless_the_administrator_says_otherwise(
    team: Callable[[BoardPolicy], Team], make_race: type[Race]
) -> None:
    operator = team(BoardPolicy())
    operator.applied(make_race(uid="one", name="one"), "team-a")
    operator.applied(make_race(uid="two", name="two"), "team-b")
    assert len(operator.kept.made_jobs) == 2


def test_nothing_is_taken_over_for_a_race_that_is_refused(
    team: Callable[[BoardPolicy], Team], store: Store, make_race: type[Race]
) -> None:
    operator = team(OWNED)
    first = make_race(uid="first", name="first")
    operator.applied(first, "team-a")
    store.accept("first", 0, [first.record(index) for index in range(len(first.plan))])
    thief = make_race(uid="thief", name="thief", spec={"trials": {"repeats": 2, "from": "first"}})
    operator.applied(thief, "team-b")
    assert list(operator.held(thief)) == ["Failed/BoardRefused", "Stalled/BoardRefused"]
    assert store.job("thief") is None


def test_a_race_under_way_goes_on_when_the_policy_changes(
    team: Callable[[BoardPolicy], Team], make_race: type[Race]
) -> None:
    race = make_race(uid="one", name="one")
    team(BoardPolicy()).applied(race, "team-a")
    stricter = team(BoardPolicy("owned", (parse_rule("digits=team-b"),)))
    stricter.applied(race, "team-a")
    stricter.passes(race)
    assert list(stricter.held(race)) == ["Reconciling/TrialsRemain"]


@pytest.mark.usefixtures("_knows_users")
def test_a_race_is_registered_again_when_redis_lost_everything(
    store: Store, make_race: type[Race], redis_server: RedisServer
) -> None:
    operator = Team(store, redis_server.client(), OWNED, Access)
    race = make_race(uid="one", name="one")
    operator.applied(race, "team-a")
    redis_server.kill()
    for file in redis_server.folder.rglob("*.aof"):
        file.unlink()
    redis_server.start()
    assert store.jobs() == []
    operator.passes(race)
    assert [job.uid for job in store.jobs()] == ["one"]
    assert store.owner("digits") == "team-a"
    assert store.accept("one", 0, [race.record(0)]) == ["accepted"]


@pytest.fixture
def _knows_users(redis_server: RedisServer) -> None:
    """A Redis that knows the users of races: version 7."""
    with redis_server.client() as client:
        info = client.info("server")
    if int(str(info["redis_version"]).partition(".")[0]) < 7:
        pytest.xfail("Redis 6.2 knows no users of that kind")


@pytest.mark.parametrize(
    ("argument", "words"),
    [("--board=digits", "write PATTERN=NAMESPACE"), ("--boards=mine", "invalid choice: 'mine'")],
)
def test_a_policy_that_is_none_is_refused_at_the_start(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, argument: str, words: str
) -> None:
    monkeypatch.setenv("VELODROME_REDIS_URL", "redis://:x@127.0.0.1:1/0")
    with pytest.raises(SystemExit):
        main([argument])
    assert words in capsys.readouterr().err

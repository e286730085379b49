"""A race until decided on a cluster, with a real Redis; the API server keeps objects, and the test is all pods."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.test_operator_judgement import Operator
from tests.integration.test_operator_takeover import ACCURACY, IMAGE, Kept, environment, status
from velodrome import keys
from velodrome.board.rounds import read_rounds
from velodrome.cli.cluster.report import attempts
from velodrome.results.rounds import asked, ending
from velodrome.store import Store
from velodrome_operator.children import ChildSettings, Names, groups
from velodrome_operator.cluster import Unavailable

if TYPE_CHECKING:
    from tests.integration.conftest import Race, RedisServer

# Two entries that are alike and one that is far behind: the last is beaten at the first look.
MEANS = {"cnn": 0.97, "mlp": 0.80, "gru": 0.969}


@pytest.fixture
def objects() -> Kept:
    return Kept()


@pytest.fixture
def operator(store: Store, redis_server: RedisServer, objects: Kept) -> Operator:
    return started(store, redis_server, objects)


def started(store: Store, redis_server: RedisServer, objects: Kept) -> Operator:
    """An operator that has just started and knows nothing."""
    made = Operator(store, redis_server.client(), objects)
    return made


def race_of(make_race: type[Race], uid: str = "until", most: int = 8, **spec: Any) -> Race:
    until = {"decided": ["accuracy"], "maxRepeats": most}
    trials = {"repeats": 4, "until": until, "maxFailed": 3, **spec.pop("trials", {})}
    return make_race(
        uid=uid,
        name=f"race-{uid}",
        created=len(uid),
        spec={"objectives": ACCURACY, "evaluation": {"metrics": ["accuracy"]}, "trials": trials} | spec,
    )


def accuracy(race: Race, index: int) -> float:
    """The same value for the same trial, whoever runs it and when."""
    trial = race.plan.trial(index)
    noise = random.Random(f"{trial.entry} {trial.repeat}").gauss(0, 0.004)  # noqa: S311 - a figure, not a secret
    return MEANS[trial.entry] + noise


def finishes(store: Store, race: Race, indexes: Iterable[int], *, failed: frozenset[int] = frozenset()) -> None:
    for index in indexes:
        wrong = {"failed": "LossNotFinite"} if index in failed else {"values": {"accuracy": accuracy(race, index)}}
        store.accept(race.uid, 0, [race.record(index, **wrong)])


def unfinished(operator: Operator, store: Store, race: Race) -> list[int]:
    """The trials of the race's Jobs that have no result."""
    known = operator.controller.races.get(race.uid)
    assert known is not None
    done = store.trials(race.uid)
    return sorted({index for trials in known.indexes.values() for index in trials} - done.keys())


def test_rounds(operator: Operator, objects: Kept, store: Store, make_race: type[Race]) -> None:
    race = race_of(make_race)
    operator.sees(race)
    operator.passes(race)
    print(status(operator, race))
    for _ in range(6):
        left = unfinished(operator, store, race)
        print(left)
        finishes(store, race, left)
        operator.passes(race)
        print(status(operator, race))
    print([job["metadata"]["name"] for job in objects.made_jobs], objects.order, objects.events)
    assert 0

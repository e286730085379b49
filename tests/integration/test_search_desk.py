"""A search at work on a real Redis: what is suggested is given once, whoever is killed, and runners read it."""

from __future__ import annotations

import random
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.test_race_search import by_optuna_alone, document, job, loss
from tests.searched import finish, points, progress, registered
from velodrome import keys
from velodrome.board.desk import PRUNED, SearchDesk
from velodrome.errors import TrialFailed
from velodrome.plan import Plan, plan
from velodrome.spec import validate
from velodrome.store import Store
from velodrome_runner.instructions import EarlyEnd, in_turn, stopping
from velodrome_runner.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.integration.conftest import RedisServer

UID, OF = "race-1", keys.search_uid("race-1")


def desk(store: Store, made: Plan) -> SearchDesk:
    """A desk that knows what the store does, as after a restart."""
    found = SearchDesk(made, UID, lambda question: question(store))
    found.read()
    return found


def settings(server: RedisServer, folder: Path, turn: int, lane: str = "", attempt: str = "a1") -> Settings:
    environ = {
        keys.ENV_SPEC: str(folder / "job.json"),
        keys.ENV_INDEX: str(turn),
        keys.ENV_JOB_UID: OF,
        keys.ENV_ATTEMPT: attempt,
        keys.ENV_SCRATCH: str(folder),
        keys.ENV_REDIS_URL: server.url,
        keys.ENV_SEARCH: "1",
        keys.ENV_LANE: lane,
    }
    return Settings.read(environ)


def test_a_suggestion_gets_the_next_turn_of_its_lane_once(store: Store, redis_server: RedisServer) -> None:
    made = job(trials=3)
    registered(store, made, UID)
    at = desk(store, made)
    assert [at.suggest(["a"], "0"), at.suggest(["b"], "1"), at.suggest(["a"], "0")] == [0, 1, 3]
    again = store.suggestions(OF)[3]
    assert store.suggest(OF, 3, replace_values(again), "0") == again, "what was said first counts"
    assert store.turns(OF) == {"0": (0, 3), "1": (1,)}
    told: dict[bytes, bytes] = dict(redis_server.client().hgetall(keys.instructions(OF)))  # type: ignore[arg-type]
    assert {name: index for name, index in told.items() if name.startswith(b"turn:")} == {
        b"turn:0:0": b"0", b"turn:0:1": b"3", b"turn:1:0": b"1",
    }  # fmt: skip
    assert at.suggest(["plain"], "0") is None, "it has no parameters"


def replace_values(suggestion: Any) -> Any:
    return suggestion.model_copy(update={"values": {}})


@pytest.mark.parametrize("parallel", [1, 3])
@pytest.mark.parametrize("seed", range(3))
def test_a_desk_that_is_made_again_between_any_two_steps_loses_and_repeats_nothing(
    store: Store, parallel: int, seed: int
) -> None:
    made, dice = job(trials=7), random.Random(seed)  # noqa: S311 - a test's dice
    registered(store, made, UID)
    at, order = desk(store, made), list[int]()
    while True:
        if dice.random() < 0.5:
            at = desk(store, made)
        while len(at.going) < parallel and (index := at.suggest(lane="0")) is not None:
            order.append(index)
            if dice.random() < 0.3:
                at = desk(store, made)
        if not at.going:
            break
        ending = dice.choice(sorted(at.going))
        finish(store, made, UID, ending, 9.0, loss(dict(store.suggestions(OF)[ending].values)))
        at.take(at.going)
    assert sorted(order) == sorted(set(order)) == sorted(store.suggestions(OF))
    assert store.turns(OF) == {"0": tuple(order)}
    assert at.state.is_over()
    if parallel == 1:
        found = [dict(store.suggestions(OF)[number * 3].values) for number in range(7)]
        assert found == by_optuna_alone(made), "as Optuna in a plain loop"


def test_only_the_attempt_that_fell_behind_is_told_to_end(
    store: Store, redis_server: RedisServer, tmp_path: Path
) -> None:
    made = plan(validate(document(trials=8, pruner={"name": "Median", "startupTrials": 2})))
    registered(store, made, UID)
    at = desk(store, made)
    for _ in range(2):
        index = at.suggest(["a"])
        assert index is not None
        finish(store, made, UID, index, 0.9, 0.8)
        at.take([index])
    index = at.suggest(["a"])
    assert index is not None
    assert not at.judge(index, "a1", points(0.85)), "it is ahead"
    store.accept(OF, 1, [], [progress(UID, index, "a1", 5.0)])
    running = store.running(OF, [index]).get(index)
    assert running is not None
    attempt, reported = running
    assert (attempt, [point.epoch for point in reported]) == ("a1", [1])
    assert at.judge(index, "a2", points(5.0, 5.0))
    assert at.judge(index, "a2", points(5.0, 5.0, 5.0)), "said once, it holds"
    told: dict[bytes, bytes] = dict(redis_server.client().hgetall(keys.instructions(OF)))  # type: ignore[arg-type]
    assert told[f"stop:{index}:a2".encode()] == PRUNED.encode()
    other = replace(settings(redis_server, tmp_path, index), index=index)
    with stopping(replace(other, attempt="a2"), wanted=True) as late, stopping(other, wanted=True) as own:
        wait(lambda: told_to_end(late))
        assert not told_to_end(own)


def told_to_end(orders: EarlyEnd) -> bool:
    try:
        orders.check()
    except TrialFailed:
        return True
    return False


def wait(ready: Callable[[], bool]) -> None:
    done = threading.Event()
    for _ in range(200):
        if ready():
            return
        done.wait(0.05)
    raise AssertionError("it did not come")


def test_a_runner_waits_for_its_turn_and_then_knows_its_trial(
    store: Store, redis_server: RedisServer, tmp_path: Path
) -> None:
    made = job(trials=3)
    registered(store, made, UID)
    at, found = desk(store, made), list[int]()
    at.suggest(["b"], "0")
    assert in_turn(settings(redis_server, tmp_path, 0, "0")).index == 1
    assert in_turn(settings(redis_server, tmp_path, 2)).index == 2, "without a lane, the index is the trial's"
    second = settings(redis_server, tmp_path, 1, "0")
    waiting = threading.Thread(target=lambda: found.append(in_turn(second).index))
    waiting.start()
    waiting.join(0.3)
    assert waiting.is_alive(), "nothing was suggested for it"
    at.suggest(["a"], "0")
    waiting.join(30)
    assert found == [0]

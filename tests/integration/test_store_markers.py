"""Markers in a real Redis: each change of what they stand for is seen, and a change of something else is not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from tests.integration.conftest import START
from velodrome.results.marks import Baseline, Hiding
from velodrome.results.records import Progress
from velodrome.store import Store, export_lines, import_lines, markers
from velodrome.store.deletion import DeletionTarget, open_deleter

if TYPE_CHECKING:
    from tests.integration.conftest import Race, RedisServer

NAMES = {
    markers.of_boards(): "boards",
    markers.of_board("digits"): "board",
    markers.of_board("others"): "another board",
    markers.of_job("race-1", "digits"): "job",
    markers.of_job("other", "others"): "another job",
}


def changed(store: Store, change: Callable[[], object]) -> set[str]:
    """The names of the markers that the change changes."""
    before = store.answers(list(NAMES))
    change()
    after = store.answers(list(NAMES))
    return {name for marker, name in NAMES.items() if before[marker] != after[marker]}


def test_each_change_is_seen_by_what_stands_for_it_and_by_nothing_else(
    store: Store, redis_server: RedisServer, make_race: type[Race]
) -> None:
    race = make_race()
    assert changed(store, store.boards) == set()
    assert changed(store, lambda: store.register(race.info)) == {"boards", "board", "job"}
    at = START + timedelta(seconds=5)
    reported = Progress(job_uid=race.uid, index=0, attempt="a1", at=at, phase="Training", fraction=0.5)
    assert changed(store, lambda: store.accept(race.uid, 1, [], [reported])) == {"job"}
    results = [race.record(index) for index in range(len(race.plan))]
    assert changed(store, lambda: store.accept(race.uid, 2, results, [])) == {"boards", "board", "job"}
    pin = Baseline(board="digits", entry="cnn", job_uid=race.uid, at=at)
    seed = results[0].result.seed
    hide = Hiding(board="digits", entry="cnn", job_uid=race.uid, at=at, index=0, seed=seed, note="a broken fan")
    for mark in (pin, hide):
        assert changed(store, partial(store.mark, mark)) == {"board", "job"}
        assert changed(store, partial(store.unmark, mark)) == {"board", "job"}
    with open_deleter(redis_server.url) as deleter:
        target = DeletionTarget("digits", race.uid)
        assert changed(store, lambda: deleter.delete(target)) == {"boards", "board", "job"}


def test_what_a_file_brings_is_seen_by_its_board(
    store: Store, redis_server: RedisServer, make_race: type[Race]
) -> None:
    old, new = make_race(), make_race(uid="new", created=1000)
    for race in (old, new):
        store.register(race.info)
        store.accept(race.uid, 1, [race.record(0)], [])
    lines = list(export_lines(store, uid=old.uid))
    with open_deleter(redis_server.url) as deleter:
        deleter.delete(DeletionTarget("digits", old.uid))
    assert {"board", "job"} <= changed(store, lambda: import_lines(store, lines))

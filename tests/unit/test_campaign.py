"""The campaign's own judge: every fault of a history is found, and a history without any is let pass."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.campaign.model import FAULT_KINDS, check, recoveries, summary
from tests.campaign.report import progress, table
from tests.campaign.schedule import DISTURBANCES, KILLS, schedule

PATIENCE = 100.0


def kept(at: float, records: dict[str, str], counted: int | None = None, failed: int = 0) -> dict[str, Any]:
    return {"at": at, "kind": "kept", "race": "u", "records": records,
            "counted": len(records) - failed if counted is None else counted, "failed": failed}  # fmt: skip


def status(at: float, succeeded: int, ended: str = "", *, version: int | None = None, **more: Any) -> dict[str, Any]:
    return {"at": at, "kind": "status", "race": "u", "version": int(at * 10) if version is None else version,
            "total": 2, "succeeded": succeeded, "failed": 0, "ended": ended, "message": "why", **more}  # fmt: skip


def stroke(at: float, part: str, *, kill: bool = True, target: str = "it", way: str = "SIGKILL") -> dict[str, Any]:
    return {"at": at, "kind": "stroke", "number": 0, "part": part, "way": way, "kill": kill, "target": target}


RACE = {"at": 0.0, "kind": "race", "race": "u", "name": "race-0", "trials": 2, "repeats": {"one": 1, "two": 1}}
RANKED = {"at": 6.0, "kind": "ranked", "race": "u", "samples": {"one": 1, "two": 1}}
QUIET = {"at": 6.5, "kind": "quiet"}
STRAYS: dict[str, Any] = {"at": 7.0, "kind": "strays", "objects": [], "keys": [], "users": []}
FINISH = {"at": 8.0, "kind": "finish"}
END = [RANKED, QUIET, STRAYS, FINISH]
GOOD = [
    RACE, status(1, 0), stroke(1.5, "redis"), kept(2, {"0": "a"}), status(3, 1), status(3.5, 1, version=20),
    stroke(3.6, "operator-redis", kill=False, way="loss"), kept(4, {"0": "a", "1": "b"}), status(5, 2, "Complete"),
    *END,
]  # fmt: skip


def found(*history: dict[str, Any]) -> list[str]:
    return [fault.kind for fault in check(history, PATIENCE)]


def without(kind: str) -> list[dict[str, Any]]:
    return [event for event in GOOD if event["kind"] != kind]


def with_(event: dict[str, Any]) -> list[dict[str, Any]]:
    """The good history with an event more, where its time says."""
    return sorted([*GOOD, event], key=lambda one: float(one["at"]))


def test_a_race_that_went_well_has_no_fault() -> None:
    assert found(*GOOD) == []


@pytest.mark.parametrize(
    ("history", "kind"),
    [
        (with_(kept(5.5, {"1": "b"})), "Lost"),
        (with_(kept(5.5, {"0": "a", "1": "b"}, counted=1)), "Lost"),
        ([event for event in GOOD if not (event["kind"] == "kept" and len(event["records"]) == 2)], "Lost"),
        (with_({**RANKED, "at": 6.1, "samples": {"one": 1}}), "Lost"),
        (without("ranked"), "Lost"),
        (with_(kept(5.5, {"0": "a", "1": "b"}, counted=3)), "Doubled"),
        (with_(kept(5.5, {"0": "a", "1": "b", "2": "c"})), "Doubled"),
        (with_(status(5.5, 3, "Complete")), "Doubled"),
        (with_({**RANKED, "at": 6.1, "samples": {"one": 2, "two": 1}}), "Doubled"),
        (with_(kept(5.5, {"0": "another", "1": "b"})), "Replaced"),
        (with_(status(3.9, 0)), "Backwards"),
        (with_(status(5.5, 2, "")), "Backwards"),
        (with_(status(5.5, 2, "Failed")), "Backwards"),
        (with_(status(5.5, 2, "Complete", total=3)), "Backwards"),
        ([RACE, status(5, 2, "Failed"), *END], "Failed"),
        ([RACE, kept(4, {"0": "a", "1": "b"}), status(5, 1), *END], "Stuck"),
        (without("finish"), "Stuck"),
        ([RACE, kept(4, {"0": "a", "1": "b"}), QUIET, status(120, 2, "Complete"), RANKED, STRAYS, FINISH], "Stuck"),
        (without("strays"), "Stray"),
        (with_({**STRAYS, "at": 7.1, "objects": ["Job/race-0-1"]}), "Stray"),
        (with_({**STRAYS, "at": 7.1, "keys": ["velodrome:inbox:u"]}), "Stray"),
        (with_({**STRAYS, "at": 7.1, "users": ["velodrome-u"]}), "Stray"),
    ],
)  # fmt: skip
def test_each_fault_is_found(history: list[dict[str, Any]], kind: str) -> None:
    assert kind in found(*history)


def test_there_is_a_bad_history_for_every_kind_of_fault() -> None:
    (mark,) = test_each_fault_is_found.pytestmark
    assert {kind for _, kind in mark.args[1]} == set(FAULT_KINDS)


def test_a_watch_that_shows_an_old_status_again_is_no_step_back() -> None:
    assert found(*with_(status(5.5, 0, version=1))) == []


def test_recovery_is_the_time_to_the_next_accepted_result() -> None:
    assert recoveries(GOOD) == {"redis": 0.5, "operator-redis": pytest.approx(0.4)}


def test_the_table_has_each_figure() -> None:
    history = [*GOOD[:-1], stroke(7.5, "etcd", target=""), FINISH]
    faults = check([*history, kept(9, {"0": "x", "1": "b"})], PATIENCE)
    text = table(summary(history, faults), faults)
    assert "redis" in text
    assert "0.5 s" in text
    assert "strokes that found nobody: 1" in text
    assert "disturbances: loss 1" in text
    assert "results accepted: 2" in text
    assert "1 replaced" in text
    assert "FAULT at 9 s: Replaced: race-0: the record of trial 0" in text


def test_progress_shows_what_is_left() -> None:
    assert "kills 10/20" in progress(10, 20, 5, 2, 1, 60)
    assert "left: 1 min" in progress(10, 20, 5, 2, 1, 60)
    assert "left: unknown" in progress(0, 20, 0, 2, 0, 1)


def test_a_seed_gives_one_schedule() -> None:
    assert list(schedule(7, 40)) == list(schedule(7, 40))
    assert list(schedule(7, 40)) != list(schedule(8, 40))


@pytest.mark.parametrize("seed", range(5))
def test_a_schedule_has_the_kills_that_were_asked_for_of_every_part(seed: int) -> None:
    strokes = list(schedule(seed, 400))
    kills = Counter((stroke.part, stroke.way) for stroke in strokes if stroke.kill)
    assert sum(kills.values()) == 400
    assert kills.keys() == KILLS.keys()
    assert {(stroke.part, stroke.way) for stroke in strokes if not stroke.kill} == DISTURBANCES.keys()
    assert [stroke.number for stroke in strokes] == list(range(len(strokes)))


def test_a_short_schedule_has_every_part_that_matters() -> None:
    assert {stroke.part for stroke in schedule(1, 12) if stroke.kill} == {
        "runner", "operator", "redis", "kubelet", "apiserver", "containerd", "controller-manager",
    }  # fmt: skip

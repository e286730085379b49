from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis

from tests.apiserver import ApiServer
from tests.owned import owned_job, owned_pod
from velodrome import keys
from velodrome.monitoring.pushgateway import RunningTrials
from velodrome.plan import plan
from velodrome.spec import BenchmarkJob
from velodrome.store import Store
from velodrome.store.deletion import Deleter
from velodrome_operator.access import Access
from velodrome_operator.children import ChildSettings, Names, groups
from velodrome_operator.pushgateway import ends, running
from velodrome_operator.races import Races
from velodrome_operator.service import Options, Service

UID = "uid-1"
SPEC = {
    "dataset": {"name": "digits"},
    "entries": [{"name": name, "model": {"name": "velodrome/mlp"}} for name in ("a", "b.2")],
    "trials": {"repeats": 2},
}
JOB = BenchmarkJob.model_validate(
    {"apiVersion": keys.API_VERSION, "kind": keys.KIND, "metadata": {"name": "race", "namespace": "ns"}, "spec": SPEC}
)
PARENT = {
    "metadata": {
        "uid": UID,
        "name": "race",
        "namespace": "ns",
        "resourceVersion": "5",
        "creationTimestamp": "2026-01-01T00:00:00Z",
    },
    "spec": SPEC,
}


NAME = Names.of(JOB, UID).job(groups(JOB)[0])


def pod(index: int, phase: str = "Running") -> dict[str, Any]:
    return owned_pod(UID, NAME, index, f"u-{index}", "ns", status={"phase": phase})


def test_what_runs_are_the_trials_of_running_pods() -> None:
    races = Races()
    races.saw_parent(PARENT)
    races.saw_job(owned_job(UID, NAME, "ns"))
    for number, phase in enumerate(("Succeeded", "Running", "Pending", "Running")):
        races.saw_pod(pod(number, phase))
    race = races.get(UID)
    assert race is not None
    assert running(races) == RunningTrials(set(), {("ns", "race")}), "without a plan it is not known which of them run"
    race.lay_out(plan(JOB), 1)
    # Entries take turns: a/0, b.2/0, a/1, b.2/1.
    assert running(races) == RunningTrials({("ns", "race", "b.2", "0"), ("ns", "race", "b.2", "1")}, set())
    races.saw_pod(pod(9))
    assert len(running(races).trials) == 2, "no trial has such an index"
    for number in (1, 3, 9):
        races.saw_pod(pod(number), gone=True)
    assert running(races) == RunningTrials(set(), set())
    race.let_go()
    assert running(races) == RunningTrials(set(), set()), "a race without pods protects nothing"


@pytest.mark.parametrize(
    ("kind", "raw", "gone", "wakes"),
    [
        ("pod", pod(0, "Running"), False, False),
        ("pod", pod(0, "Succeeded"), False, True),
        ("pod", pod(0, "Failed"), False, True),
        ("pod", pod(0, "Running"), True, True),
        ("parent", PARENT, True, True),
    ],
)
def test_what_ends_a_trial_has_its_group_looked_for(kind: Any, raw: dict[str, Any], *, gone: bool, wakes: bool) -> None:
    async def look() -> bool:
        options = Options("redis://unused", settings=ChildSettings(pushgateway="gateway:9091"))
        client = redis.Redis()  # nothing is sent
        access = Access(client, "secret", "redis:6379")
        service = Service(options, Store(client), ApiServer(), access, Deleter(client))
        service.saw(kind, raw, gone=gone)
        assert service.cleaner
        return service.cleaner.due

    assert asyncio.run(look()) == wakes


def test_a_pod_without_a_status_has_not_ended() -> None:
    assert not ends({"metadata": {}}, gone=False)

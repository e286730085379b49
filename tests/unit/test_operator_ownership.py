"""Which objects are a race's: those that it controls, in its namespace, under the names that it gives."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.owned import by_job, by_parent, owned_job, owned_pod
from tests.unit.test_operator_shapes import json_values
from velodrome import keys
from velodrome_operator.children import Names, groups
from velodrome_operator.decision import decide
from velodrome_operator.observation import started_facts
from velodrome_operator.ownership import Orphans
from velodrome_operator.pass_input import Observation
from velodrome_operator.pushgateway import ends, running
from velodrome_operator.race_facts import race_facts
from velodrome_operator.races import Race, Races

UID = "3f1c2d54-0000-4000-8000-000000000001"
DIGITS = Path(__file__).parents[2] / "deploy/examples/digits.yaml"
DOCUMENT = yaml.safe_load(DIGITS.read_text())
DOCUMENT["metadata"] |= {"uid": UID, "namespace": "default", "resourceVersion": "1"}
DOCUMENT["metadata"]["creationTimestamp"] = "2026-03-01T12:00:00Z"
PARENT: dict[str, Any] = json.loads(json.dumps(DOCUMENT))


def seen(*, planned: bool = True) -> tuple[Races, Race, str]:
    """All races, the one there is, and what its Job is called."""
    races = Races()
    races.saw_parent(PARENT)
    race = races.get(UID)
    assert race is not None
    job = Race.of(PARENT).planned().job
    if planned:
        race.planned()
    return races, race, Names.of(job, UID).job(groups(job)[0])


def test_a_child_is_known_by_its_owner_whatever_its_labels_say() -> None:
    races, race, name = seen()
    job, pod = owned_job(UID, name), owned_pod(UID, name, 0, "p0")
    job["metadata"]["labels"] = pod["metadata"]["labels"][keys.LABEL_JOB_UID] = None  # as nobody writes them
    pod["metadata"]["labels"] = {"batch.kubernetes.io/job-completion-index": "0"}
    assert [races.saw_job(job), races.saw_pod(pod)] == [UID, UID]
    assert [*race.workload.jobs, *race.workload.pods] == [name, "p0"]


STRANGE_JOBS: dict[str, dict[str, Any]] = {
    "in another namespace": {"namespace": "other-team"},
    "of nobody": {"ownerReferences": []},
    "of null": {"ownerReferences": None},
    "not controlled": {"ownerReferences": [{**by_parent(UID)[0], "controller": False}]},
    "of another object": {"ownerReferences": by_parent("another")},
    "of another kind": {"ownerReferences": [{**by_parent(UID)[0], "kind": "Job"}]},
    "of another group": {"ownerReferences": [{**by_parent(UID)[0], "apiVersion": "velodrome.dev.example/v1"}]},
    "of another name": {"name": "copy"},
}
STRANGE_PODS: dict[str, dict[str, Any]] = {
    "in another namespace": {"namespace": "other-team"},
    "of nobody": {"ownerReferences": []},
    "of another Job": {"ownerReferences": by_job("another")},
    "of the object itself": {"ownerReferences": by_parent(UID)},
    "of things that are no owners": {"ownerReferences": ["x", None, {}]},
}


@pytest.mark.parametrize("planned", [True, False], ids=["planned", "unplanned"])
@pytest.mark.parametrize("change", STRANGE_JOBS.values(), ids=STRANGE_JOBS)
def test_a_job_that_only_looks_like_a_races_is_none(change: dict[str, Any], *, planned: bool) -> None:
    races, race, name = seen(planned=planned)
    stranger = owned_job(UID, name)
    stranger["metadata"] |= change
    for version in range(10):
        races.saw_job({**stranger, "status": {"active": version}})
    races.saw_pod(owned_pod(UID, stranger["metadata"]["name"], 0, "p0"))
    race.planned()
    assert (race.workload.jobs, race.workload.pods, race.workload.owned) == ({}, {}, {})
    races.saw_job(owned_job(UID, name))
    races.saw_job({**stranger, "metadata": {**stranger["metadata"], "uid": "other"}}, gone=True)
    assert race.workload.jobs.keys() == {name}, "its end is not that of the race's own"


@pytest.mark.parametrize("change", STRANGE_PODS.values(), ids=STRANGE_PODS)
def test_a_pod_that_only_looks_like_a_races_is_none(change: dict[str, Any]) -> None:
    races, race, name = seen()
    races.saw_job(owned_job(UID, name))
    stranger = owned_pod(UID, name, 0, "bystander", status={"phase": "Pending"})
    stranger["metadata"] |= change
    assert races.saw_pod(stranger) is None
    assert races.saw_pod(stranger, gone=True) is None
    assert (race.workload.pods, race.workload.gone) == ({}, {})
    assert race.observed(0, "bystander") is None


def test_a_pod_of_no_completion_index_is_logged_counted_and_no_more(caplog: pytest.LogCaptureFixture) -> None:
    races, race, name = seen()
    races.saw_job(owned_job(UID, name))
    with caplog.at_level(logging.WARNING):
        assert races.saw_pod(owned_pod(UID, name, "abc", "odd")) is None
    assert races.unreadable == {"BenchmarkJob": 0, "Job": 0, "Pod": 1}
    assert "no completion index" in caplog.text
    assert races.saw_pod(owned_pod(UID, name, 1, "p1")) == UID
    assert race.workload.pods.keys() == {"p1"}


def test_an_object_that_nobody_foresaw_is_logged_with_a_traceback_and_stands_in_no_others_way(
    caplog: pytest.LogCaptureFixture,
) -> None:
    races = Races()
    assert races.saw_parent(put(PARENT, ("metadata", "annotations"), {"x": "\ud800"})) is None  # no text of UTF-8
    assert races.unreadable["BenchmarkJob"] == 1
    assert "Traceback" in caplog.text
    assert races.saw_parent(PARENT) == UID


def test_a_job_that_its_owner_let_go_is_the_races_no_more() -> None:
    races, race, name = seen()
    races.saw_job(owned_job(UID, name))
    free = put(owned_job(UID, name), ("metadata", "ownerReferences"), [])
    assert [races.saw_job(free), races.saw_job(free)] == [UID, None]
    assert race.workload.jobs == {}


def test_a_pod_that_its_job_lets_go_is_the_races_no_more_and_still_known() -> None:
    races, race, name = seen()
    races.saw_job(owned_job(UID, name))
    pod = owned_pod(UID, name, 0, "p0", status={"phase": "Pending"})
    races.saw_pod(pod)
    pod["metadata"]["ownerReferences"] = []
    assert races.saw_pod(pod) == UID
    assert ([*race.workload.pods], [*race.workload.gone]) == ([], ["p0"])


def test_children_are_taken_in_whatever_order_they_come_in() -> None:
    for order in (
        ("pod", "job", "parent"),
        ("job", "pod", "parent"),
        ("pod", "parent", "job"),
        ("parent", "pod", "job"),
    ):
        races = Races()
        _, _, name = seen()
        see = {"parent": races.saw_parent, "job": races.saw_job, "pod": races.saw_pod}
        shown = {"parent": PARENT, "job": owned_job(UID, name), "pod": owned_pod(UID, name, 2, "p2")}
        for kind in order:
            see[kind](shown[kind])
        race = races.get(UID)
        assert race is not None
        race.planned()
        assert {uid: (pod.job, pod.index) for uid, pod in race.workload.pods.items()} == {"p2": (name, 2)}, order


def test_jobs_of_other_names_are_let_go_when_the_names_are_known() -> None:
    races, race, name = seen(planned=False)
    for number in range(1_100):
        races.saw_job(owned_job(UID, f"forged-{number}"))
    races.saw_pod(owned_pod(UID, "forged-0", 0, "forged"))
    assert len(race.workload.jobs) == 1_000
    assert race.workload.pods.keys() == {"forged"}
    race.planned()
    assert (race.workload.jobs, race.workload.pods, race.workload.owned) == ({}, {}, {})
    races.saw_pod(owned_pod(UID, "forged-0", 0, "forged"))
    races.saw_job(owned_job(UID, name))
    assert ([*race.workload.jobs], [*race.workload.pods]) == ([name], [])


def test_orphans_are_bounded_and_one_namespaces_make_no_room_in_another() -> None:
    orphans: Orphans[int] = Orphans(most=3)
    orphans.put("quiet", "owner", "a", 1)
    for number in range(100):
        orphans.put("loud", "owner", f"u{number}", number)
    assert len(orphans) == 4
    assert orphans.take("quiet", "owner") == [1]
    assert orphans.take("loud", "owner") == [97, 98, 99]
    assert orphans.take("loud", "owner") == []


def test_orphans_that_nothing_shows_any_more_are_dropped() -> None:
    orphans: Orphans[int] = Orphans()
    orphans.put("n", "owner", "stays", 1)
    orphans.put("n", "owner", "goes", 2)
    orphans.put("n", "owner", "gone", 3)
    orphans.drop("n", "gone")
    orphans.grow_old()
    orphans.put("n", "owner", "stays", 1)
    orphans.grow_old()
    assert len(orphans) == 1
    orphans.grow_old()
    orphans.grow_old()
    assert orphans.take("n", "owner") == []


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every field of a document."""
    found = [path] if path else []
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return found + [place for key, inner in members for place in places(inner, (*path, key))]


def put(document: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """The document with something else at that place."""
    made = deepcopy(document)
    at: Any = made
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return made


FULL_JOB = owned_job(UID, seen()[2])
FULL_JOB["spec"] = {"suspend": False, "parallelism": 1, "completions": 10}
FULL_JOB["status"] = {
    "active": 0, "completedIndexes": "0-2", "failedIndexes": "4", "startTime": "2026-01-01T00:00:00Z",
    "conditions": [{"type": "FailureTarget", "status": "True", "message": "m"}],
}  # fmt: skip
FULL_POD = owned_pod(UID, seen()[2], 1, "p1")
FULL_POD["status"] = {
    "phase": "Pending", "reason": "Evicted", "message": "m",
    "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1"}],
    "containerStatuses": [{"imageID": "i", "state": {
        "terminated": {"exitCode": 1, "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:01Z"},
        "running": {"startedAt": "2026-01-01T00:00:00Z"}, "waiting": {"reason": "ErrImagePull", "message": "m"}}}],
}  # fmt: skip
FULL_PARENT = deepcopy(PARENT)
FULL_PARENT["metadata"]["annotations"] = {keys.ANNOTATION_CONFIRMS: "u"}
FULL_PARENT["status"] = {
    "observedGeneration": 1, "message": "m", "startTime": "2026-01-01T00:00:00Z",
    "trials": {"total": 4, "succeeded": 1, "failed": 0, "disrupted": 2, "done": "1/4"},
    "conditions": [{"type": kind, "status": "True", "reason": "AwaitingConfirmation", "message": "m",
                    "lastTransitionTime": "2026-01-01T00:00:00Z"} for kind in ("Complete", "Regressed")],
}  # fmt: skip
EVENT = {
    "metadata": {"creationTimestamp": "2026-01-01T00:00:09Z"},
    "involvedObject": {"kind": "Pod", "namespace": "default", "name": f"{seen()[2]}-1-x7k2p", "uid": "p9"},
    "firstTimestamp": "2026-01-01T00:00:07Z", "source": {"component": "kubelet", "host": "n1"},
}  # fmt: skip


def use(races: Races) -> None:
    """All that is asked of what was read."""
    running(races)
    for race in races:
        race_facts(race)
        found = Race.of(PARENT).planned()
        names = {name: groups(found.job)[0].trials(found) for name in (seen()[2],)}
        observation = Observation(found, race.uid, race.parent.generation, suspended=False, jobs=race.workload.jobs,
                                  pods=tuple(race.workload.pods.values()), finished={}, status=race.parent.status,
                                  now=race.parent.created_at)  # fmt: skip
        decide(observation, (), names)


@given(st.sampled_from(["job", "pod", "parent", "event"]), st.data(), json_values)
def test_any_field_may_hold_anything(kind: str, data: st.DataObject, value: Any) -> None:
    """The operator reads on, and what it read it can use; a bystander's children count as ever."""
    full = {"job": FULL_JOB, "pod": FULL_POD, "parent": FULL_PARENT, "event": EVENT}[kind]
    odd = put(full, data.draw(st.sampled_from(places(full))), value)
    races, race, name = seen()
    bystander = put(put(PARENT, ("metadata", "uid"), "other"), ("metadata", "name"), "other")
    races.saw_parent(bystander)
    if kind != "parent":
        races.saw_job(owned_job(UID, name))
    see: dict[str, Callable[..., object]] = {
        "job": races.saw_job, "pod": races.saw_pod, "parent": races.saw_parent, "event": race.saw_started,
    }  # fmt: skip
    see[kind](odd)
    for gone in (False, True):
        ends(odd, gone=gone)
    started_facts(odd, [name])
    if kind == "parent":
        Races().saw_parent(odd)
        fresh = put(odd, ("metadata",), PARENT["metadata"])
        fresh_races = Races()
        fresh_races.saw_parent(fresh)
        use(fresh_races)
    use(races)
    if kind != "event":
        see[kind](odd, gone=True)
    use(races)
    assert races.get("other") is not None
    assert race.parent.created_at > datetime(1970, 1, 1, tzinfo=UTC)

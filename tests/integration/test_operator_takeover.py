"""A race on a cluster that takes over what another job measured, with a real Redis; the API server keeps objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.test_operator_judgement import Objects, Operator
from velodrome import keys
from velodrome.cli.cluster.report import attempts
from velodrome.store import Store
from velodrome_operator.cluster import Refusal, Unavailable

if TYPE_CHECKING:
    from tests.integration.conftest import Race, RedisServer

ACCURACY = [{"name": "accuracy", "metric": "accuracy"}]
IMAGE = "registry.example/own@sha256:" + "a" * 64


class Kept(Objects):
    """It gives each object a uid, and remembers in which order what was written."""

    def __init__(self) -> None:
        super().__init__()
        self.order: list[str] = []

    async def create(self, manifest: dict[str, Any]) -> dict[str, Any] | None:
        self.order.append(manifest["kind"])
        metadata = {"uid": manifest["metadata"].get("name"), "creationTimestamp": "2026-01-01T00:00:00Z"}
        return await super().create({**manifest, "metadata": {**manifest["metadata"], **metadata}})

    async def write_status(self, parent: Mapping[str, Any], status: Mapping[str, Any]) -> dict[str, Any] | None:
        self.order.append("status")
        return await super().write_status(parent, status)

    async def job(self, namespace: str, name: str) -> dict[str, Any] | None:
        return self.created.get(("Job", name))

    async def pod_refusals(self, namespace: str) -> dict[str, Refusal]:
        return {}

    async def patch_job(self, namespace: str, name: str, spec: Mapping[str, Any]) -> None: ...

    @property
    def made_jobs(self) -> list[dict[str, Any]]:
        return [manifest for (kind, _), manifest in self.created.items() if kind == "Job"]


@pytest.fixture
def objects() -> Kept:
    return Kept()


@pytest.fixture
def operator(store: Store, redis_server: RedisServer, objects: Kept) -> Operator:
    return Operator(store, redis_server.client(), objects)


def measured(store: Store, race: Race, *, without: frozenset[int] = frozenset()) -> Race:
    store.register(race.info)
    store.accept(race.uid, 0, [race.record(index) for index in range(len(race.plan)) if index not in without])
    return race


def made(make_race: type[Race], uid: str, repeats: int, source: str | None = None, **spec: Any) -> Race:
    trials = {"repeats": repeats, **({"from": source} if source else {})}
    return make_race(
        uid=uid,
        name=f"race-{uid}",
        repeats=repeats,
        created=len(uid),
        spec={"objectives": ACCURACY, "evaluation": {"metrics": ["accuracy"]}, "trials": trials} | spec,
    )


def status(operator: Operator, race: Race) -> dict[str, Any]:
    known = operator.controller.races.get(race.uid)
    assert known is not None
    found: dict[str, Any] = known.parent.status
    return found


def environment(job: Mapping[str, Any]) -> dict[str, str]:
    return {item["name"]: item.get("value", "") for item in job["spec"]["template"]["spec"]["containers"][0]["env"]}


def test_no_pod_is_made_for_trials_that_another_job_measured(
    operator: Operator, objects: Kept, store: Store, redis_server: RedisServer, make_race: type[Race]
) -> None:
    measured(store, made(make_race, "few", 2), without=frozenset({4}))
    race = made(make_race, "many", 3, "race-few")
    operator.sees(race)
    operator.passes(race)
    (job,) = objects.made_jobs
    operator.passes(race)
    assert job["spec"]["completions"] == 4
    assert environment(job)[keys.ENV_TAKEN_OVER] == "0-3,5"
    assert objects.order.index("status") < objects.order.index("Job"), (
        "which trial a pod runs is kept before it is made"
    )
    said = status(operator, race)
    assert said["takenOver"] == {
        "job": "race-few", "uid": "few", "count": 5, "trials": "0-3,5",
        "message": "5 trials were taken over from job race-few (few)",
    }  # fmt: skip
    assert said["trials"]["done"] == "5/9"
    assert ("race-many", "TakenOver") in objects.events
    known = operator.controller.races.get(race.uid)
    assert known is not None
    assert list(known.indexes.values()) == [(4, 6, 7, 8)]

    pod = {
        "metadata": {"name": "p", "creationTimestamp": "", "labels": {"batch.kubernetes.io/job-completion-index": "0"}},
        "spec": job["spec"]["template"]["spec"],
    }
    assert [attempt.trial.index for attempt in attempts(race.plan, [pod])] == [4], "and `velodrome logs` finds it"

    again = Operator(store, redis_server.client(), objects)
    objects.order.clear()
    again.controller.races.saw_parent(known.parent.raw)
    store.accept(race.uid, 0, [race.record(4)])
    again.passes(race)
    restarted = again.controller.races.get(race.uid)
    assert restarted is not None
    assert restarted.indexes == known.indexes, "an operator that is started again goes by the status"
    assert objects.events.count(("race-many", "TakenOver")) == 1


def test_a_race_of_which_everything_was_measured_is_complete_without_a_job(
    operator: Operator, objects: Kept, store: Store, make_race: type[Race]
) -> None:
    measured(store, made(make_race, "more", 3))
    race = made(make_race, "fewer", 2, "more")
    operator.sees(race)
    operator.passes(race)
    assert objects.made_jobs == []
    (complete,) = [one for one in status(operator, race)["conditions"] if one["type"] == "Complete"]
    assert (complete["status"], complete["message"]) == ("True", "6 of 6 trials succeeded")


def test_a_job_that_is_not_there_is_named_and_everything_is_measured(
    operator: Operator, objects: Kept, make_race: type[Race]
) -> None:
    race = made(make_race, "alone", 2, "nosuch")
    operator.sees(race)
    operator.passes(race)
    (job,) = objects.made_jobs
    assert job["spec"]["completions"] == 6
    assert keys.ENV_TAKEN_OVER not in environment(job)
    assert status(operator, race)["takenOver"] == {
        "count": 0, "trials": "",
        "message": "trials.from: board digits has no other job nosuch: every trial is measured anew",
    }  # fmt: skip


def test_a_status_that_could_not_be_written_is_written_before_anything_is_made(
    operator: Operator, objects: Kept, store: Store, make_race: type[Race]
) -> None:
    measured(store, made(make_race, "few", 2))
    race = made(make_race, "many", 3, "few")
    operator.sees(race)
    objects.fail["status"] = Unavailable("it is away")
    operator.passes(race)
    assert objects.made_jobs == []
    operator.passes(race)
    (job,) = objects.made_jobs
    assert environment(job)[keys.ENV_TAKEN_OVER] == "0-5"
    assert status(operator, race)["takenOver"]["count"] == 6


def test_jobs_of_several_images_leave_out_what_was_taken_over(
    operator: Operator, objects: Kept, store: Store, make_race: type[Race]
) -> None:
    entries = [
        {"name": "cnn", "model": {"name": "velodrome/mlp"}},
        {"name": "mlp", "model": {"name": "velodrome/mlp"}, "image": IMAGE},
        {"name": "gru", "model": {"name": "velodrome/gru"}},
    ]
    measured(store, made(make_race, "few", 2, entries=entries), without=frozenset({1, 4}))
    race = made(make_race, "many", 2, "few", entries=entries)
    operator.sees(race)
    operator.passes(race)
    (job,) = objects.made_jobs
    assert (job["spec"]["completions"], job["spec"]["parallelism"]) == (2, 1)
    assert environment(job)[keys.ENV_ENTRIES] == "1"
    known = operator.controller.races.get(race.uid)
    assert known is not None
    assert list(known.indexes.values()) == [(1, 4)]

    third = made(make_race, "third", 3, "few", entries=entries)
    operator.sees(third)
    operator.passes(third)
    assert [job["spec"]["completions"] for job in objects.made_jobs[1:]] == [2, 3]

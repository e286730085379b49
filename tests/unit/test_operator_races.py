"""What the operator remembers of a race's children."""

from __future__ import annotations

from typing import Any

from tests.owned import owned_job, owned_pod
from velodrome_operator.races import Races

PARENT: dict[str, Any] = {
    "metadata": {
        "uid": "u", "namespace": "n", "name": "race", "resourceVersion": "1",
        "creationTimestamp": "2026-01-01T00:00:00Z",
    },
    "spec": {"dataset": {"name": "digits"}},
}  # fmt: skip


def job(active: int = 0) -> dict[str, Any]:
    return owned_job("u", "race-0", "n", status={"active": active})


def test_a_job_is_known_from_its_making_on() -> None:
    races = Races()
    races.saw_parent(PARENT)
    races.made_job(job())
    race = races.get("u")
    assert race is not None
    assert race.workload.jobs.keys() == {"race-0"}


def test_an_event_that_overtook_the_answer_to_the_making_is_not_undone() -> None:
    races = Races()
    races.saw_parent(PARENT)
    races.saw_job(job(active=1))
    races.made_job(job())
    race = races.get("u")
    assert race is not None
    assert race.workload.jobs["race-0"].active == 1


def test_a_job_of_a_race_that_is_gone_is_not_kept() -> None:
    races = Races()
    races.made_job(job())
    races.saw_parent(PARENT)
    race = races.get("u")
    assert race is not None
    assert race.workload.jobs == {}


def test_the_object_is_parsed_once_a_pass_and_not_kept_parsed() -> None:
    races = Races()
    races.saw_parent(PARENT)
    race = races.get("u")
    assert race is not None
    with race.parent.parsed():
        assert race.parent.raw is race.parent.raw
        assert race.parent.raw == PARENT
    assert race.parent.raw is not race.parent.raw
    with race.parent.parsed():
        changed = {**PARENT, "metadata": {**PARENT["metadata"], "resourceVersion": "2"}, "status": {"message": "new"}}
        races.saw_parent(changed)
        assert race.parent.status == {"message": "new"}, "one that changed meanwhile is read as it is now"


def test_a_pod_whose_end_cannot_be_read_is_gone_as_it_was_last_seen() -> None:
    races = Races()
    races.saw_parent(PARENT)
    races.saw_job(job())
    pod = owned_pod("u", "race-0", 0, "p0", "n", status={"phase": "Running"})
    races.saw_pod(pod)
    race = races.get("u")
    assert race is not None
    before = race.logbook.news
    races.saw_pod({**pod, "metadata": {**pod["metadata"], "creationTimestamp": "never"}}, gone=True)
    assert race.workload.pods == {}
    assert {uid: (known.index, known.phase) for uid, known in race.workload.gone.items()} == {"p0": (0, "Running")}
    assert race.logbook.news == before + 1
    assert races.unreadable["Pod"] == 1

"""What the operator remembers of a race's children."""

from __future__ import annotations

from typing import Any

from tests.owned import owned_job
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

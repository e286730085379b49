"""What the operator keeps of a race that nothing happens to, and what it makes anew when something does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.owned import owned_job, owned_pod
from velodrome_operator.children import Names, groups
from velodrome_operator.race_facts import Facts
from velodrome_operator.races import Race, Races

UID = "3f1c2d54-0000-4000-8000-000000000001"
CREATED = "2026-03-01T12:00:00Z"
DIGITS = Path(__file__).parents[2] / "deploy/examples/digits.yaml"


@pytest.fixture
def races() -> Races:
    document = yaml.safe_load(DIGITS.read_text())
    document["metadata"] |= {"uid": UID, "namespace": "default", "resourceVersion": "1", "creationTimestamp": CREATED}
    found = Races()
    found.saw_parent(json.loads(json.dumps(document)))
    return found


@pytest.fixture
def race(races: Races) -> Race:
    found = races.get(UID)
    assert found is not None
    return found


def job(race: Race, *, suspended: bool) -> dict[str, Any]:
    return owned_job(UID, job_name(race), spec={"suspend": suspended})


def job_name(race: Race) -> str:
    planned = race.planned()
    return Names.of(planned.job, UID).job(groups(planned.job)[0])


def pod(race: Race, index: int) -> dict[str, Any]:
    return owned_pod(UID, job_name(race), index, f"u-pod-{index}", status={"phase": "Running"})


def test_a_race_of_suspended_jobs_keeps_no_plan_and_has_it_again_when_a_pod_reports(races: Races, race: Race) -> None:
    late = pod(race, 2)
    races.saw_job(job(race, suspended=True))
    trials = len(race.planned())
    race.rest()
    assert (race.plan, race.indexes, race.laid_out) == (None, {}, True)
    races.saw_pod(late)
    observed = race.observed(2, "u-pod-2")
    assert observed is not None
    assert observed.node == "n1"
    assert race.observed(1, "u-pod-2") is None
    assert len(race.planned()) == trials


@pytest.mark.parametrize("what", ["nothing yet", "a Job that runs", "a pod", "a pod that is gone"])
def test_a_race_that_something_may_happen_to_soon_keeps_its_plan(races: Races, race: Race, what: str) -> None:
    if what != "nothing yet":
        races.saw_job(job(race, suspended=what != "a Job that runs"))
    if what.startswith("a pod"):
        races.saw_pod(pod(race, 0))
    if what == "a pod that is gone":
        races.saw_pod(pod(race, 0), gone=True)
    planned = race.planned()
    race.rest()
    assert race.plan is planned


def test_what_is_shown_of_a_race_is_made_anew_only_when_the_race_changed(races: Races, race: Race) -> None:
    facts = Facts()
    races.saw_job(job(race, suspended=False))
    (first,) = facts.of(races)
    assert facts.of(races)[0] is first
    races.saw_pod(pod(race, 0))
    (second,) = facts.of(races)
    assert second.trials["Running"] == 1
    race.logbook.troubled_at = race.parent.created_at
    assert facts.of(races)[0].waiting_since == race.parent.created_at
    raw = race.parent.raw
    races.saw_parent(raw, gone=True)
    assert facts.of(races) == ()
    races.saw_parent(raw)
    assert facts.of(races)[0].trials["Running"] == 0

"""How many trials ran on a node at once, by what was seen of their pods."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.owned import owned_job, owned_pod
from velodrome.plan import plan
from velodrome.spec import read_jobs, validate
from velodrome_operator.children import Names, groups
from velodrome_operator.observation import PodFacts
from velodrome_operator.occupancy import _REMEMBERED, Occupancy, Stay, peak
from velodrome_operator.races import Race, Races

AT = datetime(2026, 3, 1, 11, tzinfo=UTC)


def after(seconds: float | None) -> datetime | None:
    return None if seconds is None else AT + timedelta(seconds=seconds)


def pod(index: int, since: float | None, until: float | None, node: str = "n", **changes: Any) -> PodFacts:
    phase = "Pending" if since is None else "Running" if until is None else "Succeeded"
    facts = PodFacts(f"p{index}", f"u{index}", "job", index, AT - timedelta(minutes=5), phase, node)
    return replace(facts, started_at=after(since), finished_at=after(until), **changes)


def seen(*pods: PodFacts, race: str = "r") -> Occupancy:
    occupancy = Occupancy()
    for facts in pods:
        occupancy.saw(race, facts)
    return occupancy


ONE = pod(0, 10, 20)


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([], 1),
        ([pod(1, 0, 10)], 1),  # over when it started
        ([pod(1, 20, None)], 1),
        ([pod(1, 0, 11)], 2),
        ([pod(1, 19, None)], 2),
        ([pod(1, 12, 14)], 2),
        ([pod(1, 0, None)], 2),
        ([pod(1, 15, 15)], 2),
        ([pod(1, 0, None, node="elsewhere")], 1),
        ([pod(1, None, None)], 1),
        ([pod(1, 0, 15), pod(2, 15, 30)], 2),  # never all three
        ([pod(1, 0, 15), pod(2, 14, 30)], 3),
        ([pod(0, 12, 14, uid="its-earlier-attempt")], 1),
    ],
)
def test_how_many_ran_at_once(others: list[PodFacts], expected: int) -> None:
    changed = [other if other.uid != "u0" else replace(other, uid="other") for other in others]
    assert seen(ONE, *changed).concurrent("r", ONE) == expected


def test_another_races_pods_count() -> None:
    occupancy = seen(ONE)
    occupancy.saw("another", pod(0, 0, None, uid="theirs"))
    assert occupancy.concurrent("r", ONE) == 2


def test_a_pod_that_is_gone_is_no_neighbour_of_later_ones() -> None:
    occupancy = Occupancy()
    occupancy.saw("r", pod(1, 0, None, deleted_at=after(5)), gone=True)
    occupancy.saw("r", pod(2, 0, None))
    occupancy.left(pod(2, 0, None))
    occupancy.saw("r", ONE)
    assert occupancy.concurrent("r", ONE) == 1


def test_where_nothing_is_known_nothing_is_said() -> None:
    assert Occupancy().concurrent("r", pod(0, None, None)) is None
    assert Occupancy().concurrent("r", replace(ONE, node=None)) is None
    assert Occupancy().concurrent("r", ONE) == 1


def test_pods_that_train_together_are_one_trial_wherever_they_run() -> None:
    together = [pod(2, 10, 20), pod(3, 10, 20)]
    assert seen(*together).concurrent("r", together[0], nodes=2) == 1
    apart = [pod(2, 10, 20), pod(3, 10, 20, node="m")]
    assert seen(*apart, pod(4, 15, 16, node="m")).concurrent("r", apart[0], nodes=2) == 2


def test_what_is_remembered_is_bounded_and_keeps_what_runs() -> None:
    runs = pod(0, 0, None)
    occupancy = seen(runs, *(pod(number, number, number + 1) for number in range(1, 4 * _REMEMBERED)))
    assert occupancy.stays()["n"] <= _REMEMBERED
    assert occupancy.concurrent("r", runs) == 2


def test_nodes_where_nothing_ran_for_a_day_are_let_go_of() -> None:
    day = 24 * 3600
    occupancy = seen(pod(0, 0, 5, node="old"), pod(1, 0, None, node="busy"), pod(2, day, day + 9, node="newer"))
    occupancy.saw("r", pod(3, day + 60, None, node="new"))
    assert set(occupancy.stays()) == {"busy", "newer", "new"}


MOMENTS = st.integers(0, 12)
STAYS = st.builds(lambda since, length: (since, since + length), MOMENTS, st.integers(1, 6))


@given(st.lists(STAYS, max_size=8), STAYS)
def test_the_peak_is_the_fullest_second(others: list[tuple[int, int]], mine: tuple[int, int]) -> None:
    def stay(index: int, span: tuple[int, int]) -> Stay:
        return Stay("r", "job", index, AT + timedelta(seconds=span[0]), AT + timedelta(seconds=span[1]))

    fullest = max(sum(since <= second < until for since, until in others) for second in range(*mine))
    assert peak(stay(0, mine), [stay(1 + at, span) for at, span in enumerate(others)]) == fullest


# A race's records

(JOB,) = read_jobs(Path(__file__).parents[2] / "deploy/examples/digits.yaml")
numbers = itertools.count(1)


def raced(races: Races, **execution: Any) -> Race:
    document = JOB.model_dump(mode="json", by_alias=True, exclude_none=True)
    document["spec"]["execution"] |= execution
    uid = f"uid-{next(numbers)}"
    document["metadata"] |= {"uid": uid, "namespace": "n", "creationTimestamp": "2026-03-01T11:00:00Z"}
    races.saw_parent(document)
    race = races.get(uid)
    assert race is not None
    race.lay_out(plan(validate({**document, "metadata": {"name": JOB.metadata.name}}, source="test")), 1)
    races.saw_job(owned_job(uid, job_of(race), "n"))
    return race


def job_of(race: Race) -> str:
    """The name of the race's first Job."""
    assert race.plan is not None
    return Names.of(race.plan.job, race.uid).job(groups(race.plan.job)[0])


def runs(races: Races, race: Race, index: int, node: str = "node") -> str:
    """A pod of the race that runs from now on; its uid."""
    uid = f"pod-{next(numbers)}"
    state = {"running": {"startedAt": "2026-03-01T11:00:00Z"}}
    status = {"phase": "Running", "containerStatuses": [{"name": "runner", "state": state}]}
    races.saw_pod(owned_pod(race.uid, job_of(race), index, uid, "n", spec={"nodeName": node}, status=status))
    return uid


def shared(race: Race, index: int, attempt: str) -> tuple[int | None, bool | None]:
    observed = race.observed(index, attempt)
    assert observed is not None
    return observed.concurrent_trials, observed.shared


def test_trials_of_two_races_on_one_node_share_it() -> None:
    races = Races()
    one, other = raced(races, isolation="None"), raced(races)
    first, second, apart = runs(races, one, 0), runs(races, other, 0), runs(races, other, 1, "elsewhere")
    assert shared(one, 0, first) == (2, True)
    assert shared(other, 0, second) == (2, True)
    assert shared(other, 1, apart) == (1, False)


def test_a_race_whose_trials_may_meet_counts_as_shared_whatever_the_scheduler_did() -> None:
    races = Races()
    race = raced(races, isolation="None", parallelism=4)
    assert shared(race, 0, runs(races, race, 0)) == (1, True)

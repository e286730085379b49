"""What a pass over a search decides, as tables: what is made, started, stopped and said in each state of a search."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.integration.test_race_search import document
from velodrome.errors import SpecError
from velodrome.plan import plan
from velodrome.results.searches import Searched, Spent, Winner
from velodrome.search.trials import search_plan
from velodrome.spec import BenchmarkJob, validate
from velodrome_operator.children import ChildSettings, Names, lanes, search_children
from velodrome_operator.decision import Decision
from velodrome_operator.lanes import EntryLook, SearchLook, rooms
from velodrome_operator.missing_results import RESULT_GRACE
from velodrome_operator.observation import JobFacts, PodFacts
from velodrome_operator.pass_input import Observation
from velodrome_operator.policy import enforce
from velodrome_operator.search_decision import after_search, decide_search
from velodrome_operator.search_status import search_part, search_words

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
UID = "3f1c2d54-0000-4000-8000-000000000001"
IMAGE = "registry.example/team@sha256:" + "1" * 64


def job(images: int = 1, trials: int = 4, **spec: Any) -> BenchmarkJob:
    written = document(trials=trials)
    written["spec"] |= {"execution": {"parallelism": 3}, **spec}
    if images > 1:
        written["spec"]["entries"][1]["image"] = IMAGE
    return validate(written)


def names(of: BenchmarkJob) -> dict[str, str]:
    """The name of each lane's Job, by lane."""
    return {lane.lane: Names.of(of, UID).of_search().job(lane) for lane in lanes(of)}


def facts(name: str, **changes: Any) -> JobFacts:
    found = JobFacts(name, NOW - timedelta(hours=1), 1, suspended=False, parallelism=3, completed=frozenset(),
                     failed=frozenset(), finished=False, deleting=False, completions=8)  # fmt: skip
    return replace(found, **changes)


def pod(name: str, turn: int, phase: str = "Running", **changes: Any) -> PodFacts:
    return replace(PodFacts(f"pod-{turn}", f"uid-{turn}", name, turn, NOW, phase), **changes)


def decided(of: BenchmarkJob, look: SearchLook, jobs: dict[str, JobFacts], **changes: Any) -> Decision:
    at = {Names.of(of, UID).of_search().job(lane): lane for lane in lanes(of)}
    room = rooms({lane.lane: len(lane.entries) for lane in at.values() if lane.lane not in look.over}, 3)
    wanted = search_children(of, UID, "redis://u:p@redis:6379/0", ChildSettings("r"), lambda *_: "key", room)
    seen = Observation(search_plan(plan(of), {}), UID, 1, suspended=False, jobs=jobs, pods=(), status={}, now=NOW,
                       finished=look.finished, collected_at=NOW, search=look)  # fmt: skip
    return decide_search(replace(seen, **changes), look, at, room, wanted)


def test_a_new_search_gets_one_job_for_each_pod_template() -> None:
    one, two = job(), job(images=2)
    assert [child["kind"] for child in decided(one, SearchLook(), {}).create] == [
        "ConfigMap", "Secret", "Secret", "Job",
    ]  # fmt: skip
    made = [child for child in decided(two, SearchLook(), {}).create if child["kind"] == "Job"]
    assert [(child["spec"]["completions"], child["spec"]["parallelism"]) for child in made] == [(4, 2), (4, 1)]
    assert [child["metadata"]["name"] for child in made] == list(names(two).values())
    assert all("-s" in name for name in names(two).values())


def test_a_search_that_goes_on_needs_no_write_whatever_its_trials_do() -> None:
    of = job()
    (name,) = names(of).values()
    for finished in range(7):
        look = SearchLook({"0": tuple(range(finished + 1))}, dict.fromkeys(range(finished), True))
        going = facts(name, completed=frozenset(range(finished)))
        assert decided(of, look, {name: going}, pods=(pod(name, finished),)) == Decision()


def test_a_trial_that_ended_without_a_result_is_recorded_by_its_turn() -> None:
    of = job()
    (name,) = names(of).values()
    look = SearchLook({"0": (0, 3)}, {0: True})
    long_ago = NOW - 2 * RESULT_GRACE
    gone = pod(name, 1, "Failed", exit_code=1, created_at=long_ago, finished_at=long_ago)
    decision = decided(of, look, {name: facts(name, completed=frozenset({0}), failed=frozenset({1}))}, pods=(gone,))
    assert [(one.index, one.reason) for one in decision.missing] == [(3, "MetricsUnavailable")]
    waits = facts(name, failed=frozenset({5}))
    assert decided(of, look, {name: waits}).missing == (), "no trial has that turn yet"


def test_the_job_of_a_lane_that_is_over_is_deleted_unless_it_ends_by_itself() -> None:
    of = job(images=2)
    first, second = names(of).values()
    jobs = {first: facts(first, completions=4, parallelism=2), second: facts(second, completions=4, parallelism=1)}
    early = SearchLook({"0": (0, 3), "1": (1,)}, {0: True, 3: True, 1: False}, over=frozenset({"0"}))
    decision = decided(of, early, jobs)
    assert (decision.stop, decision.parallelism) == ((first,), {second: 3})
    whole = SearchLook({"0": (0, 3, 6, 9), "1": (1,)}, over=frozenset({"0"}))
    assert decided(of, whole, jobs).stop == ()
    assert decided(of, early, {second: facts(second, parallelism=3)}).create == (), "and is not made again"


def test_a_search_that_found_nothing_fails_with_the_reason_of_the_most_trials() -> None:
    of = job()
    (name,) = names(of).values()
    entries = (EntryLook("a", Spent(trials=4, failed=4)), EntryLook("b", Spent(trials=4)))
    decision = decided(of, SearchLook(entries=entries, lost={"a": "OutOfMemory"}), {name: facts(name)})
    assert decision.ending is not None
    assert (decision.ending.type, decision.ending.reason) == ("Failed", "OutOfMemory")
    assert decision.ending.message == "a: none of its 4 search trials ran to its end, most by OutOfMemory"
    assert decision.stop == (name,)
    none = decided(of, SearchLook(lost={"a": "no trial ran to its end"}), {name: facts(name)}).ending
    assert none is not None
    assert none.reason == "NoWinner"


def test_winners_are_confirmed_when_the_pods_of_the_search_have_ended() -> None:
    of = job()
    (name,) = names(of).values()
    at = {name: lanes(of)[0]}
    found = Searched(entries={"a": Winner(number=0, spent=Spent(trials=2)), "b": Winner(number=0), "plain": Winner()})
    wanted = Decision(create=({"kind": "Job"},))
    after = after_search(wanted, {name: facts(name)}, [pod(name, 2)], at, found)
    assert (after.create, after.stop) == ((), (name,))
    assert after_search(wanted, {name: facts(name, deleting=True)}, [pod(name, 2, deleting=True)], at, found) == wanted
    assert after_search(wanted, {name: facts(name, finished=True)}, [], at, found) == wanted
    full = facts(name, completions=2)
    assert after_search(wanted, {name: full}, [pod(name, 1)], at, found) == Decision(), "it ends by itself"


@given(st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 5), min_size=1), st.integers(0, 20))
def test_lanes_share_what_may_run_at_once(entries: dict[str, int], more: int) -> None:
    given_ = rooms(entries, len(entries) + more)
    assert sum(given_.values()) == len(entries) + more
    assert min(given_.values()) >= 1
    for lane, other in [(one, two) for one in entries for two in entries if entries[one] > entries[two]]:
        assert given_[lane] >= given_[other]


def test_the_status_says_how_far_a_search_is_and_then_what_it_found() -> None:
    of = job()
    entries = (
        EntryLook("a", Spent(trials=3, failed=1, pruned=1, epochs=9), 0.25, 2, "a 0.25 by trial 2"),
        EntryLook("b", Spent()),
    )
    look = SearchLook({"0": (0, 1, 3, 4)}, {0: True, 3: False, 6: True}, entries)
    seen = Observation(
        plan(of), UID, 1, suspended=False, jobs={}, pods=(), finished={}, status={}, now=NOW, search=look
    )
    first = {"name": "a", "trials": 3, "failed": 1, "pruned": 1, "epochs": 9, "best": 0.25, "trial": 2}
    second = {"name": "b", "trials": 0, "failed": 0, "pruned": 0, "epochs": 0}
    assert search_part(seen) == {"done": "3/8", "trials": 3, "suggested": 4, "entries": [first, second]}
    assert search_words(look, of, 1) == "searching: 3 of 8 trials spent, 1 running; best so far: a 0.25 by trial 2"
    spent = entries[0].spent
    winners = {"a": Winner(number=2, objectives={"validation_loss": 0.25}, spent=spent), "plain": Winner()}
    later = replace(seen, search=None, searched=Searched(entries=winners))
    assert search_part(later) == {"done": "3/4", "trials": 3, "suggested": 3, "entries": [first]}
    assert search_part(replace(seen, search=None)) is None


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"runner": {"nodes": 2}}, "spec.runner.nodes: one pod runs a search trial"),
        ({"search": {**document()["spec"]["search"], "algorithm": "GP"}}, "spec.search.algorithm: GP needs PyTorch"),
        (
            {"search": {**document()["spec"]["search"], "maxTrials": 40, "terminator": {"name": "Regret"}}},
            "spec.search.terminator: Regret needs PyTorch",
        ),
        ({"images": 2, "execution": {"parallelism": 1}}, "spec.execution.parallelism: 2 images or commands"),
    ],
)
def test_what_a_cluster_can_not_search_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(SpecError) as refused:
        enforce(job(**changes), ChildSettings())
    assert says in "; ".join(map(str, refused.value.problems))
    enforce(job(images=2), ChildSettings())

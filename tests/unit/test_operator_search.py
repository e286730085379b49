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
from velodrome.search.trials import search_of, search_plan
from velodrome.spec import BenchmarkJob, validate
from velodrome_operator.children import ChildSettings, Names, lanes, search_children
from velodrome_operator.decision import Decision
from velodrome_operator.lanes import POD_SECONDS, EntryLook, SearchLook, ahead, rooms, shares, stretches
from velodrome_operator.missing_results import RESULT_GRACE
from velodrome_operator.observation import JobFacts, PodFacts
from velodrome_operator.pass_input import Observation
from velodrome_operator.policy import enforce
from velodrome_operator.search_decision import after_search, decide_search, has_work, rooms_by_job
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
    """The name of each lane's first Job, by lane."""
    return {lane.lane: Names.of(of, UID).job(lane) for lane in lanes(of)}


def facts(name: str, **changes: Any) -> JobFacts:
    found = JobFacts(name, NOW - timedelta(hours=1), 1, suspended=False, parallelism=3, completed=frozenset(),
                     failed=frozenset(), finished=False, deleting=False, completions=8)  # fmt: skip
    return replace(found, **changes)


def pod(name: str, turn: int, phase: str = "Running", **changes: Any) -> PodFacts:
    return replace(PodFacts(f"pod-{turn}", f"uid-{turn}", name, turn, NOW, phase), **changes)


def decided(of: BenchmarkJob, look: SearchLook, jobs: dict[str, JobFacts], **changes: Any) -> Decision:
    most = search_of(of).max_trials
    laid = {lane.lane: look.stretches.get(lane.lane, (range(most * len(lane.entries)),)) for lane in lanes(of)}
    at = {
        Names.of(of, UID).job(one): one
        for lane in lanes(of)
        for turns in laid[lane.lane]
        for one in (replace(lane, turns=turns),)
    }
    of_lane = rooms({lane.lane: len(lane.entries) for lane in lanes(of) if lane.lane not in look.over}, 3)
    room = rooms_by_job(look, at, of_lane)
    missing = {
        one: room[name] for name, one in at.items() if name not in jobs and room.get(name) and has_work(one, look)
    }
    wanted = search_children(
        of, UID, "redis://u:p@redis:6379/0", ChildSettings("r"), lambda *_: "key", at.values(), missing
    )
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
    at, found = {name: lanes(of)[0]}, {"0": (0, 3)}
    wanted = Decision(create=({"kind": "Job"},))
    after = after_search(wanted, {name: facts(name)}, [pod(name, 2)], at, found)
    assert (after.create, after.stop) == ((), (name,))
    assert after_search(wanted, {name: facts(name, deleting=True)}, [pod(name, 2, deleting=True)], at, found) == wanted
    assert after_search(wanted, {name: facts(name, finished=True)}, [], at, found) == wanted
    full = facts(name, completions=2)
    assert after_search(wanted, {name: full}, [pod(name, 1)], at, found) == Decision(), "it ends by itself"


def test_a_search_that_was_raised_gets_a_further_job_once_it_has_room() -> None:
    """Two entries had 4 trials each, and may have 6 now: turns 8 to 11 are a further stretch."""
    of = job(trials=6)
    (name,) = names(of).values()
    laid = {"0": (range(8), range(8, 12))}
    going = facts(name, completed=frozenset(range(4)))
    first = SearchLook({"0": (0, 3, 1, 4, 6, 9, 7)}, dict.fromkeys((0, 3, 1, 4), True), stretches=laid)
    assert decided(of, first, {name: going}) == Decision(), "four turns are left, and three pods may run"
    late = SearchLook({"0": (0, 3, 1, 4, 6, 9, 7, 10)}, dict.fromkeys((0, 3, 1, 4, 6, 9), True), stretches=laid)
    made = decided(of, late, {name: going})
    (further,) = [child for child in made.create if child["kind"] == "Job"]
    assert (further["spec"]["completions"], further["spec"]["parallelism"]) == (4, 1)
    assert made.parallelism == {name: 2}
    (lane,) = lanes(of)
    later = replace(lane, turns=range(8, 12))
    assert further["metadata"]["name"] == Names.of(of, UID).job(later) != name
    variables = {one["name"]: one.get("value") for one in further["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert (variables["VELODROME_LANE"], later.lane) == ("0-8", "0")
    secrets = [child["metadata"]["name"] for child in made.create if "report-key-0-3" in child.get("stringData", {})]
    assert secrets == [Names.of(of, UID).of_stretch(later, 4).report_keys]
    trials = (0, 3, 1, 4, 6, 9, 7, 10)
    ended = dict.fromkeys((*trials, 12, 15), True)
    over = SearchLook({"0": trials, "0-8": (12, 15)}, ended, over=frozenset({"0"}), stretches=laid)
    jobs = {name: facts(name, finished=True), further["metadata"]["name"]: facts("later", completions=4)}
    assert decided(of, over, jobs).stop == (further["metadata"]["name"],), "it has pods that wait for nothing"


def test_the_names_of_a_search_are_those_before_it_was_raised() -> None:
    before, after = Names.of(job(trials=4), UID), Names.of(job(trials=6), UID)
    assert before == after != Names.of(job(trials=4), f"{UID}.2")
    (lane,) = lanes(job())
    long = Names("n" * 40 + "-12345678")
    for start in (0, 8, 99_999):
        name = long.job(replace(lane, number=999, turns=range(start, 100_000)))
        assert len(f"{name}-{99_999 - start}") <= 63, "a pod's host name"
        assert long.turn_of_job(replace(lane, number=999), name) == start
        assert long.turn_of_job(replace(lane, number=99), name) is None
    for other in (long.base, f"{long.base}-0", f"{long.base}-0-r2", f"{long.base}-0-s8x", f"{long.base}-0-s²"):
        assert long.turn_of_job(lane, other) is None


@given(st.data())
def test_the_turns_of_a_lane_are_its_jobs_whatever_happened(data: st.DataObject) -> None:
    """A lane that is raised now and then, whose Jobs are made late, and vanish."""
    need = data.draw(st.integers(1, 6))
    given_, made, done = dict[int, int](), dict[int, int](), dict[int, int]()
    for _ in range(data.draw(st.integers(1, 25))):
        going = {start for start, count in given_.items() if done.get(start, 0) < count}
        laid = stretches(given_, going, made, need)
        assert [turn for one in laid for turn in one] == list(range(need)), "each turn has one place"
        assert {one.start for one in laid} >= given_.keys() | made.keys(), "and keeps it"
        assert all(len(one) == made[one.start] for one in laid if one.start in made), "a Job can't grow"
        newest = max({0, *given_, *made})
        if newest not in made and newest in going:
            assert laid[-1].start == newest, "its Job is made again, and runs all that is left"
        turn = sum(given_.values())
        match data.draw(st.sampled_from(["suggest", "finish", "make", "vanish", "raise"])):
            case "suggest" if turn < need:
                start = next(one.start for one in laid if turn in one)
                given_[start] = given_.get(start, 0) + 1
            case "finish" if going:
                start = data.draw(st.sampled_from(sorted(going)))
                done[start] = done.get(start, 0) + 1
            case "make":
                one = data.draw(st.sampled_from(laid))
                if len(one) and given_.get(one.start):
                    made[one.start] = len(one)
            case "vanish" if made:
                del made[data.draw(st.sampled_from(sorted(made)))]
            case "raise":
                need += data.draw(st.integers(1, 4))


@given(st.lists(st.integers(0, 5), min_size=1, max_size=4), st.integers(0, 9))
def test_earlier_stretches_run_before_later_ones(lengths: list[int], room: int) -> None:
    laid = [range(length) for length in lengths]
    assert shares(laid, [0] * len(laid), room)[0] == (room if len(laid) == 1 else min(room, lengths[0]))
    assert sum(shares(laid, [0] * len(laid), room)) == room
    assert shares(laid, lengths, room) == (*[0] * (len(laid) - 1), room), "what is done needs no pod"


@given(st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 5), min_size=1), st.integers(0, 20))
def test_lanes_share_what_may_run_at_once(entries: dict[str, int], more: int) -> None:
    given_ = rooms(entries, len(entries) + more)
    assert sum(given_.values()) == len(entries) + more
    assert min(given_.values()) >= 1
    for lane, other in [(one, two) for one in entries for two in entries if entries[one] > entries[two]]:
        assert given_[lane] >= given_[other]


@pytest.mark.parametrize(
    ("room", "at_once", "seconds", "wanted"),
    [
        (8, 8, 0.0, 0), (8, 8, 0.05, 0), (8, 8, 0.1, 3), (8, 8, 0.365, 7), (8, 8, 9.0, 8), (32, 32, 0.036, 19),
        (1, 1, 9.0, 0), (1, 2, 9.0, 1), (4, 8, 0.1, 2),
    ],
)  # fmt: skip
def test_what_cannot_be_chosen_while_pods_start_is_chosen_before(
    room: int, at_once: int, seconds: float, wanted: int
) -> None:
    found = ahead(room, at_once, seconds)
    assert found == wanted
    if at_once > 1:
        assert (room - found) * at_once / room * seconds <= POD_SECONDS, "the rest is chosen before the first pod asks"


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
    assert search_part(seen) == {"done": "3/8", "trials": 3, "suggested": 5, "entries": [first, second]}
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

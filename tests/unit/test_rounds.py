"""Races until decided, as pure decisions: what may be written, what is asked for, and which Jobs a pass makes."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from velodrome.board.rounds import rounds_of
from velodrome.errors import SpecError
from velodrome.plan import Plan, local_uid, plan
from velodrome.results.records import Rounds, StoppedEntry
from velodrome.results.registration import first_round, job_info, stored_document
from velodrome.results.rounds import asked, ending, stop_note, undecided
from velodrome.spec import validate
from velodrome.store.types import JobSamples
from velodrome_operator.children import ChildSettings, Names, children, groups
from velodrome_operator.decision import decide
from velodrome_operator.observation import JobFacts, PodFacts
from velodrome_operator.outcome import ending_of
from velodrome_operator.pass_input import Observation
from velodrome_operator.rounds import Round, count, further, written
from velodrome_operator.rounds import rounds_of as rounds_in
from velodrome_operator.status import status

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ENTRIES = ("far", "good", "best")
MEANS = dict(zip(ENTRIES, (0.7, 0.958, 0.965), strict=True))
OBJECTIVES = [{"name": "quality", "metric": "accuracy"}, {"name": "size", "metric": "parameters"}]


def made(trials: Mapping[str, Any] | None = None, **spec: Any) -> Plan:
    until = {"repeats": 4, "until": {"decided": ["quality"], "maxRepeats": 16}}
    return plan(
        validate(
            {
                "apiVersion": "velodrome.dev/v1alpha1",
                "kind": "BenchmarkJob",
                "metadata": {"name": "until"},
                "spec": {
                    "dataset": {"name": "digits"},
                    "objectives": OBJECTIVES,
                    "entries": [{"name": name, "model": {"name": "velodrome/mlp"}} for name in ENTRIES],
                    "trials": trials or until,
                    **spec,
                },
            }
        )
    )


def refusals(trials: Mapping[str, Any], **spec: Any) -> dict[str, str]:
    with pytest.raises(SpecError) as caught:
        made(trials, **spec)
    return {problem.path.removeprefix("spec.trials."): str(problem) for problem in caught.value.problems}


# What may be written


@pytest.mark.parametrize(
    ("trials", "field", "says"),
    [
        ({"until": {"decided": ["quality"], "maxRepeats": 5}}, "until.maxRepeats", "more than 5"),
        ({"repeats": 1, "until": {"decided": ["quality"], "maxRepeats": 9}}, "repeats", "write 2 or more"),
        ({"until": {"decided": ["qualty"], "maxRepeats": 9}}, "until.decided[0]", 'did you mean "quality"?'),
        ({"until": {"decided": ["accuracy"], "maxRepeats": 9}}, "until.decided[0]", "no objective of this job"),
        ({"until": {"decided": ["size"], "maxRepeats": 9}}, "until.decided[0]", "name objectives that vary: quality"),
        ({"until": {"decided": ["quality"] * 2, "maxRepeats": 9}}, "until.decided[1]", "twice"),
        ({"until": {"decided": [], "maxRepeats": 9}}, "until.decided", "at least 1"),
        ({"until": {"decided": ["quality"], "maxRepeats": 10_001}}, "until.maxRepeats", "at most 10000"),
        ({"until": {"decided": ["quality"], "maxRepeats": 9, "alpha": 0}}, "until.alpha", "more than 0"),
        ({"until": {"decided": ["quality"], "maxRepeats": 9, "alpha": 0.51}}, "until.alpha", "at most 0.5"),
        ({"until": {"decided": ["quality"]}}, "until.maxRepeats", "is missing"),
        ({"until": {"maxRepeats": 9}}, "until.decided", "is missing"),
        ({"until": "decided"}, "until", "must be a mapping"),
    ],
)
def test_what_can_not_be_decided_is_refused_with_the_fix(trials: dict[str, Any], field: str, says: str) -> None:
    assert says in refusals(trials)[field]


def test_one_entry_and_too_many_trials_are_refused() -> None:
    one = [{"name": "a", "model": {"name": "velodrome/mlp"}}]
    until = {"until": {"decided": ["quality"], "maxRepeats": 20}}
    assert "add an entry" in refusals(until, entries=one)["until"]
    many = [{"name": f"e{number}", "model": {"name": "velodrome/mlp"}} for number in range(1000)]
    most = {"until": {"decided": ["quality"], "maxRepeats": 101}}
    assert "more than 100,000 trials" in refusals(most, entries=many)["until.maxRepeats"]


def test_the_tasks_own_objective_can_be_decided_without_being_written() -> None:
    trials = {"until": {"decided": ["rmse"], "maxRepeats": 9}}
    data = {"name": "diabetes"}
    job = made(trials, objectives=None, dataset=data).job
    assert job.spec.trials.until is not None
    # as an API server shows it, which writes the default of another task
    default = [{"name": "accuracy", "metric": "accuracy"}]
    assert made(trials, objectives=default, dataset=data).job.spec.objectives == job.spec.objectives
    assert (
        "did you mean"
        not in refusals({"until": {"decided": ["r2"], "maxRepeats": 9}}, objectives=None)["until.decided[0]"]
    )


def test_the_plan_has_every_trial_that_rounds_may_ask_for_with_the_same_seeds() -> None:
    fixed, until = made({"repeats": 16}), made()
    assert len(until) == 48
    assert [(one.index, one.entry, one.seed, one.id) for one in until.trials] == [
        (one.index, one.entry, one.seed, one.id) for one in fixed.trials
    ]
    assert validate(stored_document(until.job)) == until.job
    assert len({local_uid(fixed), local_uid(until), local_uid(made({"repeats": 4}))}) == 3
    info = job_info(until, "u", NOW)
    assert (info.trials, info.repeats, info.asked, info.planned("far")) == (48, 16, 12, 4)
    assert not info.is_over(12)


# What is asked for


def samples(values: Mapping[tuple[str, int], float], cohort: str = "c") -> list[JobSamples]:
    return [
        JobSamples(
            entry, "accuracy", cohort, {repeat: value for (name, repeat), value in values.items() if name == entry}
        )
        for entry in ENTRIES
    ]


def drawn(seed: int = 16) -> dict[tuple[str, int], float]:
    noise = random.Random(seed)  # noqa: S311 - figures, not secrets
    return {(entry, repeat): MEANS[entry] + noise.gauss(0, 0.005) for repeat in range(16) for entry in ENTRIES}


def after(given: Plan, values: Mapping[tuple[str, int], float], finished: Iterable[int]) -> Rounds:
    """The rounds once these trials are finished."""
    trials = [given.trial(index) for index in finished]
    some = {(one.entry, one.repeat): values[one.entry, one.repeat] for one in trials}
    return rounds_of(given, dict.fromkeys((one.index for one in trials), True), samples(some))


def raced(given: Plan, values: Mapping[tuple[str, int], float]) -> list[Rounds]:
    """The rounds of a whole race."""
    found = [after(given, values, ())]
    while not found[-1].finished:
        found.append(after(given, values, asked(given, found[-1])))
    return found


def test_seeds_are_asked_for_only_where_they_can_change_the_answer() -> None:
    looks = raced(made(), drawn())
    assert looks[0] == first_round(made())
    assert [one.repeats for one in looks] == [
        {"far": 4, "good": 4, "best": 4},
        {"far": 4, "good": 6, "best": 6},
        {"far": 4, "good": 8, "best": 8},
        {"far": 4, "good": 8, "best": 8},
    ]
    assert [undecided(one) for one in looks] == [ENTRIES, ("good", "best"), ("good", "best"), ()]
    assert {entry: stopped.why for entry, stopped in looks[-1].stopped.items()} == {
        "far": "Beaten", "good": "Beaten", "best": "Decided",
    }  # fmt: skip
    assert ending(looks[-1], 20) == "Decided after 20 trials: decided: best; beaten: far, good"
    assert stop_note(looks[-1], "good") == "stopped: is beaten by best at 8 seeds"
    assert stop_note(looks[0], "good") == stop_note(None, "good") == ""


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 50), st.data())
def test_results_in_any_order_lead_to_the_same_rounds(seed: int, data: st.DataObject) -> None:
    given_, values = made(), drawn(seed)
    last = raced(given_, values)[-1]
    done: list[int] = []
    now = after(given_, values, done)
    while left := [index for index in asked(given_, now) if index not in done]:
        done.append(data.draw(st.sampled_from(left)))
        now = after(given_, values, done)
    assert now == last
    assert sorted(done) == sorted(asked(given_, last))


def test_later_results_change_no_earlier_look() -> None:
    given_, values = made(), drawn()
    assert after(given_, values, range(48)) == raced(given_, values)[-1]


def test_an_entry_that_failed_takes_part_as_long_as_it_has_values_and_is_waited_for_no_more() -> None:
    given_, values = made(), drawn()
    first = after(given_, values, range(12))
    finished = {index: index != 14 for index in asked(given_, first)}  # the fifth seed of `best` fails
    some = {key: value for key, value in values.items() if key[1] < 6 and key != ("best", 4)}
    found = rounds_of(given_, finished, samples(some))
    assert found.finished
    assert found.repeats["best"] == 6
    assert (found.stopped["far"].look, found.stopped["good"].why) == (1, "Decided")
    assert "best" not in found.stopped


def test_values_under_other_conditions_are_not_compared() -> None:
    given_, values = made(), drawn()
    here = {key: value for key, value in values.items() if key[1] < 4 and key[0] != "best"}
    there = {("best", repeat): 0.99 + repeat / 1000 for repeat in range(4)}
    elsewhere = [one for one in samples(there, "another machine") if one.values]
    found = rounds_of(given_, dict.fromkeys(range(12), True), [*elsewhere, *samples(here)])
    assert found.repeats["best"] == 4
    assert found.stopped.keys() == {"far", "good"}, "good leads what can be compared"


# On a cluster

ROUNDS = (Round(1, (0, 1, 2), range(4)), Round(2, (1, 2), range(4, 6)))
UID = "3f1c2d54-0000-4000-8000-000000000001"


def test_rounds_are_written_into_the_status_and_read_again() -> None:
    given_, looks = made(), raced(made(), drawn())
    assert further(ROUNDS[:1], given_, looks[0]) == ()
    assert further(ROUNDS[:1], given_, looks[1]) == ROUNDS[1:]
    assert further(ROUNDS, given_, looks[2]) == (Round(3, (1, 2), range(6, 8)),)
    assert rounds_in({"rounds": written(ROUNDS)}, given_) == ROUNDS
    assert count(ROUNDS) == 16
    uneven = looks[1].model_copy(update={"repeats": {"far": 6, "good": 8, "best": 8}})
    assert further(ROUNDS, given_, uneven) == (Round(3, (0,), range(4, 6)), Round(4, (1, 2), range(6, 8)))


@pytest.mark.parametrize(
    "odd",
    [
        None,
        "x",
        [None],
        [{}],
        [{"entries": "0-2"}],
        [{"entries": "7", "repeats": "4-5"}],
        [{"entries": "0", "repeats": "99"}],
    ],
)
def test_an_odd_status_has_the_first_round(odd: object) -> None:
    assert rounds_in({"rounds": odd}, made()) == ROUNDS[:1]
    assert rounds_in({"rounds": written(ROUNDS)}, made({"repeats": 4})) == ROUNDS[:1], "of a race without rounds"


def race_jobs() -> dict[str, tuple[int, ...]]:
    given_, names = made(), Names.of(made().job, UID)
    return {
        names.of_round(one.number).job(group): group.trials(given_)
        for one in ROUNDS
        for group in groups(given_.job, one)
    }


FIRST, SECOND = race_jobs()


def seen(**changes: Any) -> Observation:
    jobs = {
        FIRST: JobFacts(
            FIRST,
            NOW - timedelta(hours=1),
            active=0,
            suspended=False,
            parallelism=1,
            completed=frozenset(range(12)),
            failed=frozenset(),
            finished=True,
            deleting=False,
        )
    }
    found = Observation(
        made(), UID, 1, suspended=False, jobs=jobs, pods=(), finished=dict.fromkeys(range(12), True), status={},
        now=NOW, collected_at=NOW, job_rounds={FIRST: 1, SECOND: 2}, asked=16, rounds=raced(made(), drawn())[1],
    )  # fmt: skip
    return replace(found, **changes)


def created(found: Observation) -> list[str]:
    wanted = children(found.plan.job, found.plan, UID, "redis://r", ChildSettings("i"), key_of=str, rounds=ROUNDS[1:])
    return [
        f"{one['kind']} {one['metadata']['name'].rpartition('-')[2]}"
        for one in decide(found, wanted, race_jobs()).create
    ]


def pod(phase: str, **changes: Any) -> PodFacts:
    return replace(PodFacts("p", "u", FIRST, 11, NOW, phase), **changes)


def test_the_next_rounds_job_waits_for_pods_of_the_last_round_that_still_end() -> None:
    assert created(seen()) == [*created(seen())[:2], "Secret r2", "Job r2"]
    assert created(seen(pods=(pod("Running"),))) == [], "its trials would share a node with them"
    assert "Job r2" in created(seen(pods=(pod("Running", deleting=True),))), "nobody may ever see a lost node's pod end"
    assert "Job r2" in created(seen(pods=(pod("Succeeded"),)))


def test_a_job_of_a_round_that_is_over_makes_no_pod_for_one_that_was_lost() -> None:
    going = replace(seen().jobs[FIRST], finished=False, completed=frozenset(range(11)), active=1)
    second = replace(going, name=SECOND, active=0, completed=frozenset())
    both = {FIRST: going, SECOND: second}
    assert decide(seen(jobs=both), (), race_jobs()).parallelism == {FIRST: 0}
    assert decide(seen(jobs=both, pods=(pod("Running"),)), (), race_jobs()).parallelism == {}


def test_a_race_is_complete_when_it_asks_for_no_more() -> None:
    last = raced(made(), drawn())[-1]
    all_ = dict.fromkeys(asked(made(), last), True)
    assert ending_of(seen(asked=20, finished=all_)) is None, "the last look has not come yet"
    found = ending_of(seen(asked=20, finished=all_, rounds=last))
    assert found is not None
    assert (found.type, found.reason) == ("Complete", "Decided")
    assert found.message == "Decided after 20 trials: decided: best; beaten: far, good; 20 of 20 trials succeeded"
    equal = last.model_copy(
        update={"stopped": {"best": StoppedEntry(look=3, repeats=8, why="Futile", text="best can't be told apart.")}}
    )
    tied = ending_of(seen(asked=20, finished=all_, rounds=equal))
    assert tied is not None
    assert tied.reason == "Undecided"


def test_the_status_says_which_round_it_is_and_who_is_undecided() -> None:
    said = status(seen(finished=dict.fromkeys(range(14), True)), None, (), None)
    assert said["message"] == "round 2, 2 entries undecided (good, best), 14 of 16 trials finished, 0 running"
    assert said["trials"]["done"] == "14/16"

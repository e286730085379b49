"""A search on a cluster, with a real Redis; the API server keeps objects, and the test is its pods."""

from __future__ import annotations

import asyncio
import random
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import redis

from tests.integration.test_operator_collection import Pods, round_of
from tests.integration.test_operator_inboxes import needs_redis_7
from tests.integration.test_operator_judgement import Operator
from tests.integration.test_operator_takeover import IMAGE, Kept, environment, status
from tests.integration.test_race_search import by_optuna_alone, loss
from tests.searched import RATE, ended, registered, search_of_two
from velodrome import keys
from velodrome.board.searches import read_search
from velodrome.board.viewing import objectives_of, read_objectives
from velodrome.plan import Plan, plan, read_spans
from velodrome.results.records import ResultReport
from velodrome.search.study import EntryStudy, Told
from velodrome.search.trials import search_of
from velodrome.spec import validate
from velodrome.store import Store
from velodrome_operator.access import Access, password, user_name
from velodrome_operator.cluster import Unavailable
from velodrome_operator.collection import Collection
from velodrome_operator.lanes import LaneAsk, SearchAsk, SearchLook
from velodrome_operator.observation import job_facts
from velodrome_operator.ranker import Ranker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.integration.conftest import Race, RedisServer

UID = "searching"
OF = keys.search_uid(UID)


class Cleared(Kept):
    """It also deletes Jobs."""

    def __init__(self) -> None:
        super().__init__()
        self.deleted: list[str] = []

    async def delete_job(self, namespace: str, name: str) -> None:
        self.deleted.append(name)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A status that changed only counts is written in the same pass."""
    monkeypatch.setattr("velodrome_operator.status_writer.STATUS_SECONDS", 0.0)


@pytest.fixture
def objects() -> Cleared:
    return Cleared()


@pytest.fixture
def operator(store: Store, redis_server: RedisServer, objects: Cleared) -> Operator:
    return Operator(store, redis_server.client(), objects)


def made(
    make_race: type[Race], trials: int = 5, uid: str = UID, spec: dict[str, Any] | None = None, **search: Any
) -> Race:
    """Two entries with the same parameters, and one that has none."""
    return make_race(
        uid=uid,
        name=f"race-{uid}",
        entries=("a", "b", "plain"),
        spec={
            "budget": {"maxEpochs": 2},
            "evaluation": {"metrics": ["accuracy"]},
            "trials": {},
            "search": search_of_two(trials, **search),
            **(spec or {}),
        },
    )


def turns(store: Store, uid: str = UID) -> list[int]:
    """The trials whose parameters a pod can read, and that have no result."""
    of = keys.search_uid(uid)
    return [index for lane in store.turns(of).values() for index in lane if index not in store.trials(of)]


def finish(store: Store, race: Race, index: int, failed: str = "") -> None:
    suggestion = store.suggestion(keys.search_uid(race.uid), index)
    assert suggestion is not None
    value = loss(dict(suggestion.values))
    store.accept(keys.search_uid(race.uid), 0, [ended(store, race.plan, race.uid, index, 9.0, value, failed=failed)])


def restarted(store: Store, server: RedisServer, objects: Cleared, before: Operator, race: Race) -> Operator:
    """An operator that has just started: it sees the object and its Jobs as they are."""
    known = before.controller.races.get(race.uid)
    assert known is not None
    after = Operator(store, server.client(), objects)
    after.controller.races.saw_parent(known.parent.raw)
    for job in objects.made_jobs:
        if job["metadata"]["name"] not in objects.deleted:
            after.controller.races.saw_job(job)
    return after


def held(operator: Operator, race: Race) -> dict[str, tuple[str, str]]:
    """The conditions that hold: reason and message."""
    return {
        one["type"]: (one["reason"], one["message"])
        for one in status(operator, race).get("conditions", ())
        if one["status"] == "True"
    }


def searched(operator: Operator, store: Store, race: Race) -> None:
    """Runs the search to its end, one trial after the other."""
    operator.sees(race)
    operator.passes(race)
    while left := turns(store, race.uid):
        finish(store, race, left[0])
        operator.passes(race)
    for _ in range(2):  # one makes the Job of the trials that confirm, and one says so
        operator.passes(race)


def confirmed(operator: Operator, store: Store, race: Race, losses: Sequence[float] = (1.0,)) -> None:
    """Runs the trials that confirm the winners. Each repeat has a larger loss, by these factors."""
    known = operator.controller.races.get(race.uid)
    assert known is not None
    assert known.plan is not None
    uid = known.results_uid
    for index in range(len(race.plan)):
        trial = known.plan.trial(index)
        factor, result = losses[trial.repeat % len(losses)], race.result(index)
        curves = tuple(
            one.model_copy(update={"validation": {**one.validation, "validation_loss": factor}})
            for one in result.curves
        )
        result = result.model_copy(update={"job_uid": uid, "trial_id": trial.id, "curves": curves})
        record = race.record(index).model_copy(update={"result": result, "config": trial.config})
        store.accept(uid, 0, [record])
    operator.passes(race)


ONE_AT_A_TIME = {"execution": {"parallelism": 1}}


def test_a_search_is_one_job_whose_pods_take_turns_and_its_winners_are_confirmed(
    operator: Operator, objects: Cleared, store: Store, make_race: type[Race]
) -> None:
    race = made(make_race, spec=ONE_AT_A_TIME)
    operator.sees(race)
    operator.passes(race)
    (job,) = objects.made_jobs
    assert objects.order.index("Job") > 1
    assert store.suggestions(OF).keys() == {0}, "one trial runs at a time, and its parameters are there before its pod"
    told = environment(job)
    assert (job["spec"]["completions"], job["spec"]["parallelism"]) == (10, 1)
    assert (told[keys.ENV_SEARCH], told[keys.ENV_LANE], told[keys.ENV_JOB_UID]) == ("1", "0", OF)
    before = len(objects.order)
    searched(operator, store, race)
    wanted = by_optuna_alone(plan_of(race))
    for place in (0, 1):
        found = [dict(store.suggestions(OF)[number * 3 + place].values) for number in range(5)]
        assert found == wanted, "as Optuna in a plain loop"
    said = status(operator, race)["search"]
    assert [said["done"], said["suggested"]] == ["10/10", 10]

    _, second = objects.made_jobs
    assert environment(second)[keys.ENV_JOB_UID] == UID
    assert keys.ENV_SEARCH not in environment(second)
    assert second["spec"]["completions"] == 6
    writes = [kind for kind in objects.order[before:] if kind not in ("status", "Event")]
    assert writes == ["ConfigMap", "Secret", "Secret", "Job"], "trials of a search cost no object"
    confirmed(operator, store, race, losses=(1.0, 4.0))
    assert held(operator, race)["Complete"][0] == "AllTrialsFinished"
    info = store.job(UID)
    assert info is not None
    reading = read_search(store, info)
    assert reading is not None
    assert [(one.tuned, one.spent.trials, one.confirming) for one in reading.entries] == [
        (True, 5, 2), (True, 5, 2), (False, 0, 2),
    ]  # fmt: skip
    assert reading.entries[0].confirmed == pytest.approx(2.0), "losses differ by factors: the geometric mean"
    best = min(wanted, key=loss)
    assert dict(reading.entries[0].values) == best
    record = store.trial(UID, 0)
    assert record is not None
    assert record.config.training.optimizer.learning_rate == best[RATE]


def plan_of(race: Race) -> Plan:
    """The plan of the same search with its parameters by the names that the other tests know."""
    return plan(validate(race.plan.job.model_dump(mode="json", by_alias=True, exclude_none=True)))


def as_optuna_suggests_then(store: Store, made: Plan) -> list[dict[str, Any]]:
    """The suggestions of a plain loop for the first entry, told before each one the results that were known then."""
    study, found, told = EntryStudy(search_of(made.job), "a", ["minimize"]), list[dict[str, Any]](), set[int]()
    own = {one.number: one for one in store.suggestions(OF).values() if one.entry == "a"}
    for number in sorted(own):
        for before in sorted(read_spans(own[number].known, len(own)) - told):
            study.tell(before, Told("Complete", (loss(dict(own[before].values)),)))
            told.add(before)
        found.append(dict(study.suggest().values))
    return found


@pytest.mark.parametrize(("parallelism", "pod_seconds"), [(1, 0.5), (1, 0.0), (3, 0.5), (3, 0.0)])
@pytest.mark.parametrize("seed", range(3))
def test_an_operator_that_is_killed_anywhere_loses_and_repeats_no_suggestion(
    objects: Cleared,
    store: Store,
    redis_server: RedisServer,
    make_race: type[Race],
    seed: int,
    parallelism: int,
    pod_seconds: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without seconds in which pods start, twice as many trials are suggested as run at once."""
    monkeypatch.setattr("velodrome_operator.lanes.POD_SECONDS", pod_seconds)
    race, dice = made(make_race, spec={"execution": {"parallelism": parallelism}}), random.Random(seed)  # noqa: S311
    now = Operator(store, redis_server.client(), objects)
    now.sees(race)
    now.passes(race)
    order = list(store.turns(OF)["0"])
    while left := turns(store):
        for index in dice.sample(left, dice.randint(1, len(left))):
            finish(store, race, index)
            if dice.random() < 0.6:
                now = restarted(store, redis_server, objects, now, race)
            if dice.random() < 0.3:
                objects.fail[dice.choice(["status", "Event"])] = Unavailable("it is away")
        now.passes(race)
        objects.fail.clear()
        now.passes(race)
        given = list(store.turns(OF)["0"])
        assert given[: len(order)] == order, "a turn stays its trial's"
        order = given
    assert sorted(order) == sorted(set(order)) == sorted(store.suggestions(OF))
    assert len(order) == 10
    info = store.job(UID)
    assert info is not None
    assert info.searched is not None
    assert suggested(store) == as_optuna_suggests_then(store, plan_of(race))
    if parallelism == 1:
        wanted = by_optuna_alone(plan_of(race))
        assert [dict(store.suggestions(OF)[number * 3].values) for number in range(5)] == wanted
        assert dict(info.searched.entries["b"].values) == min(wanted, key=loss)


def test_suggestions_that_take_long_are_made_before_there_is_room_for_them(
    operator: Operator,
    objects: Cleared,
    store: Store,
    make_race: type[Race],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    race = made(make_race, trials=4, spec={"execution": {"parallelism": 3}})
    operator.sees(race)
    operator.passes(race)
    assert len(turns(store)) == 3, "what a choice takes is not known yet"
    monkeypatch.setattr("velodrome_operator.lanes.POD_SECONDS", 0.0)
    operator.passes(race)
    assert len(turns(store)) == 6
    finish(store, race, turns(store)[0])
    operator.passes(race)
    assert len(turns(store)) == 6
    assert [job["spec"]["parallelism"] for job in objects.made_jobs] == [3], "no more pods run at once"
    searched_on(operator, store, race)
    assert len(store.suggestions(OF)) == 8, "and no more trials in all"


def more(operator: Operator, race: Race, trials: int) -> None:
    """Somebody raises `maxTrials`."""
    known = operator.controller.races.get(race.uid)
    assert known is not None
    raw = deepcopy(known.parent.raw)
    raw["spec"]["search"]["maxTrials"] = trials
    raw["metadata"] |= {"generation": known.parent.generation + 1, "resourceVersion": str(known.parent.version + 1)}
    operator.controller.races.saw_parent(raw)


def suggested(store: Store, uid: str = UID) -> list[dict[str, Any]]:
    """The parameters of the first entry's trials, in order."""
    return [dict(one.values) for one in store.suggestions(keys.search_uid(uid)).values() if one.entry == "a"]


def test_a_search_that_is_raised_while_it_goes_on_gets_turns_in_a_further_job(
    operator: Operator, objects: Cleared, store: Store, make_race: type[Race]
) -> None:
    race, whole = made(make_race, trials=3, spec=ONE_AT_A_TIME), made(make_race, trials=5, spec=ONE_AT_A_TIME)
    operator.sees(race)
    operator.passes(race)
    for _ in range(2):
        finish(store, race, turns(store)[0])
        operator.passes(race)
    more(operator, race, 5)
    operator.passes(race)
    (first,) = objects.made_jobs
    assert first["spec"]["completions"] == 6, "its pods take the turns that it has"
    assert status(operator, race)["search"]["done"] == "2/10"
    searched_on(operator, store, race)
    _, further, confirm = objects.made_jobs
    assert (further["spec"]["completions"], environment(further)[keys.ENV_LANE]) == (4, "0-6")
    assert {lane: len(trials) for lane, trials in store.turns(OF).items()} == {"0": 6, "0-6": 4}
    assert suggested(store) == by_optuna_alone(plan_of(whole)), "as if it had been so from the start"
    assert environment(confirm)[keys.ENV_JOB_UID] == UID, "its winners were not known before"
    info, tried = store.job(UID), store.job(OF)
    assert info is not None
    assert tried is not None
    assert (info.most_searched, tried.repeats, tried.trials) == (5, 5, 15)
    reading = read_search(store, info)
    assert reading is not None
    assert (reading.most, reading.over) == (5, True)


def searched_on(operator: Operator, store: Store, race: Race, uid: str = UID) -> None:
    """Runs what is left of a search, one trial after the other."""
    while left := turns(store, uid):
        finish(store, replace(race, uid=uid), left[0])
        operator.passes(race)
    for _ in range(2):
        operator.passes(race)


def test_a_search_that_is_raised_after_its_end_goes_on_in_a_further_run(
    operator: Operator, objects: Cleared, store: Store, make_race: type[Race], redis_server: RedisServer
) -> None:
    race, whole = made(make_race, trials=3, spec=ONE_AT_A_TIME), made(make_race, trials=8, spec=ONE_AT_A_TIME)
    searched(operator, store, race)
    confirmed(operator, store, race)
    first = store.job(UID)
    assert first is not None
    assert first.searched is not None
    assert held(operator, race).keys() == {"Complete"}
    known = set(objects.deleted), len(objects.made_jobs)
    more(operator, race, 8)
    operator.passes(race)
    assert held(operator, race) == {
        "Reconciling": ("SearchRaised", "its search goes on: spec.search.maxTrials was raised")
    }
    for _ in range(2):  # one makes the Job, and one says so
        operator.passes(race)
    said = status(operator, race)
    assert (said["search"]["run"], said["search"]["done"], said["trials"]["done"]) == (2, "6/16", "0/6")
    assert "completionTime" not in said
    again = f"{UID}.2"
    assert turns(store, again) == [9], "trial 3 of the first entry"
    searched_on(operator, store, race, again)
    assert suggested(store, again) == by_optuna_alone(plan_of(whole)), "numbers and choices follow those before"
    assert store.trials(keys.search_uid(again)).keys() == store.suggestions(keys.search_uid(again)).keys()
    *_, of_search, confirm = objects.made_jobs
    assert (set(objects.deleted), len(objects.made_jobs)) == (known[0], known[1] + 2)
    assert of_search["spec"]["completions"] == 10, "no turn is of a trial that ran before"
    told = environment(of_search)
    assert (told[keys.ENV_JOB_UID], told[keys.ENV_LANE]) == (keys.search_uid(again), "0")
    assert of_search["metadata"]["ownerReferences"][0]["uid"] == UID
    assert environment(confirm)[keys.ENV_JOB_UID] == again
    confirmed(operator, store, race)
    assert held(operator, race)["Complete"][0] == "AllTrialsFinished"
    assert status(operator, race)["search"]["done"] == "16/16"
    second = store.job(again)
    assert second is not None
    assert second.searched is not None
    assert second.searched.entries["a"].spent.trials == 8
    assert store.job(UID) == first, "what was confirmed before stays on record"
    assert len(store.trials(UID)) == 6
    board = read_objectives(store, "digits", objectives_of(store, "digits"))
    ranking = board[0].ranking
    ranked = {row.job_uid for row in ranking.ranked} | {row.job_uid for row in ranking.unranked}
    assert ranked == {again}
    operator.passes(race)
    after = restarted(store, redis_server, objects, operator, race)
    after.passes(race)
    assert status(after, race) == status(operator, race), "an operator that starts anew changes nothing"


@pytest.mark.parametrize("parallelism", [1, 3])
@pytest.mark.parametrize("seed", range(4))
def test_a_raised_search_whose_operator_is_killed_anywhere_ends_as_it_should(
    objects: Cleared, store: Store, redis_server: RedisServer, make_race: type[Race], seed: int, parallelism: int
) -> None:
    """It is raised three times: at random while it goes on, or after its end, or after winners were confirmed."""
    dice, spec = random.Random(seed), {"execution": {"parallelism": parallelism}}  # noqa: S311
    race, most, uid = made(make_race, trials=2, spec=spec), 2, UID
    now = Operator(store, redis_server.client(), objects)
    now.sees(race)
    now.passes(race)
    for _ in range(200):
        left = turns(store, uid)
        for index in dice.sample(left, dice.randint(min(1, len(left)), len(left))):
            finish(store, replace(race, uid=uid), index)
        if dice.random() < 0.6:
            now = restarted(store, redis_server, objects, now, race)
        if dice.random() < 0.3:
            objects.fail[dice.choice(["status", "Job", "Secret"])] = Unavailable("it is away")
        if most < 8 and dice.random() < 0.4:
            most += 2
            more(now, race, most)
        now.passes(race)
        objects.fail.clear()
        now.passes(race)
        known = now.controller.races.get(UID)
        assert known is not None
        uid = known.results_uid
        if known.searched is not None and not known.parent.ended and dice.random() < 0.5:
            confirmed(now, store, race)
        if known.parent.ended and most == 8 and status(now, race)["search"]["done"] == "16/16":
            break
    assert held(now, race).keys() == {"Complete"}
    given = [index for stretch in store.turns(keys.search_uid(uid)).values() for index in stretch]
    assert len(given) == len(set(given)), "no suggestion is given twice"
    assert sorted(store.suggestions(keys.search_uid(uid))) == sorted(
        3 * number + at for number in range(8) for at in (0, 1)
    )
    if parallelism == 1:
        assert suggested(store, uid) == by_optuna_alone(plan_of(made(make_race, trials=8, spec=spec)))
    jobs = {job["metadata"]["name"] for job in objects.made_jobs}
    assert len(jobs) <= 8, "two of a run at the most, and four runs"


def test_a_search_whose_trials_all_fail_ends_with_the_most_frequent_reason(
    operator: Operator, store: Store, make_race: type[Race]
) -> None:
    race = made(make_race, trials=4)
    operator.sees(race)
    operator.passes(race)
    while left := turns(store):
        for index in left:
            finish(store, race, index, failed="OutOfMemory" if index % 3 == 0 and index else "LossNotFinite")
        operator.passes(race)
    reason, message = held(operator, race)["Failed"]
    assert reason == "OutOfMemory"
    assert message == (
        "a: none of its 4 search trials ran to its end, most by OutOfMemory; "
        "b: none of its 4 search trials ran to its end, most by LossNotFinite"
    )
    assert status(operator, race)["search"]["entries"][0] | {"epochs": 0} == {
        "name": "a", "trials": 4, "failed": 4, "pruned": 0, "epochs": 0,
    }  # fmt: skip


def test_a_lane_that_ends_early_has_its_job_deleted_and_winners_wait_for_its_pods(
    operator: Operator, objects: Cleared, store: Store, make_race: type[Race]
) -> None:
    race = made(make_race, trials=5, budget={"epochs": 4}, spec=ONE_AT_A_TIME)  # two trials of two epochs
    operator.sees(race)
    operator.passes(race)
    (job,) = objects.made_jobs
    name = job["metadata"]["name"]
    pod = waiting_pod(job, turn=4)
    operator.controller.races.saw_pod(pod)
    while left := turns(store):
        finish(store, race, left[0])
        operator.passes(race)
    operator.passes(race)
    assert len(store.suggestions(OF)) == 4
    assert set(objects.deleted) == {name}
    assert objects.made_jobs == [job], "its pod still runs"
    operator.controller.races.saw_pod(pod, gone=True)
    operator.controller.races.saw_job(job, gone=True)
    operator.passes(race)
    assert len(objects.made_jobs) == 2
    assert status(operator, race)["trials"].get("disrupted", 0) == 0


def waiting_pod(job: dict[str, Any], turn: int) -> dict[str, Any]:
    owner = {"kind": "Job", "name": job["metadata"]["name"], "uid": job_facts(job).uid, "controller": True,
             "apiVersion": "batch/v1"}  # fmt: skip
    return {
        "metadata": {
            "name": f"{job['metadata']['name']}-{turn}-x",
            "namespace": "default",
            "uid": f"pod-{turn}",
            "creationTimestamp": "2026-01-01T00:00:01Z",
            "labels": {"batch.kubernetes.io/job-completion-index": str(turn)},
            "ownerReferences": [owner],
        },
        "status": {
            "phase": "Running",
            "containerStatuses": [{"state": {"running": {"startedAt": "2026-01-01T00:00:02Z"}}}],
        },
    }


def test_entries_with_images_of_their_own_have_lanes_of_their_own(
    operator: Operator, objects: Cleared, store: Store, make_race: type[Race]
) -> None:
    entries = [
        {"name": name, "model": {"name": "velodrome/mlp"}, **({"image": IMAGE} if name == "b" else {})}
        for name in ("a", "b", "plain")
    ]
    race = made(make_race, trials=2, spec={"entries": entries, "execution": {"parallelism": 3}})
    operator.sees(race)
    operator.passes(race)
    assert {environment(job)[keys.ENV_LANE]: job["spec"]["parallelism"] for job in objects.made_jobs} == {
        "0": 2,
        "1": 1,
    }
    assert store.turns(OF) == {"0": (0, 3), "1": (1,)}
    too_many = made(make_race, uid="narrow", spec={"entries": entries, **ONE_AT_A_TIME})
    operator.sees(too_many)
    operator.passes(too_many)
    reason, message = held(operator, too_many)["Failed"]
    assert reason == "InvalidSpec"
    assert "spec.execution.parallelism: 2 images or commands need as many search trials at once" in message


def test_reports_of_search_trials_are_attributed_by_their_turns_and_show_their_turns_key(
    operator: Operator, objects: Cleared, store: Store, redis_server: RedisServer, make_race: type[Race]
) -> None:
    """The operator is killed after it stored suggestions, and before it knew their turns: it asks Redis for them."""
    race = made(make_race, spec={"execution": {"parallelism": 2}})
    operator.sees(race)
    operator.passes(race)
    (job,) = objects.made_jobs
    secret = next(one for (kind, name), one in objects.created.items() if kind == "Secret" and "-keys-s-" in name)
    after = restarted(store, redis_server, objects, operator, race)
    known = after.controller.races.get(UID)
    assert known is not None
    known.planned()
    pods = [waiting_pod(job, turn) for turn in (0, 1)]
    for one in pods:
        after.controller.races.saw_pod(one)
    access = Access(redis_server.client(), "secret", "redis:6379")
    found = Collection(
        after.controller.races, store, Pods(*pods), lambda _: None, lambda: None, seal=access.remove,
        report_key=access.report_key,
    )  # fmt: skip
    own, others = secret["stringData"]["report-key-0-1"], secret["stringData"]["report-key-0-0"]
    for index, key in ((1, others), (0, own), (1, own)):  # turn 1 is trial 1
        result = ended(store, race.plan, UID, index, failed="LossNotFinite", attempt="pod-1").result
        store.append(OF, ResultReport(result=result, proof=key))
    round_of(found)
    assert store.trials(OF).keys() == {1}
    assert {reason: count for reason, count in found.rejected.items() if count} == {
        "UnprovenReport": 1, "UnknownAttempt": 1,
    }  # fmt: skip
    assert store.trials(UID) == {}


ASKED = SearchAsk(5, {"0": LaneAsk(("a", "b"), 2)})


def test_the_process_beside_the_operator_suggests_as_the_operator_would(
    store: Store, redis_server: RedisServer, make_race: type[Race]
) -> None:
    race = made(make_race)
    registered(store, race.plan, UID)
    ranker = Ranker(redis_server.url)

    async def work() -> list[SearchLook]:
        looks = []
        try:
            for _ in range(2):
                looks.append(await ranker.ask("search", UID, ASKED))
                finish(store, race, looks[-1].turns["0"][-1])
            ranker.end()  # killed: the next one reads what there is
            looks.append(await ranker.ask("search", UID, ASKED))
        finally:
            ranker.end()
        return looks

    with ThreadPoolExecutor(1) as thread:
        first, second, third = thread.submit(asyncio.run, work()).result()
    assert (first.turns, second.turns, third.turns) == ({"0": (0, 1)}, {"0": (0, 1, 3)}, {"0": (0, 1, 3, 4)})
    assert third.finished == {1: True, 3: True}
    assert (first.made, third.made) == (2, 1)
    assert min(first.seconds, third.seconds) > 0
    assert first.searched is None


def test_the_user_of_a_race_reads_and_writes_its_own_search_alone(redis_server: RedisServer) -> None:
    client = redis_server.client()
    if needs_redis_7(client):
        return
    access = Access(client, "secret", "redis:6379")
    access.grant(UID)
    mine = redis.Redis(
        unix_socket_path=f"{redis_server.folder}/redis.sock", username=user_name(UID), password=password("secret", UID)
    )
    client.hset(keys.instructions(OF), "turn:0:0", "5")
    assert mine.hget(keys.instructions(OF), "turn:0:0") == b"5"
    mine.rpush(keys.inbox(OF), "report")
    refused: list[Callable[[], object]] = [
        lambda: mine.hget(keys.instructions(keys.search_uid("other")), "turn:0:0"),
        lambda: mine.rpush(keys.inbox(keys.search_uid("other")), "report"),
        lambda: mine.hset(keys.instructions(OF), "turn:0:0", "6"),
        lambda: mine.hget(keys.job(OF, "suggestions"), "0"),
        lambda: mine.hget(keys.job(OF, "turns"), "0"),
    ]
    for deed in refused:
        with pytest.raises(redis.exceptions.NoPermissionError):
            deed()
    mine.close()
    assert access.holders() == {UID}, "its search's keys are the race's"
    access.remove(UID)
    assert client.keys(f"{keys.PREFIX}:*") == []

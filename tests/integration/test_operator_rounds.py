"""A race until decided on a cluster, with a real Redis; the API server keeps objects, and the test is its pods."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.test_operator_judgement import Operator
from tests.integration.test_operator_takeover import ACCURACY, IMAGE, Kept, environment, status
from velodrome import keys
from velodrome.board.reading import read_job
from velodrome.board.rounds import read_rounds
from velodrome.cli.cluster.report import attempts
from velodrome.metrics.catalogue import MetricKey
from velodrome.results.rounds import asked
from velodrome.stats import mean_interval
from velodrome.store import Store
from velodrome_operator.cluster import Unavailable

if TYPE_CHECKING:
    from tests.integration.conftest import Race, RedisServer

# Two entries that are close, and one that is far behind and beaten at the first look.
MEANS = {"cnn": 0.97, "mlp": 0.80, "gru": 0.964, "lstm": 0.967}


@pytest.fixture
def objects() -> Kept:
    return Kept()


@pytest.fixture
def operator(store: Store, redis_server: RedisServer, objects: Kept) -> Operator:
    return Operator(store, redis_server.client(), objects)


def made(
    make_race: type[Race],
    uid: str = "until",
    source: str | None = None,
    names: tuple[str, ...] = ("cnn", "mlp", "gru"),
    **spec: Any,
) -> Race:
    until = {"decided": ["accuracy"], "maxRepeats": 16}
    trials = {"repeats": 4, "until": until, "maxFailed": 6, **({"from": source} if source else {})}
    return make_race(
        uid=uid,
        name=f"race-{uid}",
        entries=names,
        created=len(uid),
        spec={"objectives": ACCURACY, "evaluation": {"metrics": ["accuracy"]}, "trials": trials} | spec,
    )


def accuracy(race: Race, index: int) -> float:
    """The same value for the same trial, whoever runs it and when."""
    trial = race.plan.trial(index)
    noise = random.Random(f"{trial.entry} {trial.repeat}").gauss(0, 0.004)  # noqa: S311 - a figure, not a secret
    return MEANS[trial.entry] + noise


def finish(store: Store, race: Race, indexes: Iterable[int], failed: Iterable[int] = ()) -> None:
    for index in indexes:
        result = {"failed": "LossNotFinite"} if index in failed else {"values": {"accuracy": accuracy(race, index)}}
        store.accept(race.uid, 0, [race.record(index, **result)])


def unfinished(operator: Operator, store: Store, race: Race) -> list[int]:
    """The trials of the Jobs that the operator knows, without those that have a result."""
    known = operator.controller.races.get(race.uid)
    assert known is not None
    return sorted({index for trials in known.indexes.values() for index in trials} - store.trials(race.uid).keys())


def ending(operator: Operator, race: Race) -> tuple[str, str] | None:
    """How the race ended: reason and message of its condition Complete."""
    conditions = status(operator, race).get("conditions", ())
    held = [one for one in conditions if one["type"] == "Complete" and one["status"] == "True"]
    return (held[0]["reason"], held[0]["message"]) if held else None


def whole(operator: Operator, store: Store, race: Race) -> tuple[str, str]:
    """Runs the race to its end, with one operator that nothing happens to."""
    operator.sees(race)
    operator.passes(race)
    while left := unfinished(operator, store, race):
        finish(store, race, left)
        operator.passes(race)
    found = ending(operator, race)
    assert found is not None
    return found


def restarted(store: Store, server: RedisServer, objects: Kept, before: Operator, race: Race, **lost: None) -> Operator:
    """An operator that has just started: it sees the object and its Jobs as they are. `lost` parts of the status are
    not there any more.
    """
    known = before.controller.races.get(race.uid)
    assert known is not None
    after = Operator(store, server.client(), objects)
    raw = known.parent.raw
    kept = {name: one for name, one in raw.get("status", {}).items() if name not in lost}
    after.controller.races.saw_parent({**raw, "status": kept})
    for job in objects.made_jobs:
        after.controller.races.saw_job(job)
    return after


def test_a_round_is_a_further_job_of_the_entries_that_are_undecided(
    operator: Operator, objects: Kept, store: Store, make_race: type[Race]
) -> None:
    race = made(make_race)
    operator.sees(race)
    operator.passes(race)
    (first,) = objects.made_jobs
    assert (first["spec"]["completions"], environment(first)[keys.ENV_REPEATS]) == (12, "0-3")
    assert unfinished(operator, store, race) == list(range(12))

    finish(store, race, range(12))
    objects.order.clear()
    operator.passes(race)
    _, second = objects.made_jobs
    assert second["metadata"]["name"] == f"{first['metadata']['name']}-r2"
    assert environment(second)[keys.ENV_ENTRIES] == "0,2", "mlp is beaten"
    assert status(operator, race)["rounds"] == [{"round": 2, "entries": "0,2", "repeats": "4-5"}]
    assert objects.order.index("status") < objects.order.index("Job"), (
        "which trial a pod runs is kept before it is made"
    )
    assert len(objects.order) == 6, "a round takes as many writes whatever the number of its trials"

    same = {"name", "namespace", "labels", "ownerReferences"}
    assert first["metadata"].keys() & same == second["metadata"].keys() & same
    templates = [job["spec"]["template"]["spec"] for job in (first, second)]
    assert {name for name in templates[0] if templates[0][name] != templates[1][name]} == {"containers", "volumes"}
    volumes = [{volume["name"]: volume for volume in template["volumes"]} for template in templates]
    assert {name for name in volumes[0] if volumes[0][name] != volumes[1][name]} == {keys.VOLUME_REPORT_KEYS}
    secret = objects.created["Secret", volumes[1][keys.VOLUME_REPORT_KEYS]["secret"]["secretName"]]
    assert len(secret["stringData"]) == 4

    known = operator.controller.races.get(race.uid)
    assert known is not None
    for job in objects.made_jobs:
        pods = [
            {
                "metadata": {
                    "name": f"p-{completion}",
                    "creationTimestamp": "",
                    "labels": {"batch.kubernetes.io/job-completion-index": str(completion)},
                },
                "spec": job["spec"]["template"]["spec"],
            }
            for completion in range(job["spec"]["completions"])
        ]
        shown = tuple(attempt.trial.index for attempt in attempts(race.plan, pods))
        assert shown == known.indexes[job["metadata"]["name"]], "`velodrome logs` finds each trial's pod"


def test_the_status_counts_what_is_asked_for_and_ends_with_what_was_decided(
    operator: Operator, objects: Kept, store: Store, make_race: type[Race]
) -> None:
    race = made(make_race)
    operator.sees(race)
    operator.passes(race)
    finish(store, race, range(12))
    operator.passes(race)
    finish(store, race, [12])
    operator.passes(race)
    said = status(operator, race)
    assert said["trials"]["done"] == "13/16"
    assert said["message"].startswith("round 2, 2 entries undecided (cnn, gru), 13 of 16 trials finished")
    reason, message = whole(operator, store, race)
    said = status(operator, race)
    assert reason == "Decided"
    assert message.startswith(f"Decided after {said['trials']['total']} trials: ")
    assert said["trials"]["succeeded"] == said["trials"]["total"] == len(store.trials(race.uid)) < 48
    notes = {entry["name"]: entry["note"] for entry in said["entries"]}
    assert notes["mlp"] == "stopped: is beaten by cnn and gru at 4 seeds"
    rounds = [name for name, reason in objects.events if reason == "RoundBegun"]
    assert len(rounds) == len(said["rounds"])


def test_entries_that_stopped_early_stay_ranked_by_the_seeds_that_they_had(
    operator: Operator, store: Store, make_race: type[Race]
) -> None:
    race = made(make_race)
    whole(operator, store, race)
    (reading,) = read_job(store, race.uid, [MetricKey.of("accuracy")])
    assert reading.ranking.unranked == ()
    samples = {row.entry: len(row.samples) for row in reading.ranking.ranked}
    assert samples["mlp"] == 4 < samples["cnn"]
    assert {name: state.planned for name, state in store.entries(race.uid).items()} == samples
    assert {row.entry: row.planned for row in store.ranking_rows("digits", "accuracy", _cohort(store))} == samples
    rows = {row.entry: row for row in reading.ranking.ranked}
    assert rows["mlp"].note == "stopped: is beaten by cnn and gru at 4 seeds"
    plain = mean_interval(list(rows["cnn"].samples.values()))
    low, narrower = rows["cnn"].interval.low or 0.0, plain.low or 0.0
    assert 0 < low < narrower, "an interval holds for all looks together, so it is wider"
    job = store.job(race.uid)
    assert job is not None
    assert (job.asked, job.is_over(sum(samples.values()))) == (sum(samples.values()), True)


def _cohort(store: Store) -> str:
    return store.cohorts("digits", "accuracy")[0].cohort_id


@pytest.mark.parametrize("lost", [{}, {"rounds": None}, {"rounds": None, "conditions": None, "trials": None}])
def test_an_operator_that_is_killed_after_any_step_ends_the_race_the_same_way(
    operator: Operator,
    objects: Kept,
    store: Store,
    redis_server: RedisServer,
    make_race: type[Race],
    lost: dict[str, None],
) -> None:
    undisturbed = whole(operator, store, made(make_race, "whole"))
    race, kept = made(make_race, "killed"), Kept()
    now = Operator(store, redis_server.client(), kept)
    now.sees(race)
    while True:
        now.passes(race)
        if ending(now, race):
            break
        for index in unfinished(now, store, race):
            finish(store, race, [index])
            now = restarted(store, redis_server, kept, now, race, **lost)
            now.passes(race)
    assert ending(now, race) == undisturbed
    assert [job["metadata"]["name"][-2:] for job in kept.made_jobs] == [
        job["metadata"]["name"][-2:] for job in objects.made_jobs
    ]
    one, other = (read_rounds(store, made(make_race, uid).plan, uid) for uid in ("whole", "killed"))
    assert one == other
    kept_job = store.job("killed")
    assert kept_job is not None
    assert kept_job.rounds == other


@pytest.mark.parametrize("kind", ["status", "Job", "Secret", "Event", "ConfigMap"])
def test_whatever_can_not_be_written_is_written_later(
    operator: Operator, objects: Kept, store: Store, redis_server: RedisServer, make_race: type[Race], kind: str
) -> None:
    undisturbed = whole(operator, store, made(make_race, "whole"))
    race, kept = made(make_race, "failing"), Kept()
    now = Operator(store, redis_server.client(), kept)
    now.sees(race)
    now.passes(race)
    while left := unfinished(now, store, race):
        finish(store, race, left)
        kept.fail[kind] = Unavailable("it is away")
        now.passes(race)
        if kind == "status":
            now = restarted(store, redis_server, kept, now, race)
        now.passes(race)
    assert ending(now, race) == undisturbed


def test_a_late_success_changes_no_trial_of_a_job_that_was_made(
    operator: Operator, store: Store, redis_server: RedisServer, objects: Kept, make_race: type[Race]
) -> None:
    race = made(make_race, names=("cnn", "mlp", "gru", "lstm"))
    operator.sees(race)
    operator.passes(race)
    finish(store, race, range(16), failed=[15])
    operator.passes(race)
    assert status(operator, race)["rounds"] == [{"round": 2, "entries": "0,2", "repeats": "4-5"}]
    finish(store, race, [15])
    assert store.trials(race.uid)[15].outcome == "Succeeded", "the results say now that lstm goes on too"

    after = restarted(store, redis_server, objects, operator, race)
    after.passes(race)
    assert unfinished(after, store, race) == [16, 18, 20, 22], "the second round's Job is what it was made for"
    finish(store, race, [16, 18, 20, 22])
    after.passes(race)
    assert unfinished(after, store, race) == [19, 23], "and lstm follows"
    while left := unfinished(after, store, race):
        finish(store, race, left)
        after.passes(race)
    found = read_rounds(store, race.plan, race.uid)
    assert found is not None
    assert found.finished
    assert store.trials(race.uid).keys() == set(asked(race.plan, found))


def test_an_entry_that_failed_gets_no_more_seeds_and_holds_nobody_up(
    operator: Operator, store: Store, make_race: type[Race]
) -> None:
    race = made(make_race)
    operator.sees(race)
    operator.passes(race)
    finish(store, race, range(12), failed=[9])
    reason, message = whole(operator, store, race)
    assert "1 failed" in message
    assert reason == "Decided", "gru leads what is left"
    assert store.entries(race.uid)["cnn"].planned == 4


def test_jobs_of_several_images_are_made_only_for_entries_that_go_on(
    operator: Operator, objects: Kept, store: Store, make_race: type[Race]
) -> None:
    entries = [
        {"name": "cnn", "model": {"name": "velodrome/mlp"}},
        {"name": "mlp", "model": {"name": "velodrome/mlp"}, "image": IMAGE},
        {"name": "gru", "model": {"name": "velodrome/gru"}},
    ]
    race = made(make_race, entries=entries)
    operator.sees(race)
    operator.passes(race)
    finish(store, race, range(12))
    operator.passes(race)
    assert [job["spec"]["completions"] for job in objects.made_jobs] == [8, 4, 4]
    assert environment(objects.made_jobs[2])[keys.ENV_ENTRIES] == "0,2"


def test_each_round_takes_over_what_another_job_measured(
    operator: Operator, objects: Kept, store: Store, make_race: type[Race]
) -> None:
    giver = made(make_race, "giver", trials={"repeats": 5})
    store.register(giver.info)
    finish(store, giver, range(15))
    race = made(make_race, "taker", "giver")
    operator.sees(race)
    operator.passes(race)
    taken = status(operator, race)["takenOver"]
    assert taken["trials"] == "0-12,14", "the first round, and of the next the repeat that is there"
    (job,) = objects.made_jobs
    assert job["metadata"]["name"].endswith("-r2")
    assert unfinished(operator, store, race) == [15, 17]
    reason, _ = whole(operator, store, race)
    assert reason == "Decided"
    (reading,) = read_job(store, race.uid, [MetricKey.of("accuracy")])
    notes = {row.entry: row.note for row in reading.ranking.ranked}
    assert "added when the others were known" in notes["cnn"]
    assert "added" not in notes["mlp"]

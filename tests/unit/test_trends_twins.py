"""What counts as measured twice: the same entry, conditions and code, and measured anew."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from velodrome.metrics.catalogue import MetricKey
from velodrome.results.marks import Acknowledgement
from velodrome.results.records import JobInfo
from velodrome.stats.noise import Scale
from velodrome.store.types import EntryFacts, JobSamples
from velodrome.trends.history import BoardHistory
from velodrome.trends.twins import Remeasured, TwinPoints, measured, scale_of

AT = datetime(2026, 1, 1, tzinfo=UTC)
KEY = "latency_p50_seconds{batch_size=1}"


@dataclass
class Job:
    """A job whose entries have these values. `ids` says which entry a name is; by default the name itself."""

    values: Mapping[str, tuple[float, ...]]
    ids: Mapping[str, str] = field(default_factory=dict)
    codes: Mapping[str, str] = field(default_factory=dict)
    mixed: Collection[str] = ()
    cohort: str = "quiet"
    repeats: int = 3
    first_seed: int = 0


def history(*jobs: Job, accepted: tuple[Acknowledgement, ...] = ()) -> BoardHistory:
    infos, samples, facts = [], [], []
    for place, job in enumerate(jobs):
        names = tuple(job.values)
        infos.append(
            JobInfo(
                uid=f"job-{place}",
                name=f"night-{place}",
                namespace="default",
                board="digits",
                repeats=job.repeats,
                created_at=AT + timedelta(days=place),
                trials=job.repeats * len(names),
                entries=names,
                document={},
            )
        )
        samples.append(
            {
                (name, KEY): (JobSamples(name, KEY, job.cohort, dict(enumerate(values, start=job.first_seed))),)
                for name, values in job.values.items()
            }
        )
        ids = {name: job.ids.get(name, name) for name in names}
        facts.append(EntryFacts(ids, job.codes, frozenset(job.mixed)))
    return BoardHistory(tuple(infos), samples, facts, (), accepted)


def found(
    *jobs: Job,
    accepted: tuple[Acknowledgement, ...] = (),
    taken: Mapping[str, Collection[tuple[str, int]]] | None = None,
    scale: Scale = "relative",
) -> Remeasured:
    return measured(history(*jobs, accepted=accepted), KEY, "quiet", scale, lambda uid: (taken or {}).get(uid, ()))


def where(pairs: list[TwinPoints]) -> list[tuple[str, str, str, str]]:
    return [(pair.first.job_uid, pair.first.entry, pair.second.job_uid, pair.second.entry) for pair in pairs]


A, B, C = (1.0, 2.0, 3.0), (1.1, 2.1, 3.1), (1.2, 2.2, 3.2)


def test_an_entry_is_compared_with_itself_in_the_next_job_that_has_it() -> None:
    seen = found(Job({"cnn": A, "mlp": A}), Job({"mlp": B}), Job({"cnn": C, "mlp": C}))
    assert where(seen.job_to_job) == [
        ("job-0", "mlp", "job-1", "mlp"),
        ("job-0", "cnn", "job-2", "cnn"),
        ("job-1", "mlp", "job-2", "mlp"),
    ]
    assert seen.in_job == []
    assert len(seen.samples) == 5
    twins = seen.job_to_job[1].twins
    assert (twins.first.values, twins.second.values) == (dict(enumerate(A)), dict(enumerate(C)))
    assert twins.occasion != seen.job_to_job[0].twins.occasion


def test_two_names_of_one_entry_are_compared_and_a_third_one_with_the_second() -> None:
    same = dict.fromkeys(("left", "middle", "right"), "one")
    seen = found(Job({"right": A, "left": B, "middle": C, "other": A}, ids=same))
    assert where(seen.in_job) == [("job-0", "left", "job-0", "middle"), ("job-0", "middle", "job-0", "right")]
    assert len({pair.twins.occasion for pair in seen.in_job}) == 1


def test_names_do_not_decide_what_an_entry_is() -> None:
    renamed = found(Job({"old": A}, ids={"old": "one"}), Job({"new": B}, ids={"new": "one"}))
    assert where(renamed.job_to_job) == [("job-0", "old", "job-1", "new")]
    changed = found(Job({"cnn": A}, ids={"cnn": "one"}), Job({"cnn": B}, ids={"cnn": "two"}))
    assert changed.job_to_job == []


def test_a_name_that_stays_is_compared_with_itself() -> None:
    same = {"a": "one", "b": "one"}
    seen = found(Job({"b": A}, ids=same), Job({"a": B, "b": C}, ids=same))
    assert where(seen.job_to_job) == [("job-0", "b", "job-1", "b")]


@pytest.mark.parametrize(
    "second",
    [
        Job({"cnn": B}, cohort="loud"),
        Job({"cnn": B}, codes={"cnn": "sha256:new"}),
        Job({"cnn": B}, mixed={"cnn"}),
        Job({"cnn": B[:2]}),
        Job({"cnn": B[:1]}, repeats=1),
        Job({"cnn": (1.0, 2.0, 1e200)}),
    ],
    ids=["another cohort", "new code", "mixed code", "incomplete", "one seed", "a value without a mean"],
)
def test_what_differs_in_more_than_chance_is_no_repetition(second: Job) -> None:
    assert found(Job({"cnn": A}), second).job_to_job == []
    assert len(found(Job({"cnn": A}), Job({"cnn": B})).job_to_job) == 1


def test_values_that_another_job_measured_are_left_out_and_equal_ones_are_not() -> None:
    taken = {"job-2": {("cnn", 0), ("cnn", 1), ("cnn", 2)}}
    seen = found(Job({"cnn": A}), Job({"cnn": B}), Job({"cnn": A}), Job({"cnn": C}), taken=taken)
    assert where(seen.job_to_job) == [("job-0", "cnn", "job-1", "cnn"), ("job-1", "cnn", "job-3", "cnn")]
    assert seen.copied == 1
    repeated = found(Job({"cnn": A}), Job({"cnn": A}))
    assert len(repeated.job_to_job) == 1
    assert repeated.copied == 0


def test_a_job_without_a_value_of_an_older_one_is_not_asked_what_it_took_over() -> None:
    def asked(uid: str) -> Collection[tuple[str, int]]:
        raise AssertionError(uid)

    seen = measured(history(Job({"cnn": A}), Job({"cnn": B})), KEY, "quiet", "relative", asked)
    assert len(seen.job_to_job) == 1


def test_a_change_that_a_person_accepted_is_no_chance() -> None:
    mark = Acknowledgement(board="digits", entry="cnn", metric_key=KEY, job_uid="job-1", at=AT)
    other = mark.model_copy(update={"metric_key": "accuracy"})
    jobs = Job({"cnn": A}), Job({"cnn": B}), Job({"cnn": C})
    seen = found(*jobs, accepted=(mark,))
    assert where(seen.job_to_job) == [("job-1", "cnn", "job-2", "cnn")]
    assert seen.accepted == 1
    assert len(found(*jobs, accepted=(other,)).job_to_job) == 2


def test_to_0_no_change_is_relative_and_points_need_no_such_thing() -> None:
    jobs = Job({"cnn": (0.0, 1.0, 2.0)}), Job({"cnn": B})
    assert found(*jobs).job_to_job == []
    assert found(*jobs).not_positive == 1
    assert len(found(*jobs, scale="points").job_to_job) == 1


@pytest.mark.parametrize(
    ("key", "scale"),
    [
        ("accuracy", "points"),
        ("mcc", "points"),
        ("r2", "points"),
        (KEY, "relative"),
        ("peak_memory_bytes", "relative"),
        ("energy_joules", "relative"),
        ("loss", "relative"),
        ("own_temperature{better=lower,high=50,kind=quality,low=-50,scale=interval,unit=celsius}", "points"),
        ("own_word_error_rate{better=lower,high=100,kind=quality,low=0,unit=percent}", "points"),
        ("own_word_error_rate{better=lower,high=80,kind=quality,low=0,unit=percent}", "points"),
        ("own_agreement{better=higher,high=1,kind=quality,low=0,unit=correlation}", "points"),
        ("own_overhead{better=lower,high=1000,kind=quality,low=0,unit=percent}", "relative"),
    ],
)
def test_shares_are_in_points_and_sizes_are_relative(key: str, scale: Scale) -> None:
    assert scale_of(MetricKey.parse(key).metric) == scale

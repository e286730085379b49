"""A race until decided: which trials it asks for, as its accepted results say. `rounds_of` decides, and is pure.

Nothing else is remembered. Whoever asks gets the same answer from the same results: an executor that was killed and
started again, a race on one machine and the same race on a cluster.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from velodrome.metrics.catalogue import MetricKey, measurable
from velodrome.plan import Plan, objective_keys
from velodrome.results.records import Rounds, StoppedEntry
from velodrome.spec import Trials

if TYPE_CHECKING:
    from velodrome.results.records import JobInfo
    from velodrome.stats.looks import Until
    from velodrome.stats.stopping import Stopping
    from velodrome.store import JobSamples, Reader
    from velodrome.store.types import Row


def read_rounds(reader: Reader, plan: Plan, uid: str) -> Rounds | None:
    """How far the race of that uid is. None if it asks for all its trials at once. Raises as the store does."""
    if plan.job.spec.trials.until is None:
        return None
    # In this order: each trial with an outcome has its values, and later values are left out.
    outcomes = {index: trial.outcome == "Succeeded" for index, trial in reader.trials(uid).items()}
    return rounds_of(plan, outcomes, reader.measured(uid))


def rounds_of(plan: Plan, succeeded: Mapping[int, bool], samples: Iterable[JobSamples]) -> Rounds:
    """How far a race until decided is. `succeeded` says of each trial with a result, by index, whether it succeeded.

    A look sees the repeats below its size and nothing else, so later results change no earlier look. An entry of which
    a trial failed, or has no value that can be compared, gets no more seeds once it lacks that value.
    """
    from velodrome.stats.samples import Sample
    from velodrome.stats.sequential import schedule

    until, entries = until_of(plan.job.spec.trials), tuple(plan.configs)
    assert until is not None
    values = _comparable(plan, succeeded, samples)
    lacking = {
        entries[index % len(entries)]
        for index in succeeded
        if any(index // len(entries) not in of[entries[index % len(entries)]] for of in values.values())
    }
    objectives = {key: [Sample(entry, of[entry]) for entry in entries if of[entry]] for key, of in values.items()}
    found = schedule(objectives, until, lacking, entries)
    return Rounds(
        looks=found.looks,
        repeats=dict(found.repeats),
        stopped={
            one.entry: StoppedEntry(look=one.look, repeats=one.repeats, why=one.why, text=one.text)
            for one in found.stopped
        },
        finished=found.finished,
    )


def until_of(trials: Trials) -> Until | None:
    """The rule of a race until decided; None for any other race."""
    from velodrome.stats.looks import Until

    if trials.until is None:
        return None
    return Until(trials.until.decided, trials.repeats, trials.most, trials.until.alpha)


def stopping_of(jobs: Mapping[str, JobInfo | None], rows: Iterable[Row]) -> dict[str, Stopping]:
    """By entry, how the rows of races until decided came to their seeds. `jobs` has the job of each row, by uid."""
    from velodrome.stats.stopping import Stopping

    found = {}
    for row in rows:
        job = jobs.get(row.job_uid)
        trials = None if job is None or job.rounds is None else _trials(job)
        until = None if trials is None else until_of(trials)
        if job is not None and trials is not None and until is not None:
            found[row.entry] = Stopping(job.uid, until, trials.base_seed, job.planned(row.entry))
    return found


def _trials(job: JobInfo) -> Trials | None:
    """How many trials a stored job asks for, as its document says. None if this Velodrome can't read that."""
    try:
        return Trials.model_validate(job.document["spec"]["trials"])
    except (LookupError, TypeError, ValueError):
        return None


def _comparable(
    plan: Plan, succeeded: Mapping[int, bool], samples: Iterable[JobSamples]
) -> dict[MetricKey, dict[str, dict[int, float]]]:
    """The values of what is to be decided, by entry and repeat: those under the conditions of the first trial with one.

    Trials that differ in these can't be compared. The first trial is there at the first look, so later trials change
    nothing of this choice.
    """
    until, seed = plan.job.spec.trials.until, plan.job.spec.trials.base_seed
    assert until is not None
    keys, places = objective_keys(plan.job), {entry: place for place, entry in enumerate(plan.configs)}
    known = [one for one in samples if one.entry in places and one.values]
    found: dict[MetricKey, dict[str, dict[int, float]]] = {}
    for name in until.decided:
        own = [one for one in known if one.metric_key == str(keys[name])]
        first = min(own, key=lambda one: (min(one.values), places[one.entry]), default=None)
        found[keys[name]] = {entry: {} for entry in places}
        for one in own:
            if first is not None and one.cohort_id == first.cohort_id:
                found[keys[name]][one.entry] = {
                    at - seed: value
                    for at, value in one.values.items()
                    if measurable(value) and succeeded.get((at - seed) * len(places) + places[one.entry])
                }
    return found

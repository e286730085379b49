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
from velodrome.results.registration import first_round
from velodrome.results.rounds import asked

if TYPE_CHECKING:
    from velodrome.store import JobSamples, Reader

# By metric key, then by entry, then by repeat.
_Values = Mapping[MetricKey, Mapping[str, Mapping[int, float]]]


def read_rounds(reader: Reader, plan: Plan, uid: str) -> Rounds | None:
    """How far the race of that uid is. None if it asks for all its trials at once. Raises as the store does."""
    if plan.job.spec.trials.until is None:
        return None
    # In this order: each trial with an outcome has its values, and later values are left out.
    outcomes = {index: trial.outcome == "Succeeded" for index, trial in reader.trials(uid).items()}
    return rounds_of(plan, outcomes, reader.samples([uid])[0])


def rounds_of(plan: Plan, succeeded: Mapping[int, bool], samples: Iterable[JobSamples]) -> Rounds:
    """How far a race until decided is. `succeeded` says of each trial with a result, by index, whether it succeeded.

    A look comes when all trials that were asked for have a result. It sees the results of these trials alone, so later
    results change no earlier look. An entry of which a trial failed, or has no value to compare, gets no more seeds.
    """
    found = first_round(plan)
    assert found is not None
    values = _comparable(plan, samples)
    while not found.finished and all(index in succeeded for index in asked(plan, found)):
        found = _look(plan, found, succeeded, values)
    return found


def _look(plan: Plan, before: Rounds, succeeded: Mapping[int, bool], values: _Values) -> Rounds:
    """The rounds after one more look at the trials that were asked for."""
    from velodrome.stats.samples import Sample
    from velodrome.stats.sequential import Until, schedule

    trials, entries = plan.job.spec.trials, tuple(plan.configs)
    assert trials.until is not None
    seen = {
        key: {entry: {r: v for r, v in by.get(entry, {}).items() if r < before.repeats[entry]} for entry in entries}
        for key, by in values.items()
    }
    out = {entries[index % len(entries)] for index in asked(plan, before) if not succeeded[index]}
    out |= {entry for by in seen.values() for entry, found in by.items() if len(found) < before.repeats[entry]}
    if len(out) > len(entries) - 2:
        return before.model_copy(update={"looks": before.looks + 1, "finished": True})
    objectives = {key: [Sample(entry, by[entry]) for entry in entries if entry not in out] for key, by in seen.items()}
    until = Until(trials.until.decided, trials.repeats, trials.most, trials.until.alpha)
    found = schedule(objectives, until, out)
    repeats = {
        entry: max(had, min(found.repeats.get(entry, had), trials.most)) for entry, had in before.repeats.items()
    }
    repeats |= {entry: before.repeats[entry] for entry in out}
    return Rounds(
        looks=before.looks + 1,
        repeats=repeats,
        stopped={
            one.entry: StoppedEntry(look=one.look, repeats=one.repeats, why=one.why, text=one.text)
            for one in found.stopped
        },
        finished=found.finished or repeats == before.repeats,
    )


def _comparable(plan: Plan, samples: Iterable[JobSamples]) -> _Values:
    """The values of what is to be decided, under the conditions of the first trial that has one."""
    until, seed = plan.job.spec.trials.until, plan.job.spec.trials.base_seed
    assert until is not None
    keys, places = objective_keys(plan.job), {entry: place for place, entry in enumerate(plan.configs)}
    known = [one for one in samples if one.entry in places and one.values]
    found: dict[MetricKey, dict[str, dict[int, float]]] = {}
    for name in until.decided:
        own = [one for one in known if one.metric_key == str(keys[name])]
        first = min(own, key=lambda one: (min(one.values), places[one.entry]), default=None)
        found[keys[name]] = {
            one.entry: {at - seed: value for at, value in one.values.items() if measurable(value)}
            for one in own
            if first is not None and one.cohort_id == first.cohort_id
        }
    return found

"""How a job's own entries stand at each of its objectives, from the store: a thin edge around `velodrome.ranking`."""

from __future__ import annotations

from velodrome.plan import Plan, objective_key
from velodrome.results.cohorts import Cohort
from velodrome.store import JobSamples, Row, Store
from velodrome_operator.status import Standing


def standings(store: Store, plan: Plan, uid: str) -> list[Standing]:
    """One standing for each objective that has a value of this job, in the order of the spec.

    They are of the job's own values: on the board, a newer job's take their place. Where its trials saw different
    conditions, those of most values count.
    """
    from velodrome.ranking.places import rank_objective  # SciPy is 25 MiB that an operator of quiet races never needs

    job = store.job(uid)
    if job is None:
        return []
    (samples,), entries = store.samples([uid]), store.entries(uid)
    states = [(job, state) for state in entries.values()]
    found = []
    for objective in plan.job.spec.objectives:
        key = objective_key(objective)
        own = _largest([one for one in samples if one.metric_key == str(key)])
        if not own:
            continue
        rows = [
            Row(one.entry, entries[one.entry].entry_id or "", uid, job.name, job.repeats, one.values, job.created_at)
            for one in own
        ]  # fmt: skip
        cohort_id = own[0].cohort_id
        words = Cohort(cohort_id, store.conditions(cohort_id)).words
        found.append(Standing(objective.name, rank_objective(key, rows, states), words))
    return found


def _largest(samples: list[JobSamples]) -> list[JobSamples]:
    """Those of the cohort that has most values."""
    sizes: dict[str, int] = {}
    for one in samples:
        sizes[one.cohort_id] = sizes.get(one.cohort_id, 0) + len(one.values)
    chosen = max(sizes, key=lambda cohort_id: (sizes[cohort_id], cohort_id), default=None)
    return [one for one in samples if one.cohort_id == chosen]

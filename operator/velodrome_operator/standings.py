"""How a job's own entries stand at each of its objectives, from the store. A thin edge around `velodrome.ranking`."""

from __future__ import annotations

from velodrome.metrics import MetricKey
from velodrome.plan import Plan, objective_key
from velodrome.store import Store
from velodrome_operator.status import Standing


def standings(store: Store, plan: Plan, uid: str) -> list[Standing]:
    """One standing for each objective that has a value of this job, in the order of the spec."""
    from velodrome.ranking import rank_objective  # SciPy is 25 MiB that an operator of quiet races never needs

    job = store.job(uid)
    states = [(job, state) for state in store.entries(uid).values()] if job is not None else []
    found = []
    for objective in plan.job.spec.objectives:
        key: MetricKey = objective_key(objective)
        for cohort in store.cohorts(plan.job.board, str(key)):
            rows = [row for row in store.ranking_rows(plan.job.board, str(key), cohort.cohort_id) if row.job_uid == uid]
            if rows:
                found.append(Standing(objective.name, rank_objective(key, rows, states), cohort.words))
                break
    return found

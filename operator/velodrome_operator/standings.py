"""How a job's own entries rank at each objective. `velodrome.board` computes it, and the status shows it."""

from __future__ import annotations

from velodrome.plan import Plan, objective_key
from velodrome.store import Store
from velodrome_operator.status import ObjectiveStanding


def standings(store: Store, plan: Plan, uid: str) -> list[ObjectiveStanding]:
    """One standing for each objective that has a value of this job, in the order of the spec."""
    from velodrome.board.reading import read_job  # SciPy takes 25 MiB, which an operator of quiet races never needs

    names = {objective_key(objective): objective.name for objective in plan.job.spec.objectives}
    return [ObjectiveStanding(names[one.key], one.ranking, one.words) for one in read_job(store, uid, list(names))]

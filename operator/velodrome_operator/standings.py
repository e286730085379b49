"""How a job's own entries rank at each objective. `velodrome.board` computes it, and the status shows it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from velodrome.metrics.catalogue import MetricKey
from velodrome.plan import Plan, objective_keys
from velodrome.store import Store
from velodrome_operator.ranker import Ranker, answer
from velodrome_operator.status import ObjectiveStanding

if TYPE_CHECKING:
    from velodrome.board.reading import JobReading


def standings(store: Store, plan: Plan, uid: str) -> list[ObjectiveStanding]:
    """One standing for each objective that has a value of this job, in the order of the spec. Raises as the store."""
    names = _names(plan)
    return _standings(names, answer(store, "standings", uid, [str(key) for key in names]))


async def standings_beside(ranker: Ranker, plan: Plan, uid: str) -> list[ObjectiveStanding]:
    """The same, ranked in a process of its own. Raises as the store and the ranker."""
    names = _names(plan)
    return _standings(names, await ranker.ask("standings", uid, [str(key) for key in names]))


def _names(plan: Plan) -> dict[MetricKey, str]:
    return {key: name for name, key in objective_keys(plan.job).items()}


def _standings(names: dict[MetricKey, str], found: Iterable[JobReading]) -> list[ObjectiveStanding]:
    return [ObjectiveStanding(names[one.key], one.ranking, one.words) for one in found]

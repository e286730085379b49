"""Reads what a search has measured so far from a store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from velodrome.metrics.catalogue import MetricKey
from velodrome.search.outcomes import Outcome, outcome_of
from velodrome.search.trials import SearchPlan

if TYPE_CHECKING:
    from velodrome.store import Reader

_PAGE = 200


def outcomes_in(reader: Reader, plan: SearchPlan, uid: str, keys: Sequence[MetricKey]) -> dict[int, Outcome]:
    """What became of the search trials that ended, by index. Raises as the store does."""
    found: dict[int, Outcome] = {}
    most = max(plan.suggestions, default=-1) + 1
    for start in range(0, most, _PAGE):
        for record in reader.records(uid, start, _PAGE):
            if record.result.index in plan.suggestions:
                found[record.result.index] = outcome_of(keys, record.result, record.result.curves)
    return found

"""In what does the environment of a job differ from that of an earlier one? Reads conditions, and says what differs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from velodrome.results.conditions import differences, shown

if TYPE_CHECKING:
    from velodrome.store import Reader
    from velodrome.trends.history import BoardHistory


def environment(reader: Reader, history: BoardHistory, earlier: int) -> tuple[str, ...]:
    """Each fact in which the history's last job differs from the one at `earlier`, whatever metric depends on it.

    It also counts what is no condition of the objective that moved: the driver does not decide which accuracies are
    comparable, but may explain why all of them changed. Raises as the store does.
    """
    here, there = (_conditions(reader, history, place) for place in (len(history.jobs) - 1, earlier))
    apart = [f"{one.fact} {one.here}, before {one.there}" for one in differences(here, there)]
    nodes = [_node(reader, history.jobs[place].uid) for place in (len(history.jobs) - 1, earlier)]
    if nodes[0] != nodes[1]:
        apart.append(f"node {shown(nodes[0])}, before {shown(nodes[1])}")
    return tuple(apart)


def _conditions(reader: Reader, history: BoardHistory, place: int) -> Mapping[str, Any]:
    """What all cohorts of a job say of its conditions, together."""
    found: dict[str, Any] = {}
    for cohort_id in reader.job_cohorts(history.jobs[place].uid):
        found = {**reader.conditions(cohort_id), **found}
    return found


def _node(reader: Reader, uid: str) -> str | None:
    record = next(iter(reader.some_trials(uid, [0])), None)
    return None if record is None else record.observed.node

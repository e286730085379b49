"""What a race takes over of the job that `spec.trials.from` names, and how its status remembers that.

It is done before the first child is made, and written into the status before that too: which trial a pod runs follows
from what was taken over.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from velodrome.plan import Plan, write_spans
from velodrome.takeover import named_job, take_over
from velodrome_operator import shapes, texts

if TYPE_CHECKING:
    from velodrome.results.records import JobInfo
    from velodrome.store import Store

EVENT = "TakenOver"
_FIELD = "takenOver"


def is_due(status: Mapping[str, Any], planned: Plan, *, ended: bool, begun: bool) -> bool:
    """Whether the race is still to take over what it is told to; not once it has begun."""
    return planned.job.spec.trials.taken_from is not None and _FIELD not in status and not ended and not begun


def indexes(status: Mapping[str, Any], limit: int) -> frozenset[int]:
    """The trials that were taken over, by a status; of indexes below `limit`."""
    return shapes.indexes(shapes.at(status, _FIELD, "trials"), limit)


def take(store: Store, info: JobInfo, planned: Plan, now: datetime) -> dict[str, Any]:
    """Takes over what fits, and returns what the status is to say of it. Doing it again says the same of the trials.

    Raises as the store does.
    """
    store.register(info)
    giver = named_job(store, planned, info.uid)
    found = take_over(store, planned, info.uid, giver, {}, now)
    taken = sorted(index for index, trial in store.trials(info.uid).items() if trial.taken_over)
    said: dict[str, Any] = {
        "count": len(taken),
        "trials": write_spans(taken),
        "message": texts.summary(found.sentence or f"{len(taken)} trials were taken over"),
    }
    return said if giver is None else {"job": giver.name, "uid": giver.uid, **said}

"""What a race takes over from the job that `spec.trials.from` names, and from its run before, and how its status
remembers that. A run of a search that was raised takes over the trials that confirm winners which are the same still.

The takeover is done, and written into the status, before the first child is made: it decides which trial each pod runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from velodrome.board.takeover import named_job, take_over
from velodrome.keys import object_uid, run_uid
from velodrome.plan import Plan, write_spans
from velodrome_operator import shapes, texts

if TYPE_CHECKING:
    from velodrome.store import Store

EVENT = "TakenOver"
_FIELD = "takenOver"


def takes(planned: Plan, run: int) -> bool:
    """Whether this run of a race takes over trials."""
    return planned.job.spec.trials.taken_from is not None or run > 1


def is_due(status: Mapping[str, Any], planned: Plan, run: int, *, ended: bool, begun: bool) -> bool:
    """Whether the race still has to take over trials. Once it has begun, it takes over nothing."""
    return takes(planned, run) and _FIELD not in status and not ended and not begun


def indexes(status: Mapping[str, Any], limit: int) -> frozenset[int]:
    """The trials that were taken over, as a status says: those with indexes below `limit`."""
    return shapes.indexes(shapes.at(status, _FIELD, "trials"), limit)


def take(store: Store, uid: str, run: int, planned: Plan, now: datetime) -> dict[str, Any]:
    """Takes over what fits, and returns what the status is to say about it. To do it again returns the same trials.
    The run before comes first, then the job that is named.

    The job is registered.

    Raises the store's errors.
    """
    before = store.job(run_uid(object_uid(uid), run - 1)) if run > 1 else None
    named = named_job(store, planned, uid) if planned.job.spec.trials.taken_from is not None else None
    found, giver = take_over(store, planned, uid, before or named, {}, now), before or named
    if before is not None and named is not None:
        found, giver = take_over(store, planned, uid, named, {}, now), named
    taken = sorted(index for index, trial in store.trials(uid).items() if trial.taken_over)
    said: dict[str, Any] = {
        "count": len(taken),
        "trials": write_spans(taken),
        "message": texts.summary(found.sentence or f"{len(taken)} trials were taken over"),
    }
    return said if giver is None else {"job": giver.name, "uid": giver.uid, **said}

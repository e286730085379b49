"""A search that gets more trials: it goes on with the suggestions and the results that it has.

While it goes on, its job is stored anew with the larger number. Once its winners are stored, their trials may rank, and
stay. Then a further run carries the search on, and confirms the winners that it finds, as a newer job of that name.
"""

from __future__ import annotations

from datetime import datetime

from velodrome.keys import run_uid, search_uid
from velodrome.plan import Plan
from velodrome.results.records import JobInfo, TakenFrom, TrialRecord
from velodrome.search.trials import search_info, search_of
from velodrome.store import Reader, Store

# Records at once: each has its curves.
_PAGE = 20


def present_run(reader: Reader, uid: str, most: int, known: int = 1) -> int:
    """The number of the run of a BenchmarkJob whose search may have `most` trials now. A later one than the `known` one
    is in the store, or begins now because the search of the one before has ended with fewer. Raises as the store does.
    """
    number = known
    while reader.job(run_uid(uid, number + 1)) is not None:
        number += 1
    job = reader.job(run_uid(uid, number))
    ended = job is not None and job.searched is not None and job.most_searched < most
    return number + 1 if ended else number


def raise_trials(store: Store, plan: Plan, info: JobInfo) -> None:
    """Stores that the search of a registered job may have as many trials as its plan says now, if these are more."""
    store.raise_search(info)
    store.raise_search(search_info(info, plan))


def carry(store: Store, giver: JobInfo, plan: Plan, info: JobInfo, at: datetime) -> int:
    """Gives the search of a registered job what the search of an earlier one suggested and measured, and the points
    that it was to try early. Suggestions that it has no room for are left.

    Returns how many suggestions it got; 0 if it has begun. What was broken off goes on: results come first, and the
    first suggestion comes last. Raises as the store does.
    """
    of, own, before = search_uid(giver.uid), search_uid(info.uid), store.job(search_uid(giver.uid))
    most = search_of(plan.job).max_trials
    known = store.suggestions(of)
    kept = {index: one for index, one in known.items() if one.number < most}
    if before is None or not kept or store.suggestion(own, min(kept)) is not None:
        return 0
    store.register_search(search_info(info, plan, before.points))
    for start in range(0, max(kept) + 1, _PAGE):
        records = [one for one in store.records(of, start, _PAGE) if one.result.index in kept]
        store.accept(own, 0, [_carried(one, own, giver, at) for one in records])
    for index in sorted(kept, reverse=True):
        store.suggest(own, index, kept[index])
    return len(kept)


def _carried(record: TrialRecord, uid: str, job: JobInfo, at: datetime) -> TrialRecord:
    result = record.result.model_copy(update={"job_uid": uid})
    source = record.taken_from or TakenFrom(
        job_uid=job.uid, job_name=job.name, index=record.result.index, accepted_at=record.accepted_at
    )
    return record.model_copy(update={"result": result, "accepted_at": at, "taken_from": source})

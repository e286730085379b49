"""The earlier races of the same name: the own code that they ran, and results to take over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from velodrome.board.extension import carry
from velodrome.board.rounds import read_rounds
from velodrome.board.takeover import earlier_jobs, fitting_pages, named_job, plan_of, take_over
from velodrome.keys import search_uid
from velodrome.plan import LOCAL_PREFIX, Plan, lineage
from velodrome.results.records import JobInfo
from velodrome.results.registration import job_info
from velodrome.results.rounds import asked
from velodrome.spec import Trials
from velodrome.store import EntryFacts, Reader, Store
from velodrome.text import counted


def changed_code(reader: Reader, plan: Plan, uid: str, code: Mapping[str, str]) -> list[str]:
    """A sentence, if this race is not registered yet and is a new race only because its entries' own code changed."""
    if not code or reader.job(uid) is not None:
        return []
    before = next(_alike(reader, plan, uid), None)
    changed = [] if before is None else _changed(reader.entry_facts([before.uid])[0], code)
    if before is None or not changed:
        return []
    names = ", ".join(changed)
    another = "so this is another race, which measures it anew; what was measured before is kept"
    return [f"the code of {names} changed since race {before.uid}, {another}"]


def taken_over(store: Store, plan: Plan, base: Plan, uid: str, code: Mapping[str, str], at: datetime) -> list[str]:
    """Takes over results, and returns a sentence that says what was taken over.

    They come from the job that `trials.from` names, or else from the newest race that is like this one and has results
    of the same code, if that has another number of repeats, or fewer search trials. `base` is the plan as it was before
    a search, and `plan` has what it found.
    """
    if store.trials(uid).keys() >= set(asked(plan, read_rounds(store, plan, uid))):
        return []
    giver = _giver(store, base, uid, code)
    if giver is None and plan.job.spec.trials.taken_from is None:
        return []
    found = take_over(store, plan, uid, giver, _expected(plan, code), at)
    return [found.sentence] if found.sentence else []


def to_take_over(reader: Reader, plan: Plan, uid: str, code: Mapping[str, str], at: datetime) -> set[int]:
    """The trials that `taken_over` will take over."""
    giver = _giver(reader, plan, uid, code)
    if giver is None:
        return set()
    pages = fitting_pages(reader, plan, uid, giver, _expected(plan, code), at)
    return {record.result.index for records, _ in pages for record in records}


def carried_search(store: Store, plan: Plan, uid: str, code: Mapping[str, str], at: datetime) -> str:
    """Takes over the search of the newest earlier race that differs in nothing but the number of its search trials.

    Suggestions that the new search has no room for are left. Returns a sentence that says so; empty without such a
    race, or if the search has begun. The same call again changes nothing. Raises as the store does.
    """
    for job in _alike(store, plan, uid):
        known = store.suggestions(search_uid(job.uid))
        giver = store.job(search_uid(job.uid))
        if not known or giver is None or job.repeats != plan.job.spec.trials.repeats:
            continue
        if _changed(store.entry_facts([giver.uid])[0], code):
            continue
        kept = carry(store, job, plan, job_info(plan, uid, at), at)
        return f"{counted(kept, 'search trial')} of race {job.uid} are carried on" if kept else ""
    return ""


def _expected(plan: Plan, code: Mapping[str, str]) -> dict[str, str | None]:
    return {entry: code.get(entry) for entry in plan.configs}


def _giver(reader: Reader, plan: Plan, uid: str, code: Mapping[str, str]) -> JobInfo | None:
    trials = plan.job.spec.trials
    if trials.taken_from is not None:
        return named_job(reader, plan, uid)
    giver = next((job for job in _alike(reader, plan, uid) if _has_results_of(reader, job, code)), None)
    raised = plan.job.spec.search is not None  # one that is alike had fewer trials, and may have the same winners
    return giver if giver is None or raised or not _as_often(giver, trials) else None


def _as_often(job: JobInfo, trials: Trials) -> bool:
    """Whether a job asks for as many repeats, and for more of them under the same conditions."""
    made = plan_of(job)
    other = None if made is None else made.job.spec.trials
    return other is not None and (other.repeats, other.until) == (trials.repeats, trials.until)


def _has_results_of(reader: Reader, job: JobInfo, code: Mapping[str, str]) -> bool:
    """Whether a race has any result, and each of its entries with results ran this code."""
    (facts,) = reader.entry_facts([job.uid])
    return bool(facts.ids) and not _changed(facts, code)


def _changed(facts: EntryFacts, code: Mapping[str, str]) -> list[str]:
    """The entries whose results ran other code than this."""
    return [entry for entry, digest in code.items() if facts.codes.get(entry, digest) != digest]


def _alike(reader: Reader, plan: Plan, uid: str) -> Iterator[JobInfo]:
    """Earlier races of this name on one machine, newest first. They differ only in repeats, generation or own code."""
    own = lineage(plan)
    for job in earlier_jobs(reader, plan, uid):
        if job.name == plan.job.metadata.name and job.uid.startswith(LOCAL_PREFIX):
            other = plan_of(job)
            if other is not None and lineage(other) == own:
                yield job

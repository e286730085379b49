"""Takeover: decides which results of another job of the board a job may use, and takes them over.

Two trials are the same if their entry's name, everything that was planned for them, their seed, and the code that they
ran are equal. `fitting` decides, and is pure; `take_over` reads and writes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from velodrome.board.rounds import read_rounds
from velodrome.errors import SpecError
from velodrome.plan import Plan, Trial, objective_keys, plan
from velodrome.results.records import JobInfo, TakenFrom, TrialRecord
from velodrome.results.rounds import asked
from velodrome.spec import validate
from velodrome.store import Reader, Store
from velodrome.text import counted

_PAGE = 100
_RECORDS = 20  # at once: a record may have two thousand epochs, and Redis may limit the size of a command


@dataclass(frozen=True, slots=True)
class Takeover:
    """How many results a job took over, and from which job. `left` counts the other results of that job, by reason.

    `giver` is None if there is no such job.
    """

    wanted: str
    board: str
    giver: JobInfo | None = None
    taken: int = 0
    left: Mapping[str, int] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        """What was taken over, for people. Empty if there was nothing to take over."""
        if self.giver is None:
            return f"trials.from: board {self.board} has no other job {self.wanted}: every trial is measured anew"
        source = f"job {self.giver.name} ({self.giver.uid})"
        reasons = ", ".join(f"{count} {why}" for why, count in self.left.items())
        if self.taken:
            rest = f"; not taken over: {reasons}" if reasons else ""
            were = "was" if self.taken == 1 else "were"
            return f"{counted(self.taken, 'trial')} {were} taken over from {source}{rest}"
        return f"no trial was taken over from {source}: {reasons}" if reasons else ""


def earlier_jobs(reader: Reader, job: Plan, uid: str) -> Iterator[JobInfo]:
    """The other jobs on the job's board in the same namespace, newest first. Raises as the store does."""
    jobs = reader.each_job(job.job.board, _PAGE)
    return (one for one in jobs if one.uid != uid and one.namespace == job.job.namespace)


def named_job(reader: Reader, job: Plan, uid: str) -> JobInfo | None:
    """The other job whose uid is in `trials.from`, or else the newest job of that name. Raises as the store does."""
    wanted = job.job.spec.trials.taken_from
    others = list(earlier_jobs(reader, job, uid))
    by_uid = (one for one in others if one.uid == wanted)
    return next(by_uid, next((one for one in others if one.name == wanted), None))


def plan_of(job: JobInfo) -> Plan | None:
    """The plan of a stored job. None if this Velodrome can't read its document."""
    try:
        return plan(validate(dict(job.document), source=job.name))
    except SpecError:
        return None


def fitting(
    job: Plan,
    uid: str,
    giver: JobInfo,
    records: Iterable[TrialRecord],
    missing: Mapping[tuple[str, str], Trial],
    code: Mapping[str, str | None],
    at: datetime,
) -> tuple[list[TrialRecord], Counter[str]]:
    """The records of another job that are results of `missing` trials, in the form for this job; and the numbers of its
    other records, by reason. Pure.

    A fitting record has a value for each objective. For every other metric it has the value, or why it is missing.

    `missing` is by entry and trial id. `code` has the digests of the entries' own code, where it is known. For an entry
    that is not in `code`, results with any code fit.
    """
    taken: list[TrialRecord] = []
    left: Counter[str] = Counter()
    objectives = set(map(str, objective_keys(job.job).values()))
    for record in records:
        result = record.result
        trial, known = missing.get((result.entry, result.trial_id)), result.metrics.keys() | result.unavailable.keys()
        if trial is None:
            left["of other entries, conditions or seeds"] += 1
        elif result.outcome == "Failed":
            left["failed"] += 1
        elif result.entry in code and code[result.entry] != result.code:
            left["ran other code"] += 1
        elif not (objectives <= result.metrics.keys() and known.issuperset(trial.config.quality)):
            left["lack a metric that is asked for"] += 1
        else:
            taken.append(_as_of(record, uid, trial, giver, at))
    return taken, left


def _as_of(record: TrialRecord, uid: str, trial: Trial, giver: JobInfo, at: datetime) -> TrialRecord:
    result = record.result.model_copy(update={"job_uid": uid, "index": trial.index, "repeat": trial.repeat})
    source = record.taken_from or TakenFrom(
        job_uid=giver.uid, job_name=giver.name, index=record.result.index, accepted_at=record.accepted_at
    )
    return record.model_copy(update={"result": result, "config": trial.config, "accepted_at": at, "taken_from": source})


def take_over(
    store: Store, job: Plan, uid: str, giver: JobInfo | None, code: Mapping[str, str | None], at: datetime
) -> Takeover:
    """Takes over the fitting results of another job, for the registered job with this uid. The same call again changes
    nothing: trials that have a result keep it. A race until decided takes over what it asks for so far; after a look,
    call this again. Raises as the store does.
    """
    wanted = job.job.spec.trials.taken_from or ""
    if giver is None:
        return Takeover(wanted, job.job.board)
    taken, left = 0, Counter[str]()
    for records, other in fitting_pages(store, job, uid, giver, code, at):
        if records:
            store.accept(uid, 0, records)
        taken, left = taken + len(records), left + other
    return Takeover(wanted, job.job.board, giver, taken, left)


def fitting_pages(
    reader: Reader, job: Plan, uid: str, giver: JobInfo, code: Mapping[str, str | None], at: datetime
) -> Iterator[tuple[list[TrialRecord], Counter[str]]]:
    """What `fitting` says of the records of another job, some at a time. Raises as the store does."""
    wanted, done = asked(job, read_rounds(reader, job, uid)), reader.trials(uid)
    missing = {(trial.entry, trial.id): trial for index in wanted if index not in done for trial in [job.trial(index)]}
    if not missing:
        return
    mixed = reader.entry_facts([giver.uid])[0].mixed_code
    code = {**code, **dict.fromkeys(mixed - code.keys())}
    hidden = {one.index for one in reader.hidden([giver.uid]).get(giver.uid, ())}
    here = {(trial.entry, trial.id) for trial in job.trials if trial.index in done}
    for start in range(0, giver.trials, _RECORDS):
        records = reader.records(giver.uid, start, _RECORDS)
        found = [
            one
            for one in records
            if (one.result.entry, one.result.trial_id) not in here and one.result.index not in hidden
        ]
        yield fitting(job, uid, giver, found, missing, code, at)

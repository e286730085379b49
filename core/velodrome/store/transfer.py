"""Backup as JSON lines. Each line is a job, a result, a conflict or a mark, with the schema version of its content.

    {"type": "job", "place": 1, "owner": "…", "job": {…}}  a newer job has a larger place; who owns the job's board
    {"type": "record", "retries": 0, "record": {…}}        the accepted result of a trial, with its curves and scores
    {"type": "conflict", "record": {…}}                    a conflict with the accepted result
    {"type": "baseline", "mark": {…}}                      a pin of a result of this job
    {"type": "acknowledgement", "mark": {…}}               the acceptance of a change that this job showed first
    {"type": "hiding", "mark": {…}}                        a run of this job that people hide, with the reason
    {"type": "deed", "deed": {…}}                          what a person did to a mark on this job, for the board's log
    {"type": "search", "job": {…}}                         the search trials of this job; their results follow
    {"type": "suggestion", "uid": "…", "index": 0, "lane": "…", "suggestion": {…}}   what a search trial was to try

A job comes before its results, a search trial's suggestion before its result, and newer jobs come first. An import
registers and accepts as a running race does. So it may be repeated, and several files may be imported in any order.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from velodrome.errors import SchemaUnsupported
from velodrome.keys import SCHEMA_VERSION, search_uid
from velodrome.results.bounds import impossible_result
from velodrome.results.clocks import believed_job, believed_record
from velodrome.results.marks import Acknowledgement, Baseline, Deed, Hiding, Mark
from velodrome.results.names import check_entry, check_names, check_namespace
from velodrome.results.records import JobInfo, TrialRecord, parse_job, parse_record, utc
from velodrome.results.searches import Suggestion
from velodrome.store.encoding import Item, RegisteredJob, check_record, microseconds
from velodrome.store.merging import MARGIN, Ahead, SourceOrder, among
from velodrome.store.types import Acceptance, ImportReport, RejectedLine

if TYPE_CHECKING:
    from velodrome.store.reader import Reader
    from velodrome.store.store import Store

_PAGE = 100
_BATCH = 200
_BATCH_BYTES = 8 * 1024 * 1024  # Redis may limit the size of a command
_REJECTED_KEPT = 1000
_MOST_RETRIES = 999_999
_MARKS: dict[str, type[Mark]] = {"baseline": Baseline, "acknowledgement": Acknowledgement, "hiding": Hiding}
_KIND_OF = {kind: name for name, kind in _MARKS.items()}
_KINDS = ("job", "record", "conflict", "end", "deed", "search", "suggestion", *_MARKS)


def export_lines(
    store: Reader, board: str | None = None, uid: str | None = None, entry: str | None = None
) -> Iterator[str]:
    """Jobs, results with curves, conflicts and marks of all boards, a board, or one job. JSON lines without line ends.

    With `entry`, only jobs that have this entry, and only its results. The memory is bounded: one job's description and
    a hundred results. Raises as the store does.
    """
    marks, deeds, owners = partial(_marks, store, {}), partial(_deeds, store, {}), store.owners()
    for job in _jobs(store, board, uid):
        if entry is not None and entry not in job.entries:
            continue
        place = store.places([job.uid]).get(job.uid, microseconds(job.created_at))
        owner = f',"owner":{json.dumps(owners[job.board])}' if job.board in owners else ""
        yield f'{{"type":"job","place":{place}{owner},"job":{job.model_dump_json()}}}'
        yield from _results(store, job, entry)
        yield from _search(store, job, entry)
        said = (*marks(job), *deeds(job))
        yield from (_said(one) for one in said if entry in (None, one.entry))


def _results(store: Reader, job: JobInfo, entry: str | None) -> Iterator[str]:
    """The lines of a job's results and conflicts, or of one entry's."""
    retries = {index: summary.retries for index, summary in store.trials(job.uid).items()}
    for start in range(0, job.trials, _PAGE):
        for record in store.records(job.uid, start, _PAGE):
            if entry in (None, record.result.entry):
                head = f'{{"type":"record","retries":{retries.get(record.result.index, 0)}'
                yield f'{head},"record":{record.model_dump_json()}}}'
    for record in store.conflicts(job.uid):
        if entry in (None, record.result.entry):
            yield f'{{"type":"conflict","record":{record.model_dump_json()}}}'


def _search(store: Reader, job: JobInfo, entry: str | None) -> Iterator[str]:
    """The lines of a job's search trials, if it has a search. Suggestions of a lane are in the order of their turns, so
    that an import gives each the same turn. One entry's have none, because others took turns between them.
    """
    tried = store.job(search_uid(job.uid)) if job.document.get("spec", {}).get("search") else None
    if tried is None:
        return
    yield f'{{"type":"search","job":{tried.model_dump_json()}}}'
    suggestions, turns = store.suggestions(tried.uid), store.turns(tried.uid) if entry is None else {}
    taken = {index: lane for lane, indexes in turns.items() for index in indexes}
    for index in [*taken, *sorted(suggestions.keys() - taken.keys())]:
        found = suggestions.get(index)
        if found is not None and entry in (None, found.entry):
            head = {"type": "suggestion", "uid": tried.uid, "index": index, "lane": taken.get(index, "")}
            yield f'{json.dumps(head)[:-1]}, "suggestion": {found.model_dump_json()}}}'
    yield from _results(store, tried, entry)


def _said(one: Mark | Deed) -> str:
    """The line of a mark, or of what was done to one."""
    kind, part = ("deed", "deed") if isinstance(one, Deed) else (_KIND_OF[type(one)], "mark")
    return f'{{"type":"{kind}","{part}":{one.model_dump_json()}}}'


def _marks(store: Reader, known: dict[str, list[Mark]], job: JobInfo) -> list[Mark]:
    """The marks on this job's results. `known` remembers the marks of each board that was read."""
    if job.board not in known:
        known[job.board] = [*store.baselines(job.board), *store.acknowledgements(job.board)]
    hidden = store.hidden([job.uid]).get(job.uid, [])
    return [*(mark for mark in known[job.board] if mark.job_uid == job.uid), *hidden]


def _deeds(store: Reader, known: dict[str, list[Deed]], job: JobInfo) -> list[Deed]:
    """What was done to marks on this job, newest first. `known` remembers the log of each board that was read."""
    if job.board not in known:
        known[job.board] = store.log(job.board)
    return [deed for deed in known[job.board] if deed.job_uid == job.uid]


def _jobs(store: Reader, board: str | None, uid: str | None) -> Iterator[JobInfo]:
    """The jobs that are there now, newest first."""
    if uid is not None:
        job = store.job(uid)
        if job is not None and board in (None, job.board):
            yield job
        return
    yield from store.each_job(board)


def import_lines(store: Store, lines: Iterable[str], clock: Callable[[], float] = time.time) -> ImportReport:
    """Imports what `export_lines` wrote. The same import again changes nothing. Rejected lines are reported.

    A result that no trial can have is rejected. A time in the future, by `clock`, is replaced by the present time.

    Raises:
        As the store does.
    """
    importing = _Import(store, utc(clock()))
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            importing.line(line)
        except SchemaUnsupported as error:
            importing.reject(number, f"{error.reason}: {error}")
        except ValueError as error:
            importing.reject(number, str(error))
    importing.flush()
    return importing.report()


class _Import:
    """A running import. Results wait until one job has enough of them for a batch."""

    def __init__(self, store: Store, now: datetime) -> None:
        self._store = store
        self._now = now
        self._order = SourceOrder()
        self._job: RegisteredJob | None = None
        self._waiting: list[Item] = []
        self._bytes = 0
        self._taken: Counter[Acceptance] = Counter()
        self._rejected: list[RejectedLine] = []
        self._rejected_count = 0
        self._known_lines = 0

    def line(self, line: str) -> None:
        """Imports one line.

        Raises:
            ValueError: it is no line of an export, or it fits no job; it was not imported.
            SchemaUnsupported: a newer Velodrome wrote it.
        """
        document = from_json(line.encode("utf-8", "surrogateescape"))  # a byte that is no text raises ValueError
        kind = document.get("type") if isinstance(document, dict) else None
        self._known_lines += kind in _KINDS
        if kind == "job":
            job = parse_job(json.dumps(document.get("job")))
            check_names(job)
            self._take_job(job, _place(document), _owner(document))
        elif kind in ("record", "conflict"):
            record = parse_record(json.dumps(document.get("record")))
            self._take_record(record, _retries(document), aside=kind == "conflict")
        elif kind == "search":
            self._take_search(parse_job(json.dumps(document.get("job"))))
        elif kind == "suggestion":
            self._take_suggestion(document)
        elif kind == "end":
            pass  # the seal of a backup, which `velodrome restore` checks
        elif kind in _MARKS:
            mark = _MARKS[kind].model_validate(document.get("mark"))
            self._belongs(mark)
            self._taken[self._store.keep_mark(mark)] += 1
        elif kind == "deed":
            deed = Deed.model_validate(document.get("deed"))
            self._belongs(deed)
            self._taken[self._store.keep_deed(deed)] += 1
        else:
            raise ValueError(f"a line must be an object of type {', '.join(_KINDS)}, not {kind!r}")

    def _take_job(self, job: JobInfo, there: int | None, owner: str) -> None:
        job, known = self._raised(job, self._store.job(job.uid))
        believed = believed_job(job, self._now)
        if known is not None and believed is not job:  # it was imported before, with the time of that import
            job = believed = job.model_copy(update={"created_at": known.created_at})
        if known is not None and job.rounds != known.rounds:  # the same race at another time: the later look counts
            if job.rounds is not None:
                self._store.keep_rounds(job.uid, job.rounds)
            known = known.model_copy(update={"rounds": job.rounds})
        if known is not None and job.searched != known.searched:  # the same search at another time: its end counts
            if job.searched is not None:
                known = known.model_copy(update={"searched": self._store.keep_searched(job.uid, job.searched)})
            else:
                job = believed = job.model_copy(update={"searched": known.searched})
        if known in (None, job):  # deleted entries of a known job come back
            self._store.register(believed, self._place(believed, there), owner=owner)
            if believed.searched is not None:  # runners learn the winners again
                self._store.keep_searched(job.uid, believed.searched)
        if there is not None:
            self._order.note(there, self._store.places([job.uid])[job.uid])
        self._taken["accepted" if known is None else "duplicate" if known == job else "conflict"] += 1

    def _raised(self, job: JobInfo, known: JobInfo | None) -> tuple[JobInfo, JobInfo | None]:
        """Both, after the larger number of search trials counts: they are the same search at another time."""
        if known is None or not known.most_searched or known.most_searched == job.most_searched:
            return job, known
        if job.most_searched > known.most_searched:
            return job, self._store.raise_search(job)
        parts = {"document": known.document, "trials": known.trials, "repeats": known.repeats}
        return job.model_copy(update=parts), known

    def _place(self, job: JobInfo, there: int | None) -> int:
        """The job's place among the jobs here. If the export has no place for it, its time decides."""
        created = microseconds(job.created_at)
        uids = self._store.placed_from(microseconds(self._now) + MARGIN)
        places = self._store.places(uids)
        known = {uid: self._store.job(uid) for uid in uids}
        ahead = [Ahead(places[uid], microseconds(one.created_at)) for uid, one in known.items() if one is not None]
        return among(created, ahead) if there is None else self._order.place(there, created, ahead)

    def _take_search(self, tried: JobInfo) -> None:
        """Makes room for the search trials of a job that was imported before."""
        job = None if tried.search_of is None else self._store.job(tried.search_of)
        if job is None or tried.uid != search_uid(job.uid) or tried.entries != job.entries:
            raise ValueError(f"the search {tried.uid!r} is of no job in an earlier line or in the store")
        tried, known = self._raised(tried, self._store.job(tried.uid))
        believed = believed_job(tried, self._now)
        if known is None:
            self._store.register_search(believed)
        elif believed is not tried:
            tried = tried.model_copy(update={"created_at": known.created_at})
        self._taken["accepted" if known is None else "duplicate" if known == tried else "conflict"] += 1

    def _take_suggestion(self, document: dict[str, Any]) -> None:
        uid, index, lane = document.get("uid"), document.get("index"), document.get("lane", "")
        suggestion = Suggestion.model_validate(document.get("suggestion"))
        registered = self._registered(uid) if isinstance(uid, str) else None
        if registered is None or registered.info.search_of is None:
            raise ValueError(f"the search {uid!r} of this suggestion is neither in an earlier line nor in the store")
        tried = registered.info
        if not isinstance(lane, str) or not isinstance(index, int) or not 0 <= index < tried.trials:
            raise ValueError(f"search {uid} has no trial {index!r} in a lane {lane!r}")
        number, place = divmod(index, len(tried.entries))
        if (suggestion.number, suggestion.entry) != (number, tried.entries[place]):
            raise ValueError(f"trial {index} of search {uid} is number {number} of {tried.entries[place]!r}")
        known = self._store.suggestion(tried.uid, index)
        counts = self._store.suggest(tried.uid, index, suggestion, lane)
        self._taken["accepted" if known is None else "duplicate" if counts == suggestion else "conflict"] += 1

    def _take_record(self, record: TrialRecord, retries: int, *, aside: bool) -> None:
        uid = record.result.job_uid
        job = self._registered(uid)
        if job is None:
            raise ValueError(f"the job {uid!r} of this result is neither in an earlier line nor in the store")
        check_record(job, record)
        wrong = impossible_result(record.result, record.config, kept=True)
        if wrong is not None:
            raise ValueError(f"ImpossibleValue: {wrong}")
        item = Item.of(believed_record(record, self._now), retries, aside=aside)
        self._waiting.append(item)
        self._bytes += item.size
        if len(self._waiting) >= _BATCH or self._bytes >= _BATCH_BYTES:
            self.flush()

    def _registered(self, uid: str) -> RegisteredJob | None:
        """The job of that uid, which is asked for once for all lines of one job; None if there is none."""
        if self._job is None or self._job.info.uid != uid:
            self.flush()
            job = self._store.job(uid)
            if job is None:
                return None
            self._job = RegisteredJob(job)
        return self._job

    def _belongs(self, mark: Mark | Deed) -> None:
        """Raises if the mark, or what was done to one, fits no job here."""
        if mark.schema_version > SCHEMA_VERSION:
            raise SchemaUnsupported(f"the mark has schema version {mark.schema_version}: update this Velodrome")
        check_entry(mark.entry)
        job = self._store.job(mark.job_uid)
        if job is not None and job.board != mark.board:
            raise ValueError(f"the mark is of board {mark.board!r}, but its job {job.uid} of board {job.board!r}")
        if job is None:
            raise ValueError(f"the job {mark.job_uid!r} of this mark is neither in an earlier line nor in the store")
        if isinstance(mark, Hiding):
            _check_hiding(mark, job)

    def reject(self, number: int, why: str) -> None:
        """Notes a rejected line."""
        self._rejected_count += 1
        if len(self._rejected) < _REJECTED_KEPT:
            self._rejected.append(RejectedLine(number, why))

    def flush(self) -> None:
        """Accepts the results that wait."""
        if self._job is not None and self._waiting:
            self._taken.update(self._store.accept_items(self._job.info.uid, 0, self._waiting, imported=True))
            self._waiting, self._bytes = [], 0

    def report(self) -> ImportReport:
        """What was imported so far."""
        count = self._taken
        return ImportReport(
            count["accepted"],
            count["duplicate"],
            count["conflict"],
            count["superseded"],
            tuple(self._rejected),
            self._rejected_count,
            self._known_lines,
        )


def _check_hiding(mark: Hiding, job: JobInfo) -> None:
    if mark.index >= job.trials or job.entries[mark.index % len(job.entries)] != mark.entry:
        raise ValueError(f"job {job.uid} has no trial {mark.index} of {mark.entry!r}, which this line hides")


def _place(document: dict[str, Any]) -> int | None:
    place = document.get("place")
    if place is None:
        return None
    if not isinstance(place, int) or not 0 <= place < 2**63:
        raise ValueError(f"place is {place!r}, not a number that orders jobs")
    return place


def _owner(document: dict[str, Any]) -> str:
    """The namespace that owns the job's board. Empty if the export doesn't say: then the board's oldest job decides."""
    owner = document.get("owner", "")
    if owner:
        check_namespace(owner)
    return str(owner)


def _retries(document: dict[str, Any]) -> int:
    retries = document.get("retries", 0)
    if not isinstance(retries, int) or not 0 <= retries <= _MOST_RETRIES:
        raise ValueError(f"retries is {retries!r}, not a count")
    return retries

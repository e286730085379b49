"""The store's one class. What each method guarantees stands in its docstring; how it is kept, in the modules beside."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from importlib.resources import files
from operator import attrgetter
from types import TracebackType
from typing import Any, Self, TypeVar

import redis

from velodrome import keys
from velodrome.errors import StoreRefused
from velodrome.results import (
    EpochPoint,
    JobInfo,
    Progress,
    ProgressReport,
    ResultReport,
    TrialRecord,
    parse_job,
    parse_record,
)
from velodrome.store import reading, transfer
from velodrome.store.edge import TIMEOUT_SECONDS, address_of, connect, foreign, translated
from velodrome.store.types import (
    Board,
    CohortSummary,
    Counts,
    EntryState,
    ImportReport,
    Rejection,
    Row,
    TrialSummary,
    Verdict,
)
from velodrome.store.writing import Item, JobFacts, Shapes, check_job, encode, microseconds

Raw = TypeVar("Raw")
Parsed = TypeVar("Parsed")

_VERDICTS: dict[str, Verdict] = {"A": "accepted", "D": "duplicate", "C": "conflict", "S": "superseded"}
_JOBS_REMEMBERED = 256
_LONGEST_BLOCK_MS = int(TIMEOUT_SECONDS * 1000 / 2)


class Store:
    """Results in Redis 6.2 or newer, or Valkey; not in a Redis Cluster.

    Every method raises `StoreUnavailable` where Redis does not answer (try again: every method may be repeated) and
    `StoreRefused` where it answers and will not, or where it holds what Velodrome did not write (a person must act);
    never an error of the client library. `SchemaUnsupported` says that a newer Velodrome wrote what was asked for.

    What was accepted when `accept` returns is as safe as Redis makes it. With `appendfsync always` it survives a kill
    of the server and a loss of power. With `everysec` a loss of power takes the last second or two, and so does a kill
    while the disk is so slow that the previous sync still runs: Redis then answers before it has written.
    """

    def __init__(self, client: redis.Redis) -> None:
        if client.get_encoder().decode_responses:
            raise ValueError("the store reads bytes: make its Redis client without decode_responses")
        self._client = client
        self._address = address_of(client)
        self._register = client.register_script(_script("register.lua"))
        self._accept = client.register_script(_script("accept.lua"))
        self._jobs: dict[str, JobFacts] = {}
        self._shapes = Shapes()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections; a later call opens them again."""
        self._client.close()

    def ping(self) -> None:
        """Returns if Redis answers, else raises as every method does."""
        self._ask("PING")

    # Jobs

    def register(self, job: JobInfo) -> None:
        """Remembers a job. The first registration of a uid wins; another is a no-op.

        Raises:
            ValueError: the job contradicts itself, or its uid or board can't be part of a key.
        """
        check_job(job)
        facts = JobFacts(job)
        names = (
            keys.job(job.uid, "info"),
            keys.JOBS,
            keys.board_jobs(job.board),
            keys.BOARDS,
            keys.board_entries(job.board),
        )
        created = microseconds(job.created_at)
        with translated(self._address):
            self._register(names, (job.uid, job.model_dump_json(), created, facts.age, job.board, *job.entries))

    def job(self, uid: str) -> JobInfo | None:
        """A job as it was registered."""
        return self._jobs_of([uid])[0]

    def jobs(self, board: str | None = None, limit: int = 50, offset: int = 0) -> list[JobInfo]:
        """Jobs of one board or of all, newest first."""
        key = keys.JOBS if board is None else keys.board_jobs(board)
        uids = self._ask("ZREVRANGE", key, offset, offset + limit - 1) if limit > 0 else []
        return [job for job in self._jobs_of([_text(uid) for uid in uids]) if job is not None]

    def boards(self) -> list[Board]:
        """All boards, the one with the newest job or result first."""
        names = [_text(name) for name in self._ask("ZREVRANGE", keys.BOARDS, 0, -1)]
        with translated(self._address), self._client.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.zcard(keys.board_jobs(name))
                pipe.hlen(keys.board_entries(name))
                pipe.zscore(keys.BOARDS, name)
            numbers = pipe.execute()
        return [
            Board(name, jobs, entries, reading.moment(last))
            for name, jobs, entries, last in zip(names, numbers[::3], numbers[1::3], numbers[2::3], strict=True)
            if last is not None
        ]

    # The inbox

    def append(self, uid: str, report: ProgressReport | ResultReport) -> str:
        """Adds a report to the job's inbox; its stream id.

        An inbox that is not collected takes no progress from `keys.INBOX_MAXIMUM` reports on: it is dropped, and the
        answer is empty. A result is always taken.
        """
        stream = keys.inbox(uid)
        if isinstance(report, ProgressReport) and self._ask("XLEN", stream) >= keys.INBOX_MAXIMUM:
            return ""
        return _text(self._ask("XADD", stream, "*", keys.REPORT_FIELD, report.model_dump_json()))

    def read_inbox(
        self, uid: str, after: str, count: int = 500, block_ms: int | None = None
    ) -> list[tuple[str, bytes]]:
        """Up to `count` reports after an id, oldest first, as (id, JSON).

        Waits up to `block_ms` for the first, but no longer than half the time after which a server that is silent is
        taken for dead. An entry that carries no report has empty bytes.
        """
        stream = keys.inbox(uid)
        unread = "XRANGE", stream, f"({after}", "+", "COUNT", count
        found = self._ask(*unread)
        if not found and block_ms:
            self._ask("XREAD", "COUNT", 1, "BLOCK", min(block_ms, _LONGEST_BLOCK_MS), "STREAMS", stream, after)
            found = self._ask(*unread)
        return [(_text(id_), fields.get(keys.REPORT_FIELD.encode(), b"")) for id_, fields in found]

    def position(self, uid: str) -> str:
        """Id of the last inbox entry that was collected; "0" where none was."""
        return _text(self._ask("GET", keys.job(uid, "position")) or b"0")

    def accept(
        self,
        uid: str,
        position: str,
        records: Sequence[TrialRecord],
        progress: Sequence[Progress] = (),
        rejected: Sequence[Rejection] = (),
    ) -> list[Verdict]:
        """Takes what was read of the inbox up to `position`, whole or not at all; a verdict for each record, in order.

        The first success of a trial stands; the same again is a duplicate, another a conflict. A success takes the
        place of a failure, and of two attempts' failures the one that finished last stands. The same batch again
        changes nothing, and the position never goes back: a batch of a collector that is behind adds no progress and
        no rejection. What lies before the position leaves the inbox.

        Raises:
            ValueError: a record does not belong to the job; nothing was taken.
            StoreRefused: the job is not registered.
        """
        return self._take(uid, position, [Item(record) for record in records], progress, rejected)

    def _take(
        self,
        uid: str,
        position: str,
        items: Sequence[Item],
        progress: Sequence[Progress] = (),
        rejected: Sequence[Rejection] = (),
    ) -> list[Verdict]:
        facts = self._facts(uid)
        names, arguments = encode(facts, position, items, progress, rejected, self._shapes)
        with translated(self._address):
            letters = self._accept(names, arguments)
        if letters is None:
            self._jobs.pop(uid, None)
            raise _unregistered(uid, self._address)
        return [_VERDICTS[letter] for letter in letters.decode()]

    # One job's results

    def trial(self, uid: str, index: int) -> TrialRecord | None:
        """A trial's result, without its curves."""
        text = self._ask("HGET", keys.job(uid, "records"), index)
        return None if text is None else self._parsed(parse_record, text, keys.job(uid, "records"), index)

    def records(self, uid: str, start: int = 0, count: int = 100) -> list[TrialRecord]:
        """The results of the `count` trials from index `start` on, with their curves; a trial may have none yet."""
        indices = range(start, start + count)
        where = keys.job(uid, "records"), keys.job(uid, "curves")
        records, curves = (self._ask("HMGET", key, *indices) for key in where)
        return [
            reading.with_curves(
                self._parsed(parse_record, record, where[0], index),
                self._parsed(reading.parse_curves, curve or b"[]", where[1], index),
            )
            for index, record, curve in zip(indices, records, curves, strict=True)
            if record is not None
        ]

    def trials(self, uid: str) -> dict[int, TrialSummary]:
        """All results of a job in short, by index."""
        return self._by_index(keys.job(uid, "trials"), reading.parse_trial)

    def curves(self, uid: str, index: int) -> tuple[EpochPoint, ...]:
        """A trial's curves: of its result, else of the running attempt as far as they were reported and kept."""
        accepted, live = keys.job(uid, "curves"), keys.job(uid, "live")
        text = self._ask("HGET", accepted, index)
        if text is not None:
            return self._parsed(reading.parse_curves, text, accepted, index)
        running = self._ask("HGET", live, index)
        return () if running is None else self._parsed(reading.parse_live, running, live, index)

    def progress(self, uid: str) -> dict[int, Progress]:
        """The newest progress of each trial that reported any and has no result since, by index."""
        return self._by_index(keys.job(uid, "progress"), reading.parse_progress)

    def conflicts(self, uid: str) -> list[TrialRecord]:
        """Results that differ from the one that stands for their trial, curves included."""
        key = keys.job(uid, "conflicts")
        found = [self._parsed(reading.parse_conflict, text, key, field) for field, text in self._fields(key).items()]
        return sorted(found, key=lambda record: (record.result.index, record.accepted_at))

    def counts(self, uid: str) -> Counts:
        """How the job's trials stand."""
        conflicts = self._ask("HLEN", keys.job(uid, "conflicts"))
        key = keys.job(uid, "entries")
        rejected = self._fields(keys.job(uid, "rejected"))
        return self._parsed(lambda fields: reading.counts(fields, conflicts, rejected), self._fields(key), key)

    def rejections(self, uid: str) -> list[Rejection]:
        """The newest reports that were rejected, newest first: samples, as `counts` has their number."""
        key = keys.job(uid, "rejections")
        return [self._parsed(reading.parse_rejection, text, key) for text in self._ask("LRANGE", key, 0, -1)]

    def entries(self, uid: str) -> dict[str, EntryState]:
        """How each entry of a job stands, in the order of the job; empty for an unknown job."""
        job = self.job(uid)
        return {} if job is None else self._entries(job)

    def _entries(self, job: JobInfo) -> dict[str, EntryState]:
        key = keys.job(job.uid, "entries")
        running = self._fields(keys.job(job.uid, "progress"))
        return self._parsed(lambda fields: reading.entry_states(job, fields, running), self._fields(key), key)

    # Rankings

    def board_entries(self, board: str) -> list[tuple[JobInfo, EntryState]]:
        """Each entry name of a board, as it stands in the newest job that has it; by entry name."""
        newest = {
            _text(entry): _text(text.rpartition(b"\n")[2])
            for entry, text in sorted(self._fields(keys.board_entries(board)).items())
        }
        jobs = {job.uid: job for job in self._jobs_of(sorted(set(newest.values()))) if job is not None}
        states = {uid: self._entries(job) for uid, job in jobs.items()}
        return [(jobs[uid], states[uid][entry]) for entry, uid in newest.items() if entry in states.get(uid, {})]

    def cohorts(self, board: str, key: str) -> list[CohortSummary]:
        """The cohorts in which a board has values of a metric key, the one with the newest value first."""
        where = keys.board_cohorts(board, key)
        fields = self._fields(where)
        ids = self._parsed(reading.cohort_ids, fields, where)
        if not ids:
            return []
        with translated(self._address), self._client.pipeline(transaction=False) as pipe:
            pipe.hmget(keys.COHORTS, ids)
            for cohort_id in ids:
                pipe.hlen(keys.board_rows(board, key, cohort_id))
            conditions, *entries = pipe.execute()
        found = dict(zip(ids, zip(conditions, entries, strict=True), strict=True))
        return self._parsed(lambda fields: reading.parse_cohorts(fields, found), fields, where)

    def ranking_rows(self, board: str, key: str, cohort_id: str) -> list[Row]:
        """The values that a ranking is made of: for each entry name, in order, those of the newest job that has any."""
        where = keys.board_rows(board, key, cohort_id)
        rows = self._parsed(lambda texts: [reading.parse_row(text) for text in texts], self._ask("HVALS", where), where)
        return sorted(rows, key=attrgetter("entry"))

    # Backup

    def export_lines(self, board: str | None = None, uid: str | None = None) -> Iterator[str]:
        """Jobs, results with curves, and conflicts, as JSON lines without the line end: of all, a board, or one job.

        Memory stays that of one job's description and a hundred results, however many there are.
        """
        return transfer.export_lines(self, board, uid)

    def import_lines(self, lines: Iterable[str]) -> ImportReport:
        """Takes what `export_lines` wrote. Doing it again changes nothing; lines that can't be taken are reported."""
        return transfer.import_lines(lines, self.register, self.job, self._take)

    # Asking and understanding

    def _ask(self, *command: str | int) -> Any:
        """One command's answer, as the client library hands it out."""
        with translated(self._address):
            return self._client.execute_command(*command)

    def _fields(self, key: str) -> dict[bytes, bytes]:
        fields: dict[bytes, bytes] = self._ask("HGETALL", key)
        return fields

    def _by_index(self, key: str, parse: Callable[[int, bytes], Parsed]) -> dict[int, Parsed]:
        found = {}
        for field, text in self._fields(key).items():
            index = self._parsed(int, field, key, field)
            found[index] = self._parsed(partial(parse, index), text, key, field)
        return dict(sorted(found.items()))

    def _parsed(self, parse: Callable[[Raw], Parsed], raw: Raw, key: str, field: object = None) -> Parsed:
        try:
            return parse(raw)
        except (AttributeError, LookupError, TypeError, ValueError, struct.error) as error:
            place = key if field is None else f"{key} field {_text(field) if isinstance(field, bytes) else field}"
            raise foreign(f"{place} holds what can't be read ({error})", self._address) from error

    def _jobs_of(self, uids: Sequence[str]) -> list[JobInfo | None]:
        if not uids:
            return []
        names = [keys.job(uid, "info") for uid in uids]
        return [
            None if text is None else self._parsed(parse_job, text, name)
            for name, text in zip(names, self._ask("MGET", *names), strict=True)
        ]

    def _facts(self, uid: str) -> JobFacts:
        if uid not in self._jobs:
            job = self.job(uid)
            if job is None:
                raise _unregistered(uid, self._address)
            if len(self._jobs) >= _JOBS_REMEMBERED:
                self._jobs.clear()
            self._jobs[uid] = JobFacts(job)
        return self._jobs[uid]


def open_store(url: str) -> Store:
    """A store at a redis://, rediss:// or unix:// URL. Nothing is sent before the first call.

    Raises:
        StoreRefused: it is no such URL.
    """
    return Store(connect(url))


def _script(name: str) -> str:
    """A script's text, with what all of them share in front."""
    folder = files(__package__)
    return "\n".join(folder.joinpath(part).read_text(encoding="utf-8") for part in ("common.lua", name))


def _unregistered(uid: str, address: str) -> StoreRefused:
    return StoreRefused(f"Redis at {address} knows no job {uid!r}: register it before its results are accepted")


def _text(raw: bytes | str) -> str:
    return raw.decode(errors="replace") if isinstance(raw, bytes) else raw

"""What writes: registering jobs, the inbox, accepting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import redis

from velodrome import keys
from velodrome.errors import StoreRefused
from velodrome.results.marks import Acknowledgement, Baseline
from velodrome.results.records import (
    JobInfo,
    Progress,
    ProgressReport,
    ResultReport,
    TrialRecord,
)
from velodrome.store import readings
from velodrome.store.access import text_of
from velodrome.store.edge import connect
from velodrome.store.encoding import Item, RegisteredJob, check_job, encode, microseconds
from velodrome.store.rankings import Shapes
from velodrome.store.reader import Reader
from velodrome.store.types import (
    Acceptance,
    InboxSize,
    Rejection,
    Room,
)

_ACCEPTANCES: dict[str, Acceptance] = {"A": "accepted", "D": "duplicate", "C": "conflict", "S": "superseded"}
_JOBS_REMEMBERED = 256
# Reports are read until there are this many bytes of them: 500 of the longest would be more than an operator may hold.
ENOUGH_BYTES = 16 * 1024 * 1024
_INBOXES_AT_ONCE = 1000
_MOVED_BYTES = 1024 * 1024
# An inbox with so many reports is none that honest runners leave behind.
INBOX_REPORTS = 100_000


class Store(Reader):
    """Results in Redis 6.2 or newer, or Valkey; not in a Redis Cluster.

    Every method raises `StoreUnavailable` where Redis does not answer (try again: every method may be repeated) and
    `StoreRefused` where it answers and will not, or where it holds what Velodrome did not write (a person must act);
    never an error of the client library. `SchemaUnsupported` says that a newer Velodrome wrote what was asked for.

    What was accepted when `accept` returns is as safe as Redis makes it. With `appendfsync always` it survives a kill
    of the server and a loss of power. With `everysec` a loss of power takes the last second or two, and so does a kill
    while the disk is so slow that the previous sync still runs: Redis then answers before it has written.
    """

    def __init__(self, client: redis.Redis) -> None:
        super().__init__(client)
        self._register = self._redis.script("register.lua")
        self._accept = self._redis.script("decide.lua", "rank.lua", "write.lua")
        self._inbox = self._redis.script("inbox.lua")
        self._keep = self._redis.script("keep.lua")
        self._mark = self._redis.script("mark.lua")
        self._stream = self._redis.script("stream.lua")
        self._waiting = self._redis.script("waiting.lua")
        self._jobs: dict[str, RegisteredJob] = {}
        self._shapes = Shapes()

    # Jobs

    def register(self, job: JobInfo, place: int | None = None) -> None:
        """Remembers a job. The first registration of a uid wins; another is a no-op.

        It is newer than all jobs so far, whatever its time says; but what is imported has a `place` of its own.

        Raises:
            ValueError: the job contradicts itself, or its uid or board can't be part of a key.
        """
        check_job(job)
        names = (
            keys.job(job.uid, "info"),
            keys.JOBS,
            keys.board_jobs(job.board),
            keys.BOARDS,
            keys.board_entries(job.board),
            keys.job(job.uid, "position"),
            keys.BOARD_TIMES,
        )
        created, given = microseconds(job.created_at), "" if place is None else place
        self._register(names, (job.uid, job.model_dump_json(), created, given, job.board, *job.entries))

    # Regressions

    def mark(self, mark: Baseline | Acknowledgement) -> None:
        """Keeps what a person said, in place of what they said of the same before."""
        self._change(mark, "HSET")

    def unmark(self, mark: Baseline | Acknowledgement) -> bool:
        """Forgets it; whether there was one."""
        return self._change(mark, "HDEL")

    def keep_mark(self, mark: Baseline | Acknowledgement) -> Acceptance:
        """Keeps an exported mark, unless one of the same is there: what was said here stays."""
        return "accepted" if self._change(mark, "HSETNX") else "duplicate"

    def _change(self, mark: Baseline | Acknowledgement, command: Literal["HSET", "HSETNX", "HDEL"]) -> bool:
        """Whether a mark came to be or ceased to be."""
        text = () if command == "HDEL" else (mark.model_dump_json(),)
        return bool(self._mark((_marks_of(mark), keys.CHANGES), (command, mark.board, mark.field, *text)))

    def keep_reading(self, board: str, version: str, parts: Mapping[str, bytes]) -> bool:
        """Keeps a board as it was read at that `board_version`; whether it did: not where the board changed."""
        names = (keys.board_reading(board), keys.CHANGES, keys.board_jobs(board), keys.board_entries(board))
        return bool(self._keep(names, (board, *readings.keeping(version, parts))))

    # The inbox

    def append(self, uid: str, report: ProgressReport | ResultReport) -> int:
        """Adds a report to the job's inbox; how many wait there then.

        An inbox that is not collected takes no progress from `keys.INBOX_MAXIMUM` reports on: it is dropped, and the
        answer is 0. A result is always taken.
        """
        inbox = keys.inbox(uid)
        if isinstance(report, ProgressReport) and self._redis.ask("LLEN", inbox) >= keys.INBOX_MAXIMUM:
            return 0
        return int(self._redis.ask("RPUSH", inbox, report.model_dump_json()))

    def read_inbox(
        self, uid: str, after: int = 0, count: int = 500, enough: int = ENOUGH_BYTES
    ) -> list[tuple[int, bytes]]:
        """Up to `count` reports that were not collected, oldest first, as (number, JSON); `after` leaves out others.

        The first report that a job's inbox ever got has the number 1, and no report gets another number. Whatever was
        appended, an answer is of bounded size: of a report that is too long come `keys.REPORT_BYTES` bytes and one
        more, and behind `enough` bytes the answer ends.
        """
        names = (keys.inbox(uid), keys.job(uid, "position"))
        first, *found = self._inbox(names, (after, count, keys.REPORT_BYTES + 1, enough))
        return list(enumerate(found, start=first))

    def take_over(self, uid: str) -> int:
        """Moves reports that came the way of version 0.1.0, by a stream, to the inbox; how many, of what there are.

        In steps of bounded size: whoever sees that it moved some asks again.
        """
        stream = keys.inbox_stream(uid)
        if not self._redis.ask("EXISTS", stream):
            return 0
        names = (stream, keys.inbox(uid), keys.job(uid, "position"))
        return int(self._stream(names, (keys.STREAM_FIELD, keys.REPORT_BYTES + 1, _MOVED_BYTES)))

    def began_with_a_stream(self, uid: str) -> bool:
        """Whether the job's first runners may be of version 0.1.0: that registered it, or left a stream."""
        position, stream = self._redis.ask_all((("GET", keys.job(uid, "position")), ("EXISTS", keys.inbox_stream(uid))))
        return bool(stream) or position is None or b"-" in position

    def waiting(self, uids: Sequence[str], too_many: int = INBOX_REPORTS) -> dict[str, InboxSize]:
        """What waits in the inboxes of those jobs that hold anything, or can't be read; a round trip for each thousand.

        From `too_many` reports on they are not weighed: that would take long.
        """
        found: dict[str, InboxSize] = {}
        for first in range(0, len(uids), _INBOXES_AT_ONCE):
            some = uids[first : first + _INBOXES_AT_ONCE]
            numbers = self._waiting(
                [name for uid in some for name in (keys.inbox(uid), keys.inbox_stream(uid))], (too_many,)
            )
            for uid, reports, size in zip(some, numbers[::2], numbers[1::2], strict=True):
                if reports:
                    found[uid] = InboxSize(reports if reports > 0 else None, size if reports < too_many else None)
        return found

    def room(self) -> Room:
        """How much of its memory Redis uses."""
        told = self._redis.ask("INFO", "memory")
        return Room(int(told["used_memory"]), int(told.get("maxmemory", 0)) or None)

    def position(self, uid: str) -> int:
        """How many reports of the inbox were collected."""
        stored = text_of(self._redis.ask("GET", keys.job(uid, "position")) or b"0")
        return int(stored) if stored.isdecimal() else 0

    def accept(
        self,
        uid: str,
        position: int,
        records: Sequence[TrialRecord],
        progress: Sequence[Progress] = (),
        rejected: Sequence[Rejection] = (),
    ) -> list[Acceptance]:
        """Takes what was read of the inbox up to report number `position`, whole or not at all; what became of
        each record, in order. 0 is the position of what came another way.

        The first success of a trial stands; the same again is a duplicate, another a conflict. A success takes the
        place of a failure, and of two attempts' failures the one that finished last stands. The same batch again
        changes nothing, and the position never goes back: a batch of a collector that is behind adds no progress and
        no rejection. What was taken leaves the inbox.

        Raises:
            ValueError: a record does not belong to the job, or the position is none; nothing was taken.
            StoreRefused: the job is not registered.
        """
        return self.accept_items(uid, position, [Item.of(record) for record in records], progress, rejected)

    def accept_items(
        self,
        uid: str,
        position: int,
        items: Sequence[Item],
        progress: Sequence[Progress] = (),
        rejected: Sequence[Rejection] = (),
        *,
        imported: bool = False,
    ) -> list[Acceptance]:
        """`accept`, of records that are on their way already. What is `imported` is as new as its times say."""
        facts = self._facts(uid)
        names, arguments = encode(facts, position, items, progress, rejected, self._shapes, imported=imported)
        letters = self._accept(names, arguments)
        if letters is None:
            self._jobs.pop(uid, None)
            raise _unregistered(uid, self._redis.address)
        return [_ACCEPTANCES[letter] for letter in letters.decode()]

    def _facts(self, uid: str) -> RegisteredJob:
        if uid not in self._jobs:
            job = self.job(uid)
            if job is None:
                raise _unregistered(uid, self._redis.address)
            if len(self._jobs) >= _JOBS_REMEMBERED:
                self._jobs.clear()
            self._jobs[uid] = RegisteredJob(job)
        return self._jobs[uid]


def open_store(url: str) -> Store:
    """A store at a redis://, rediss:// or unix:// URL. Nothing is sent before the first call.

    Raises:
        StoreRefused: it is no such URL.
    """
    return Store(connect(url))


def _marks_of(mark: Baseline | Acknowledgement) -> str:
    return keys.board_baselines(mark.board) if isinstance(mark, Baseline) else keys.board_acknowledgements(mark.board)


def _unregistered(uid: str, address: str) -> StoreRefused:
    return StoreRefused(f"Redis at {address} knows no job {uid!r}: register it before its results are accepted")

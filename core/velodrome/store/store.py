"""The writing half of the store: it registers jobs, has their inboxes, and accepts results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import redis

from velodrome import keys
from velodrome.connections.clients import RedisLogin
from velodrome.errors import StoreRefused
from velodrome.results.marks import Baseline, Deed, Hiding, Mark, deed_of
from velodrome.results.records import (
    JobInfo,
    Progress,
    ProgressReport,
    ResultReport,
    Rounds,
    TrialRecord,
)
from velodrome.store import readings
from velodrome.store.access import text_of
from velodrome.store.edge import connect
from velodrome.store.encoding import Item, RegisteredJob, check_job, check_rounds, encode, microseconds
from velodrome.store.rankings import Shapes
from velodrome.store.searches import Searches
from velodrome.store.types import (
    Acceptance,
    InboxSize,
    Rejection,
    Room,
)

_ACCEPTANCES: dict[str, Acceptance] = {"A": "accepted", "D": "duplicate", "C": "conflict", "S": "superseded"}
_JOBS_REMEMBERED = 256
# Reading stops when there are this many bytes of reports: 500 reports of the largest size would not fit into the
# operator's memory.
ENOUGH_BYTES = 16 * 1024 * 1024
_INBOXES_AT_ONCE = 1000
_MOVED_BYTES = 1024 * 1024
# Honest runners don't fill an inbox with so many reports.
INBOX_REPORTS = 100_000
# What mark.lua returns in place of whether there was a mark.
_CHANGED, _GONE = -1, -2


class BoardTaken(StoreRefused):
    """The board belongs to the namespace `owner`, and the job is of another one."""

    def __init__(self, board: str, owner: str) -> None:
        self.board, self.owner = board, owner
        super().__init__(f"board {board} belongs to namespace {owner}")


class MarksChanged(StoreRefused):
    """Somebody else changed a mark of the board since the person saw them. Nothing was changed."""

    def __init__(self, board: str) -> None:
        super().__init__(f"somebody else changed a mark of board {board} in the meantime: look again, and then decide")


class Store(Searches):
    """Results in Redis 6.2 or newer, or Valkey; not in a Redis Cluster.

    Every method raises only errors of this project:

    - `StoreUnavailable`: Redis does not answer. Try again: every method may be repeated.
    - `StoreRefused`: Redis refuses, or holds something that Velodrome did not write. A person must act.
    - `SchemaUnsupported`: a newer Velodrome wrote what was asked for.

    When `accept` returns, the results are as safe as Redis makes them. With `appendfsync always` they survive a kill of
    the server and a loss of power. With `everysec` a loss of power loses the last second or two. So does a kill while
    the disk is so slow that the previous sync still runs, because Redis then answers before it has written.
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

    def register(
        self, job: JobInfo, place: int | None = None, *, owner: str | None = None, exclusive: bool = False
    ) -> None:
        """Stores a job. Only the first registration of a uid counts.

        The job is newer than all earlier jobs, whatever its time is. An imported job has a `place` of its own.

        The first job of a board decides to which namespace the board belongs: to the job's own one or, if it is given,
        to `owner` (to none, if that is empty).

        Raises:
            BoardTaken: the job is `exclusive`, and its board belongs to another namespace; nothing was stored.
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
            keys.BOARD_OWNERS,
        )
        created, given = microseconds(job.created_at), "" if place is None else place
        of = job.namespace if owner is None else owner
        facts = (job.uid, job.model_dump_json(), created, given, job.board, of, "1" if exclusive else "")
        answer = self._register(names, (*facts, *job.entries))
        if isinstance(answer, (bytes, str)):
            raise BoardTaken(job.board, text_of(answer))

    def keep_rounds(self, uid: str, rounds: Rounds) -> None:
        """Stores how far a race until decided is, unless a later look of it is stored. To do it again changes nothing.

        Raises:
            ValueError: they are no rounds of this job.
            StoreRefused: the job is not registered.
        """
        while True:
            job, text = self._registered(uid)
            check_rounds(job, rounds)
            self._jobs.pop(uid, None)
            if job.rounds is not None and (job.rounds == rounds or job.rounds.looks > rounds.looks):
                return
            if self._restates(text, job.model_copy(update={"rounds": rounds})):
                return

    def raise_search(self, raised: JobInfo) -> JobInfo:
        """Stores that the search of a registered job may have more trials than before. `raised` is that job, or the one
        of its search trials, as it is now. Returns what counts: a search that has ended stays as it is, and so does one
        that may have as many.

        Raises:
            StoreRefused: the job is not registered.
        """
        while True:
            job, text = self._registered(raised.uid)
            if job.searched is not None or job.most_searched >= raised.most_searched:
                return job
            self._jobs.pop(raised.uid, None)
            parts = {"document": raised.document, "trials": raised.trials, "repeats": raised.repeats}
            after = job.model_copy(update=parts)
            if self._restates(text, after):
                return after

    # Regressions

    def mark(self, mark: Mark, seen: int | None = None) -> bool:
        """Stores a mark and notes that in the board's log. Returns whether it was added.

        A pin or an acceptance takes the place of an earlier one with the same `field`. A run that is hidden stays as it
        is: of two people who hide it, the first one's reason counts.

        `seen` is the board's `marks_changed` when the person looked.

        Raises:
            MarksChanged: a mark of the board changed since then.
            StoreRefused: the job is not here any more.
        """
        return self._change(mark, "HSETNX" if isinstance(mark, Hiding) else "HSET", seen, deed_of(mark))

    def unmark(self, mark: Mark, seen: int | None = None) -> bool:
        """Removes a mark, and notes that in the board's log: `at` and `by` of the mark say when and who.

        Returns whether there was one. Raises as `mark` does.
        """
        return self._change(mark, "HDEL", seen, deed_of(mark, undone=True))

    def keep_mark(self, mark: Mark) -> Acceptance:
        """Stores an exported mark, unless this store already has one with the same `field`."""
        return "accepted" if self._change(mark, "HSETNX", None, None) else "duplicate"

    def keep_deed(self, deed: Deed) -> Acceptance:
        """Stores an exported line of a board's log."""
        known = self._redis.ask("HSET", keys.board_log(deed.board), deed.field, deed.model_dump_json())
        return "accepted" if known else "duplicate"

    def _change(
        self, mark: Mark, command: Literal["HSET", "HSETNX", "HDEL"], seen: int | None, deed: Deed | None
    ) -> bool:
        """Returns whether a mark was added or removed."""
        text = "" if command == "HDEL" else mark.model_dump_json()
        log = ("", "") if deed is None else (deed.field, deed.model_dump_json())
        names = (_marks_of(mark), keys.CHANGES, keys.board_log(mark.board), keys.job(mark.job_uid, "info"))
        known = "" if seen is None else seen
        done = self._mark(names, (command, mark.board, mark.field, text, known, keys.LOG_MOST, *log))
        if done == _CHANGED:
            raise MarksChanged(mark.board)
        if done == _GONE:
            raise StoreRefused(f"job {mark.job_uid} is not here any more, so nothing can be said of it")
        return bool(done)

    def keep_reading(self, board: str, version: str, parts: Mapping[str, bytes]) -> bool:
        """Stores the reading of a board with that `board_version`, unless the board changed. Returns whether it did."""
        names = (keys.board_reading(board), keys.CHANGES, keys.board_jobs(board), keys.board_entries(board))
        return bool(self._keep(names, (board, *readings.keeping(version, parts))))

    # The inbox

    def append(self, uid: str, report: ProgressReport | ResultReport) -> int:
        """Adds a report to the job's inbox. Returns how many reports wait there then.

        If `keys.INBOX_MAXIMUM` reports wait in the inbox, progress is dropped, and the answer is 0. A result is always
        added.
        """
        inbox = keys.inbox(uid)
        if isinstance(report, ProgressReport) and self._redis.ask("LLEN", inbox) >= keys.INBOX_MAXIMUM:
            return 0
        return int(self._redis.ask("RPUSH", inbox, report.model_dump_json()))

    def read_inbox(
        self, uid: str, after: int = 0, count: int = 500, enough: int = ENOUGH_BYTES
    ) -> list[tuple[int, bytes]]:
        """Up to `count` reports that were not collected, oldest first, as (number, JSON). Their numbers are larger than
        `after`.

        The first report of a job's inbox has the number 1, and a report keeps its number. The answer has a bounded
        size, whatever was appended: it has at most `keys.REPORT_BYTES` bytes and one more of each report, and it ends
        when it has `enough` bytes.
        """
        names = (keys.inbox(uid), keys.job(uid, "position"))
        first, *found = self._inbox(names, (after, count, keys.REPORT_BYTES + 1, enough))
        return list(enumerate(found, start=first))

    def take_over(self, uid: str) -> int:
        """Moves reports from the stream, which was the inbox in version 0.1.0, to the inbox. Returns how many.

        One call moves a bounded number of bytes: call again until it returns 0.
        """
        stream = keys.inbox_stream(uid)
        if not self._redis.ask("EXISTS", stream):
            return 0
        names = (stream, keys.inbox(uid), keys.job(uid, "position"))
        return int(self._stream(names, (keys.STREAM_FIELD, keys.REPORT_BYTES + 1, _MOVED_BYTES)))

    def began_with_a_stream(self, uid: str) -> bool:
        """Whether the job's first runners may be of version 0.1.0: it registered the job, or left a stream."""
        position, stream = self._redis.ask_all((("GET", keys.job(uid, "position")), ("EXISTS", keys.inbox_stream(uid))))
        return bool(stream) or position is None or b"-" in position

    def waiting(self, uids: Sequence[str], too_many: int = INBOX_REPORTS) -> dict[str, InboxSize]:
        """What waits in the inboxes of these jobs, by uid, without empty inboxes. One round trip for a thousand jobs.

        The memory of an inbox with `too_many` reports or more is not measured, because that takes long.
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
        """How much memory Redis uses, and its limit."""
        memory = self._redis.ask("INFO", "memory")
        return Room(int(memory["used_memory"]), int(memory.get("maxmemory", 0)) or None)

    def position(self, uid: str) -> int:
        """How many reports of the inbox were collected so far."""
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
        """Takes what was read from the inbox up to report number `position`, as a whole or not at all. Returns what
        each record became, in order. Records that did not come from the inbox have the position 0.

        - The first success of a trial is its result. The same result again is a duplicate, a different success is a
          conflict.
        - A success replaces a failure. Of the failures of two attempts, the one that finished last counts.
        - The same batch again changes nothing. The position never goes back: a batch from a collector that is behind
          adds no progress and no rejections.
        - The taken reports are removed from the inbox.

        Raises:
            ValueError: a record does not belong to the job, or the position is no number of reports; nothing was taken.
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
        """`accept` for records that are items already. If they are `imported`, their times say how new they are."""
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


def open_store(url: str, login: RedisLogin | None = None) -> Store:
    """A store at a redis://, rediss:// or unix:// URL. Nothing is sent before the first call.

    `login` is who connects, where the URL names nobody. Without it, the environment says who.

    Raises:
        StoreRefused: it is no such URL, or a file of the login can't be used.
    """
    return Store(connect(url, login))


def _marks_of(mark: Mark) -> str:
    if isinstance(mark, Hiding):
        return keys.job(mark.job_uid, "hidden")
    return keys.board_baselines(mark.board) if isinstance(mark, Baseline) else keys.board_acknowledgements(mark.board)


def _unregistered(uid: str, address: str) -> StoreRefused:
    return StoreRefused(f"Redis at {address} knows no job {uid!r}: register it before its results are accepted")

"""Sends a trial's reports to its job's inbox from a separate thread, so that no training step waits for Redis.

Old progress is worth little: at most a few reports wait, and the oldest are dropped first. The result must arrive: it
is written to the disk before it is sent, and it is sent until Redis has taken it or the deadline is over.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Self

import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoPermissionError
from redis.retry import Retry

from velodrome import keys
from velodrome.connections.clients import RedisLogin, build
from velodrome.results.records import Progress, ProgressReport, ResultReport, TrialResult
from velodrome_runner.log import complain

# The time limit of one attempt to reach Redis, and the pauses between attempts.
_TIMEOUT_SECONDS = 5.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 10.0
# Progress is sent at most this often: everything that waits by then, in one round trip.
_PROGRESS_SECONDS = 0.25
# Number of epochs that may wait while Redis is away. The result contains all of them.
_WAITING = 64


def connect(url: str, login: RedisLogin | None = None) -> redis.Redis:
    """A client that gives up quickly, because the publisher itself retries.

    Raises:
        ValueError: the URL is not one of a Redis, or a file of the login can't be used; the message quotes no password.
    """
    return build(
        url,
        login,
        socket_timeout=_TIMEOUT_SECONDS,
        socket_connect_timeout=_TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=0,
    )


class Publisher:
    """Sends one trial's reports to the inbox of the job `uid`; without a client it only spools the result.

    The reports show the trial's report `key`, if it has one.

    `progress` returns at once, whatever Redis does. `deliver` waits. As a context manager, it stops its thread at the
    end and drops progress that still waits.
    """

    def __init__(
        self,
        client: redis.Redis | None,
        uid: str,
        key: str | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        log: Callable[[str], None] = complain,
    ) -> None:
        self._client = client
        self._inbox = keys.inbox(uid)
        self._key = key
        self._clock = clock
        self._log = log
        self._waiting: deque[Progress] = deque(maxlen=_WAITING)
        self._work = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="velodrome-publisher", daemon=True)

    def __enter__(self) -> Self:
        if self._client is not None:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def progress(self, progress: Progress) -> None:
        """Takes a progress report within microseconds. Without an epoch's point, it replaces the last such report."""
        if progress.point is None:
            with contextlib.suppress(IndexError):  # empty, or the thread has just emptied it
                if self._waiting[-1].point is None:
                    self._waiting.pop()
        self._waiting.append(progress)
        self._work.set()

    def deliver(self, result: TrialResult, spool: Path, *, deadline: float) -> bool:
        """Writes the result to the file `spool`, then sends it until Redis takes it, for at most `deadline` seconds.

        Returns whether it was delivered. If so, the file is removed, else it stays. The result is sent even if the disk
        is full. Without a client, returns True once the file is written.
        """
        document = ResultReport(result=result, proof=self._key).model_dump_json()
        spooled = self._spool(document, spool)
        if self._client is None:
            return spooled
        # Only one thread uses the client at a time, and nothing is sent after the result.
        self._stop()
        if self._thread.is_alive():
            self._thread.join(2 * _TIMEOUT_SECONDS + 1)
        if not self._send_until(document, self._clock() + deadline):
            return False
        with contextlib.suppress(OSError):
            spool.unlink(missing_ok=True)
        return True

    def _spool(self, document: str, spool: Path) -> bool:
        try:
            write_durably(spool, document)
        except OSError as error:
            self._log(f"the result can't be kept in {spool}: {error.strerror or error}")
            return False
        return True

    def _stop(self) -> None:
        self._stopped.set()
        self._work.set()

    def _send_until(self, document: str, end: float) -> bool:
        pause = _FIRST_PAUSE
        logged = ""
        while True:
            problem = self._send([document])
            if problem is None:
                return True
            if problem != logged:
                self._log(f"the result is not delivered yet: {problem}")
                logged = problem
            left = end - self._clock()
            if left <= 0:
                self._log(f"the result is not delivered, and the deadline is over: {problem}")
                return False
            time.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _send(self, documents: list[str], *, within: int | None = None) -> str | None:
        """Appends the documents in one round trip if fewer than `within` reports wait. Returns an error, or None."""
        assert self._client is not None
        try:
            if within is not None and self._length() >= within:
                return f"{within:,} reports wait to be collected"
            # Appends all or none, and none of its arguments can harm reports of others.
            self._client.rpush(self._inbox, *documents)
        except redis.RedisError as error:
            return f"{type(error).__name__}: {error}"
        return None

    def _length(self) -> int:
        assert self._client is not None
        try:
            return int(self._client.llen(self._inbox))
        except NoPermissionError:  # this user may only append
            return 0

    def _run(self) -> None:
        """The thread: sends what waits, at most every `_PROGRESS_SECONDS`, and less often while Redis is away."""
        pending: deque[Progress] = deque(maxlen=_WAITING)
        pause, logged = _PROGRESS_SECONDS, False
        while True:
            if not pending:
                self._work.wait()
            self._work.clear()
            while self._waiting:
                pending.append(self._waiting.popleft())
            if self._stopped.is_set():
                return
            newest = pending[-1] if pending else None
            worth = [progress for progress in pending if progress.point is not None or progress is newest]
            documents = [ProgressReport(progress=progress, proof=self._key).model_dump_json() for progress in worth]
            problem = self._send(documents, within=keys.INBOX_MAXIMUM)
            if problem is None:
                pending.clear()
                pause, logged = _PROGRESS_SECONDS, False
            else:
                if not logged:
                    self._log(f"progress is not delivered, training goes on: {problem}")
                pause, logged = min(2 * pause, _LONGEST_PAUSE), True
            self._stopped.wait(pause)


def write_durably(path: Path, text: str) -> None:
    """Writes a file whole or not at all, even after a loss of power.

    Raises:
        OSError: the folder can't be written, or the disk is full; no file is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    flush_folder(path.parent)


def flush_folder(folder: Path) -> None:
    """Makes the names in a folder survive a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Locks between the processes of one machine. The kernel drops a lock when its holder ends, also after a crash."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass, field
from pathlib import Path

from velodrome.errors import LocalError
from velodrome.machine.home import Home, cannot_write


class FileLock:
    """An exclusive flock(2) on a file. The file also says in words who holds the lock.

    The file stays after the release: if it were removed, two processes could lock two files of the same name.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._descriptor is not None

    def acquire(self, holder: str, *, wait: bool = False) -> bool:
        """Takes the lock and writes `holder` into the file. False if another holds it and `wait` is False.

        Raises:
            LocalError: the file can't be made, or its file system does not support locks.
        """
        assert self._descriptor is None, f"{self.path} is held already"
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise cannot_write(self.path, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, holder.encode(), 0)
        except BlockingIOError:
            os.close(descriptor)
            return False
        except OSError as error:
            os.close(descriptor)
            raise cannot_write(self.path, error) from error
        self._descriptor = descriptor
        return True

    def holder(self) -> str:
        """The last holder that wrote its name into the file; empty if that is unknown."""
        try:
            return self.path.read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return ""

    def release(self) -> None:
        """Releases the lock. Does nothing if this object does not hold it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def lock_job(home: Home, uid: str, name: str) -> FileLock:
    """Takes the lock of one race. Only its holder runs the race's trials.

    Raises:
        LocalError: another process runs this race now.
    """
    lock = FileLock(home.make(home.job(uid)) / "lock")
    if not lock.acquire(f"process {os.getpid()}"):
        raise LocalError(
            f"{name} is being raced by {lock.holder() or 'another process'} right now: wait for it, "
            f"or stop it (kill -INT) and run again, which carries on where it stopped"
        )
    return lock


@dataclass
class Track:
    """The right to run trials. One race of the data folder has it at a time, so that races don't disturb each other.

    Races take turns: a race that waits for the track holds the lock of the queue. So a race that has left the track
    gets it back only after the race that waited.
    """

    home: Home
    holder: str
    _track: FileLock = field(init=False)
    _queue: FileLock = field(init=False)

    def __post_init__(self) -> None:
        folder = self.home.make(self.home.track)
        self._track = FileLock(folder / "track.lock")
        self._queue = FileLock(folder / "queue.lock")

    @property
    def held(self) -> bool:
        return self._track.held

    def try_enter(self) -> bool:
        """Tries once to get the track. If that fails, keeps the place in the queue. Call it again until it is True."""
        if self._track.held:
            return True
        if not self._queue.held and not self._queue.acquire(self.holder):
            return False
        if not self._track.acquire(self.holder):
            return False
        self._queue.release()
        return True

    def wanted(self) -> bool:
        """Whether another race waits. Then this one should finish its running trials and leave the track."""
        if not self._queue.acquire(self.holder):
            return True
        self._queue.release()
        return False

    def occupant(self) -> str:
        """Who has the track, in words."""
        return self._track.holder() or "another race"

    def why_waiting(self) -> str:
        """Why a race waits that has not got the track, for people."""
        return f"{self.occupant()} has the track: trials of different races take turns"

    def leave(self) -> None:
        """Gives up the track and the place in the queue."""
        self._track.release()
        self._queue.release()

"""Locks between the processes of one machine. The kernel drops them when their holder ends, however it ends."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass, field
from pathlib import Path

from velodrome.errors import LocalError
from velodrome.machine.home import Home, cannot_write


class FileLock:
    """An exclusive flock(2) on a file, which also says in words who holds it.

    The file stays when the lock goes: removing it would let two processes lock two files of one name.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds it."""
        return self._descriptor is not None

    def acquire(self, holder: str, *, wait: bool = False) -> bool:
        """Takes the lock, writing `holder` into the file; False where another holds it and `wait` is False.

        Raises:
            LocalError: the file can't be made, or its file system knows no locks.
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
        """Who wrote last that they hold it; empty where that is not known."""
        try:
            return self.path.read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return ""

    def release(self) -> None:
        """Lets it go; harmless where it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def lock_job(home: Home, uid: str, name: str) -> FileLock:
    """The lock of one race: only its holder runs trials of it.

    Raises:
        LocalError: another process races this job now.
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
    """The right to have trials running: one race of the data folder has it at a time, so that none disturbs another.

    Races take turns: who waits for the track holds the queue, so a race that let go of the track can't have it back
    before the one that waited.
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
        """One try at the track; keeps the place in the queue where it fails. Call it again until it is True."""
        if self._track.held:
            return True
        if not self._queue.held and not self._queue.acquire(self.holder):
            return False
        if not self._track.acquire(self.holder):
            return False
        self._queue.release()
        return True

    def wanted(self) -> bool:
        """Whether another race waits, so that this one should finish what runs and let go."""
        if not self._queue.acquire(self.holder):
            return True
        self._queue.release()
        return False

    def occupant(self) -> str:
        """Who has the track, in words."""
        return self._track.holder() or "another race"

    def leave(self) -> None:
        """Lets go of the track and of the place in the queue."""
        self._track.release()
        self._queue.release()

"""Velodrome's own Redis on this machine. It starts when a command needs it, and several commands share it.

Three locks hold the whole state, and the kernel keeps them correct through any crash:

- `users` is held shared by every process that uses the server.
- `server` is held by the server process itself, through a descriptor that it inherits, so that a folder never has two
  servers.
- `start` is held while a process decides whether to start or stop the server.

The last user stops the server. If all its users were killed, the server stays until the next command finds, uses and
stops it.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from velodrome.errors import LocalError
from velodrome.machine.files import tail
from velodrome.machine.home import Home, cannot_write, require_room
from velodrome.machine.processes.lock import FileLock
from velodrome.machine.redis.endpoint import choose_endpoint, configuration, endpoint_of
from velodrome.machine.redis.program import FORMAT_7, ServerProgram, find_server

# Loading a large file takes a while. A server that runs and does not answer for longer than this is stuck.
START_SECONDS = 120.0
STOP_SECONDS = 30.0
PING_SECONDS = 5.0
_POLL_SECONDS = 0.02


class OwnRedis:
    """The server of one data folder. Use it as a context manager: leaving it stops the server if nobody else uses it.

    Acknowledged writes survive a SIGKILL of the server and a loss of power: the server syncs them to the append-only
    file before it sends the reply.

    A command that only reads (`writes` is False) needs no room on the disk: the server then only loads its file, and
    writes a few lines to its log if it can.
    """

    def __init__(
        self, home: Home, find_program: Callable[[], ServerProgram] = find_server, *, writes: bool = True
    ) -> None:
        self._folder = home.make(home.redis)
        self._find_program = find_program
        self._writes = writes
        self._users: int | None = None

    def __enter__(self) -> Self:
        with self._deciding():
            self._users = self._open("users.lock")
            fcntl.flock(self._users, fcntl.LOCK_SH)
            try:
                self._ensure()
            except BaseException:
                self._leave()
                raise
        return self

    def __exit__(self, *_: object) -> None:
        assert self._users is not None, "the server is used as a context manager"
        with self._deciding():
            try:
                fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            else:
                self._shut_down()
            finally:
                self._leave()

    @property
    def url(self) -> str:
        """The URL for clients, with the password in it. It can change when the server is started again."""
        return endpoint_of(self._folder).url

    @property
    def log(self) -> Path:
        """The server's own log."""
        return self._folder / "redis.log"

    def ensure(self) -> bool:
        """Starts the server again if it has ended. Returns whether it started one.

        Raises:
            LocalError: the server can't be started, or it runs and does not answer.
        """
        with self._deciding():
            return self._ensure()

    def pid(self) -> int | None:
        """The id of the server's process; None if no server runs."""
        with self._deciding():
            return self._pid() if self._is_running() else None

    def _pid(self) -> int | None:
        try:
            return int((self._folder / "redis.pid").read_text())
        except (OSError, ValueError):
            return None

    def _leave(self) -> None:
        if self._users is not None:
            os.close(self._users)
            self._users = None

    @contextmanager
    def _deciding(self) -> Iterator[None]:
        lock = FileLock(self._folder / "start.lock")
        lock.acquire(f"process {os.getpid()}", wait=True)
        try:
            yield
        finally:
            lock.release()

    def _ensure(self) -> bool:
        if self._answers():
            return False
        said = self.log.stat().st_size if self.log.exists() else 0
        descriptor = self._open("server.lock")
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._launch(descriptor, said)
            started = True
        except BlockingIOError:
            started = False  # another process has started one: it loads its data, or it is stuck
        finally:
            os.close(descriptor)
        self._await_answer(said)
        return started

    def _launch(self, server_lock: int, said: int) -> None:
        if self._writes:
            require_room(self._folder)  # a Redis that can't append to its file exits
        program = self._find_program()
        refuse_newer_data(self._folder, program)
        launched = subprocess.run(
            [program.path, "-"],  # reads its configuration, which holds a password, from standard input
            input=configuration(self._folder, choose_endpoint(self._folder)),
            capture_output=True,
            pass_fds=[server_lock],
            # Redis does not start with a locale that this machine lacks.
            env={**os.environ, "LC_ALL": "C"},
            check=False,
        )
        if launched.returncode != 0:
            words = (launched.stdout + launched.stderr).decode(errors="replace") + tail(self.log, said)
            raise LocalError(f"{program.path} ({program.text}) can't start in {self._folder}: {words.strip()}")

    def _await_answer(self, said: int) -> None:
        """Waits for a server that this process or another one launched."""
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if not self._is_running():
                raise LocalError(
                    f"the Redis server of {self._folder} ended while it started. Its last words:\n"
                    f"{tail(self.log, said)}\n"
                    "Mend that folder, or start with an empty one: VELODROME_HOME=FOLDER"
                )
            if time.monotonic() > deadline:
                pid = self._pid()
                raise LocalError(
                    f"the Redis server of {self._folder} (process {pid}) runs but does not answer: see {self.log}; "
                    f"if it is stuck, end it (kill {pid}) and try again: what was accepted is on disk"
                )
            time.sleep(_POLL_SECONDS)

    def _shut_down(self) -> None:
        try:
            with connect(self.url) as client:
                client.shutdown(nosave=True)  # the append-only file has everything, and is synced at the end
        except (redis.RedisError, OSError):
            return  # it has ended already, or is so broken that only a person should end it
        deadline = time.monotonic() + STOP_SECONDS
        while self._is_running() and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)

    def _answers(self) -> bool:
        try:
            with connect(self.url) as client:
                return bool(client.ping())
        except (redis.RedisError, OSError):
            return False

    def _is_running(self) -> bool:
        descriptor = self._open("server.lock")
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        else:
            return False
        finally:
            os.close(descriptor)

    def _open(self, name: str) -> int:
        try:
            return os.open(self._folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise cannot_write(self._folder / name, error) from error


def connect(url: str) -> redis.Redis:
    """A client for one question. It waits a short time and does not try again."""
    return redis.Redis.from_url(
        url, socket_timeout=PING_SECONDS, socket_connect_timeout=PING_SECONDS, retry=Retry(NoBackoff(), 0)
    )


def refuse_newer_data(folder: Path, program: ServerProgram) -> None:
    """Refuses to start Redis 6 on data of Redis 7 or newer: it would ignore that data and start empty.

    Raises:
        LocalError: the folder has such data, and the program is too old for it.
    """
    if program.version < FORMAT_7 and (folder / "appendonlydir").exists():
        raise LocalError(
            f"the results in {folder} were written by version 7 or newer of the server, and this machine has only "
            f"{program.path} ({program.text}), which can't read them: install redis-server or valkey-server 7 or newer"
        )

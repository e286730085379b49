"""The warm starter of one machine: imports everything once, and forks a process for each trial.

Importing torch and related libraries takes longer than a small trial. Libraries that only some races need are imported
when the first trial of such a race is asked for. A fork after the imports takes milliseconds. It
is safe as long as this process has no other thread, computes nothing and never uses a GPU. So this process only reads
lines, forks and waits. Each trial is still a separate process, and its failure affects no other. If an import did use a
GPU, CUDA can't be used after a fork. Then the trial starts cold instead, which is slower but correct.

The protocol is one JSON document a line. In: `{"id": "...", "env": {...}, "log": "path"}`, where `env` overrides
this process's own environment, and the trial's output is appended to the file `log`. Out: `{"event": "ready"}`, then
`{"id", "event": "started", "pid"}` and `{"id", "event": "exited", "code"}` (or `"signal"`), and
`{"id", "event": "refused", "message"}` for an invalid line.

Each trial has a session of its own, and what it started ends with it: the exit of a trial is told once everything
below it has ended, also daemons (`velodrome.kernel.descendants`). So no process of one trial runs on into the next.

After the end of standard input, running trials finish. SIGTERM, or the death of the process that started this one, ends
them with SIGTERM. SIGINT is ignored: in a terminal Ctrl-C reaches every process, and the process that started this one
decides.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import selectors
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TextIO

from velodrome import keys
from velodrome.errors import VelodromeError
from velodrome.kernel.descendants import adopt, descendants, end_below
from velodrome_runner import threads

# What every trial needs. What the trials of one race need beside it is imported before the first of them: `_prepare`.
_WARM = ("redis", "velodrome_runner.trial")
# The time between SIGTERM and SIGKILL for a child.
_GRACE_SECONDS = 10.0
# The same for what a trial left running. The trial has ended, so nothing of theirs is still of use.
_LEFTOVER_SECONDS = 1.0
_HANDLED = (signal.SIGCHLD, signal.SIGTERM)
# How often to check, after standard input is closed, whether the process that started this one still exists.
_PARENT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Order:
    """A line of standard input."""

    id: str
    env: dict[str, str]
    log: Path

    @classmethod
    def parse(cls, line: bytes) -> Order:
        """Reads one line.

        Raises:
            ValueError: it is not a valid document; the message says what is wrong.
        """
        document = json.loads(line)
        if not isinstance(document, dict) or not isinstance(document.get("id"), str):
            raise ValueError('the line needs an "id" that is text')
        env, log = document.get("env", {}), document.get("log")
        if not isinstance(env, dict) or not all(isinstance(value, str) for value in env.values()):
            raise ValueError('"env" must map names to text')
        if not isinstance(log, str) or not log:
            raise ValueError('"log" must be the path of the file for the trial\'s output')
        return cls(document["id"], env, Path(log))


def serve(stdin: BinaryIO | None = None, stdout: BinaryIO | None = None) -> int:
    """Serves until standard input and all trials have ended. The exit code is 0, or 143 after SIGTERM."""
    # Numeric libraries may start threads when they are loaded, and threads don't survive a fork. Each trial sets its
    # own number of threads.
    threads.use(1)
    # Makes torch ask NVML whether there is a GPU. Asking CUDA would prevent every fork of this process from using CUDA.
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    parent = os.getppid()
    for name in _WARM:
        importlib.import_module(name)
    return Server(stdin or sys.stdin.buffer, stdout or sys.stdout.buffer, parent).run()


class Server:
    """The loop: reads lines, forks children, writes events. `parent` is the id of the server's parent process."""

    def __init__(self, stdin: BinaryIO, stdout: BinaryIO, parent: int) -> None:
        self._stdin = stdin
        self._stdout = stdout
        self._parent = parent
        self._children: dict[int, str] = {}
        self._own: frozenset[int] = frozenset()
        self._prepared: set[str] = set()
        self._terminated = False
        self._open = True
        self._rest = b""

    def run(self) -> int:
        """See `serve`."""
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_write, False)
        os.set_blocking(wake_read, False)
        # The signal reaches the pipe only if a handler exists. The loop decides what the signal means.
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._on_terminate)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        self._wake = (wake_read, wake_write)
        adopt()
        # What the imports started, which belongs to no trial.
        self._own = frozenset(process.pid for process in descendants(os.getpid()))
        with selectors.DefaultSelector() as selector:
            selector.register(wake_read, selectors.EVENT_READ)
            selector.register(self._stdin, selectors.EVENT_READ)
            self._tell(event="ready")
            while self._open or self._children:
                timeout = None if self._open else _PARENT_SECONDS
                events = [key.fileobj for key, _ in selector.select(timeout)]
                if wake_read in events:
                    os.read(wake_read, 4096)
                self._reap()
                if self._open and self._stdin in events and not self._read():
                    self._open = False
                    selector.unregister(self._stdin)
                if self._terminated or os.getppid() != self._parent:
                    self._terminate()
                    break
        return 128 + signal.SIGTERM if self._terminated else 0

    def _on_terminate(self, *_: object) -> None:
        self._terminated = True

    def _read(self) -> bool:
        """Reads the available lines. False at the end of the input."""
        chunk = os.read(self._stdin.fileno(), 65536)
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            if line.strip():
                self._obey(line)
        return bool(chunk)

    def _obey(self, line: bytes) -> None:
        try:
            order = Order.parse(line)
            order.log.parent.mkdir(parents=True, exist_ok=True)
            log = os.open(order.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except (ValueError, OSError) as error:
            with contextlib.suppress(ValueError, AttributeError):
                self._tell(id=json.loads(line).get("id"), event="refused", message=str(error))
                return
            self._tell(id=None, event="refused", message=f"the line is no JSON document: {error}")
            return
        self._prepare(order)
        server = os.getpid()
        # A signal that arrives before the child has its own handlers would count as one for this process, and be lost.
        signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
        try:
            pid = os.fork()
            if pid == 0:
                os._exit(self._child(order, log, server))
        except OSError as error:  # too many processes, or no memory for one more
            self._tell(id=order.id, event="refused", message=f"no process could be started: {error.strerror}")
            return
        finally:
            os.close(log)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
        self._children[pid] = order.id
        self._tell(id=order.id, event="started", pid=pid)

    def _prepare(self, order: Order) -> None:
        """Imports what the trials of the order's race need, so that each of their forks has it.

        Whatever is wrong with the race or with a library is left to the trial, which reports it. Code of entries is
        never imported here.
        """
        spec = order.env.get(keys.ENV_SPEC, "")
        if spec in self._prepared or not Path(spec).is_file():
            return
        self._prepared.add(spec)
        if order.env.get(keys.ENV_PUSHGATEWAY) or os.environ.get(keys.ENV_PUSHGATEWAY):
            importlib.import_module("prometheus_client")
        with contextlib.suppress(VelodromeError, ValueError, ImportError, OSError):
            for name in _needed(Path(spec)):
                importlib.import_module(name)
        # What an import started runs on for as long as this process.
        self._own |= {process.pid for process in descendants(os.getpid(), self._children)}

    def _child(self, order: Order, log: int, server: int) -> int:
        """The forked process: it behaves like `python -m velodrome_runner` with that environment."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGTERM, _leave)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
            os.setsid()
            _die_with(server)
            for descriptor in self._wake:
                os.close(descriptor)
            null = os.open(os.devnull, os.O_RDONLY)
            for source, target in ((null, 0), (log, 1), (log, 2)):
                os.dup2(source, target)
            sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - descriptors, not paths
            sys.stdout, sys.stderr = _writer(1), _writer(2)
            os.environ.update(order.env)
            if _cuda_is_spoilt():
                os.execv(sys.executable, [sys.executable, "-m", "velodrome_runner"])  # noqa: S606 - no shell is needed
            from velodrome_runner.process import run_one

            code = run_one()
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except BaseException:
            # Whatever the error is, the child must not continue as a second server.
            import traceback

            traceback.print_exc()
        finally:
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
                sys.stderr.flush()
        return code

    def _reap(self) -> None:
        for pid in list(self._children):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                self._exited(pid, status)

    def _exited(self, pid: int, status: int) -> None:
        name = self._children.pop(pid)
        # What runs below this process and below no trial is what trials that ended have left to it.
        end_below(os.getpid(), grace_seconds=_LEFTOVER_SECONDS, without=self._own | self._children.keys())
        code = os.waitstatus_to_exitcode(status)
        if code < 0:
            self._tell(id=name, event="exited", signal=-code)
        else:
            self._tell(id=name, event="exited", code=code)

    def _terminate(self) -> None:
        """Ends the children: with SIGTERM, and later with SIGKILL those that still exist."""
        import time

        for number, seconds in ((signal.SIGTERM, _GRACE_SECONDS), (signal.SIGKILL, _GRACE_SECONDS)):
            for pid in self._children:
                os.kill(pid, number)
            end = time.monotonic() + seconds
            while self._children and time.monotonic() < end:
                self._reap()
                time.sleep(0.02)

    def _tell(self, **event: object) -> None:
        try:
            self._stdout.write(json.dumps(event).encode() + b"\n")
            self._stdout.flush()
        except BrokenPipeError:  # nobody reads the events any more
            self._terminated = True


def _needed(spec: Path) -> list[str]:
    """The modules that the trials of a race need, each once."""
    from velodrome.plan import plan
    from velodrome.spec import parse_jobs
    from velodrome_runner.measuring import libraries

    (job,) = parse_jobs(spec.read_text(encoding="utf-8"), str(spec))
    configs = plan(job).configs.values()
    return list(dict.fromkeys(name for config in configs if config.model for name in libraries(config)))


def _cuda_is_spoilt() -> bool:
    """Whether this process was forked from one that had started CUDA, so that CUDA can't be used here."""
    torch = sys.modules.get("torch")
    return torch is not None and bool(torch.cuda._is_in_bad_fork())  # noqa: SLF001 - torch has no other word for it


def _leave(number: int, _: object) -> None:
    """Ends a child that gets a signal to end before it has begun."""
    os._exit(128 + number)


def _writer(descriptor: int) -> TextIO:
    """A text stream that accepts whatever a model prints, and writes each line at once."""
    return open(descriptor, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)


def _die_with(parent: int) -> None:
    """Makes Linux send SIGTERM to this process when `parent` dies, however it dies."""
    if sys.platform != "linux":
        return
    import ctypes

    pr_set_pdeathsig = 1
    ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, signal.SIGTERM)
    if os.getppid() != parent:  # the parent died before this call
        raise SystemExit(128 + signal.SIGTERM)

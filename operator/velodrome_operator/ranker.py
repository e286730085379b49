"""`python -m velodrome_operator.ranker`: reads boards and judges races in a process of its own.

Python runs one thread at a time. While a thread of the operator computes, whatever was just applied waits for it at
each of its steps. So the operator asks this process, which has a lower priority. It starts with the first question, and
ends after a quiet minute: an operator of quiet races has neither its memory nor its libraries. It also ends if its
parent does.

Questions and answers are pickled, with their length before them. Both processes are this program.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle  # between a parent and its own child alone # nosec B403
import struct
import subprocess
import sys
import threading
from dataclasses import dataclass
from typing import IO, Any, Literal

from velodrome import keys
from velodrome.errors import TryAgain
from velodrome.metrics.catalogue import MetricKey
from velodrome.store import Store
from velodrome.store.edge import connect
from velodrome_operator.searcher import Searcher

# load: nothing, but what answers is imported. board: the latest of each entry of a board, whose reading is then kept.
# comparisons: how each value of a job compares with its baseline.
# standings: how a job's own entries rank by each of some metric keys.
# rounds: how far a race until decided is.
# search: how far a search is; new trials are suggested for its lanes.
Question = Literal["load", "board", "comparisons", "standings", "rounds", "search"]

QUIET_SECONDS = 60.0
_LENGTH = struct.Struct(">Q")
_NICENESS = 5


@dataclass(frozen=True, slots=True)
class Beside:
    """The processes beside the operator: one for what `races` ask, and one for their `searches`. Without one, threads
    of the operator answer.
    """

    races: Ranker | None = None
    searches: Ranker | None = None


class RankerLost(TryAgain):
    """The process that ranks ended before it answered."""

    reason = "RankerLost"


def answer(store: Store, question: Question, name: str, about: Any = (), searcher: Searcher | None = None) -> Any:
    """The answer to a question about a board or a job. Raises as the store does.

    Standings are `about` metric keys. A search is about lanes, and the `searcher` remembers it.
    """
    # SciPy takes a second and 25 MiB, so it is imported only when there is something to judge.
    match question:
        case "load":
            import velodrome.board.kept  # noqa: F401
        case "board":
            from velodrome.board.kept import keep

            return keep(store, name)
        case "comparisons":
            from velodrome.trends.regressions import judge

            return judge(store, name)
        case "standings":
            from velodrome.board.reading import read_job

            return read_job(store, name, [MetricKey.parse(key) for key in about])
        case "rounds":
            from velodrome.board.rounds import read_rounds
            from velodrome.board.takeover import plan_of

            job = store.job(name)
            planned = None if job is None else plan_of(job)
            return None if planned is None else read_rounds(store, planned, name)
        case "search":
            return (searcher or Searcher(store)).look(name, about)
    return None


class Ranker:
    """The process, as the operator sees it. It answers one question after the other. A thread waits for each answer.

    It reads the Redis at `url`. `quiet` is how many seconds after the last answer it ends.
    """

    def __init__(self, url: str, quiet: float = QUIET_SECONDS) -> None:
        self._url = url
        self._quiet = quiet
        self._process: subprocess.Popen[bytes] | None = None
        self._turn = asyncio.Lock()
        self._starting = threading.Lock()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def pid(self) -> int | None:
        """The id of the process. None while there is none."""
        return None if self._process is None else self._process.pid

    async def ask(self, question: Question, name: str = "", about: Any = ()) -> Any:
        """The answer of `answer`.

        Raises:
            RankerLost: the process ended meanwhile. The next question starts another one.
            Exception: what `answer` raised there.
        """
        async with self._turn:
            if self._timer is not None:
                self._timer.cancel()
            given_up = threading.Event()
            try:
                failed, found = await asyncio.to_thread(self._exchange, (question, name, about), given_up)
            except (EOFError, OSError) as error:
                raise RankerLost(
                    f"the process that ranks ended by {self.end()} at {question} {name}; if it is killed again and "
                    "again, raise the memory limit of the operator"
                ) from error
            except BaseException:  # cancelled in between: the next answer would be that to this question
                given_up.set()  # the thread goes on, and must start no process after this
                self.end()
                raise
            self._timer = asyncio.get_running_loop().call_later(self._quiet, self.end)
        if failed:
            raise found
        return found

    def end(self) -> int | None:
        """Ends the process, if there is one. Returns its exit code. A question that waits gets no answer."""
        with self._starting:
            process, self._process = self._process, None
        if self._timer is not None:
            self._timer.cancel()
        if process is None:
            return None
        process.kill()  # it holds nothing that must be written
        code = process.wait()
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            with contextlib.suppress(OSError):  # what it had not read is lost
                stream.close()
        return code

    def _exchange(self, question: tuple[Question, str, Any], given_up: threading.Event) -> tuple[bool, Any]:
        """Asks, in a thread, and waits for the answer. Raises EOFError if nobody wants it any more."""
        with self._starting:
            if given_up.is_set():
                raise EOFError
            process = self._process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(_packed(question))
        process.stdin.flush()
        (size,) = _LENGTH.unpack(_exactly(process.stdout, _LENGTH.size))
        found: tuple[bool, Any] = pickle.loads(_exactly(process.stdout, size))  # noqa: S301 - our own process # nosec B301
        return found

    def _start(self) -> subprocess.Popen[bytes]:
        line = [sys.executable, "-m", "velodrome_operator.ranker"]
        environment = {**os.environ, keys.ENV_REDIS_URL: self._url}  # its password is for no list of processes
        return subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)


def _exactly(stream: IO[bytes], size: int) -> bytes:
    """So many bytes. Raises EOFError if there are fewer."""
    found = stream.read(size)
    if len(found) < size:
        raise EOFError
    return found


def _packed(item: object) -> bytes:
    text = pickle.dumps(item, protocol=pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(text)) + text


def serve(store: Store, questions: IO[bytes], answers: IO[bytes]) -> None:
    """Answers questions until there are no more. Whatever goes wrong with one is its answer."""
    searcher = Searcher(store)
    while head := questions.read(_LENGTH.size):
        question, name, about = pickle.loads(questions.read(_LENGTH.unpack(head)[0]))  # noqa: S301 - our own parent # nosec B301
        try:
            found: tuple[bool, Any] = False, answer(store, question, name, about, searcher)
        except Exception as error:
            found = True, _travelling(error)
        answers.write(_packed(found))
        answers.flush()


def _travelling(error: Exception) -> Exception:
    """The error, if it arrives as it is; else one that has its words."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - our own words # nosec B301
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def main() -> None:
    """Serves the parent over standard input and output."""
    os.nice(_NICENESS)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what anything prints must not get between answers
    with Store(connect(os.environ[keys.ENV_REDIS_URL])) as store, contextlib.suppress(BrokenPipeError):
        serve(store, sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()

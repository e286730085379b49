"""The attempts at trials. Each has a folder with its log, its spool, and the proof that an executor here began it.

The folders stay when the executor is killed. So the next executor knows which reports in the inbox are honest, and
finds results that were measured but not delivered.
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from velodrome.errors import LocalError
from velodrome.machine.files import tail, write_private
from velodrome.machine.home import cannot_write
from velodrome.results.records import LOG_TAIL_LIMIT, REPORT, Observed, ResultReport, utc


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at one trial. `began` is a POSIX time, `number` counts the attempts at this trial from 0.

    `concurrent` is the number of trials that may run at once, this one included; None for attempts before version 0.2.
    """

    name: str
    index: int
    number: int
    began: float
    folder: Path
    concurrent: int | None = None

    @property
    def log(self) -> Path:
        """What the trial's process wrote to its standard output and error."""
        return self.folder / "log.txt"

    def log_tail(self) -> str:
        """The end of the log, for a record."""
        return tail(self.log, limit=LOG_TAIL_LIMIT)


class Attempts:
    """The attempts at one job's trials, by this executor and by earlier ones."""

    def __init__(self, folder: Path, node: str, concurrent: int | None = None) -> None:
        self._folder = folder
        self._concurrent = concurrent
        self._node = node
        self._known: dict[str, Attempt] = {}
        self._seconds: dict[str, float] = {}
        self._ended: dict[str, float] = {}
        self._numbers: dict[int, int] = {}
        for attempt in _noted(folder):
            self._learn(attempt)

    def begin(self, index: int, now: float) -> Attempt:
        """Begins a new attempt at a trial.

        Raises:
            LocalError: the attempt's folder can't be made.
        """
        number = self._numbers.get(index, 0)
        name = f"{index}-{number}-{secrets.token_hex(4)}"
        attempt = Attempt(name, index, number, now, self._folder / name, self._concurrent)
        try:
            attempt.folder.mkdir(mode=0o700, parents=True)
        except OSError as error:
            raise cannot_write(attempt.folder, error) from error
        note = {"index": index, "number": number, "began": now, "concurrent": self._concurrent}
        write_private(attempt.folder / "attempt.json", json.dumps(note).encode())
        self._learn(attempt)
        return attempt

    def ended(self, attempt: Attempt, now: float, seconds: float | None = None) -> None:
        """Notes when the process ended, and its run time by the monotonic clock (`seconds`) if that is known."""
        self._ended[attempt.name] = now
        self._seconds[attempt.name] = max(0.0, now - attempt.began) if seconds is None else seconds

    def observe(self, index: int, name: str) -> Observed | None:
        """What this machine saw of an attempt; None if no executor of this folder began it for that trial."""
        attempt = self._known.get(name)
        if attempt is None or attempt.index != index:
            return None
        ended = self._ended.get(name)
        return Observed(
            executor="local",
            node=self._node,
            run_seconds=self._seconds.get(name),
            retries=attempt.number,
            started_at=utc(attempt.began),
            finished_at=None if ended is None else utc(ended),
            concurrent_trials=attempt.concurrent,
        )

    def spooled(self) -> list[Path]:
        """The files of results that runners could not deliver, oldest attempt first."""
        known = sorted(self._known.values(), key=lambda attempt: attempt.began)
        return [path for attempt in known for path in sorted(attempt.folder.glob("result-*.json"))]

    def spooled_by(self, attempt: Attempt) -> list[Path]:
        """The same for one attempt."""
        return sorted(attempt.folder.glob("result-*.json"))

    def discard(self, attempt: Attempt) -> None:
        """Removes the folder of an attempt whose result is safe. This executor still knows the attempt."""
        shutil.rmtree(attempt.folder, ignore_errors=True)

    def discard_all(self, indices: set[int]) -> None:
        """Removes the folders of every attempt at these trials."""
        for attempt in self._known.values():
            if attempt.index in indices:
                self.discard(attempt)

    def _learn(self, attempt: Attempt) -> None:
        self._known[attempt.name] = attempt
        self._numbers[attempt.index] = max(self._numbers.get(attempt.index, 0), attempt.number + 1)


def read_spool(path: Path) -> ResultReport | None:
    """The result in a spool file. None if it holds no result: then the file is kept as `NAME.corrupt`, for a person.

    Raises:
        LocalError: the file can't be read.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise LocalError(f"{path}: a result waits in it and it can't be read ({error.strerror}): mend that") from error
    try:
        report = REPORT.validate_json(text)
    except ValueError:
        report = None
    if isinstance(report, ResultReport):
        return report
    path.replace(path.with_name(path.name + ".corrupt"))
    return None


def _noted(folder: Path) -> Iterator[Attempt]:
    for path in folder.glob("*/attempt.json"):
        try:
            note = json.loads(path.read_bytes())
            index, number = int(note["index"]), int(note["number"])
            began = utc(float(note["began"])).timestamp()  # raises for an impossible time
            concurrent = None if note.get("concurrent") is None else int(note["concurrent"])
            yield Attempt(path.parent.name, index, number, began, path.parent, concurrent)
        except (OSError, ValueError, KeyError, TypeError, OverflowError):
            continue  # a crash cut the note short: no process had started yet

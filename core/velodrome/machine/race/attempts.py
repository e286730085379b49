"""Every try at a trial, each with a folder of its own: its log, its spool, and the proof that this executor began it.

The folders outlive a killed executor, so that the next one knows which reports in the inbox are honest and finds what
was measured but never delivered.
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
    """One try at one trial. `began` is a POSIX time, `number` counts the tries at this trial from 0.

    `concurrent` is how many trials may run at once beside it, itself included; None for tries before version 0.2.
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
    """The tries at one job's trials, of this executor and of those before it."""

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
        """A new try at a trial.

        Raises:
            LocalError: its folder can't be made.
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
        """Notes when its process was gone, and how long it was there by a clock that does not step, where known."""
        self._ended[attempt.name] = now
        self._seconds[attempt.name] = max(0.0, now - attempt.began) if seconds is None else seconds

    def observe(self, index: int, name: str) -> Observed | None:
        """What this machine saw of a try; None where no executor of this folder made such a try at that trial."""
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
        """Results that runners wrote down and could not deliver, oldest try first."""
        known = sorted(self._known.values(), key=lambda attempt: attempt.began)
        return [path for attempt in known for path in sorted(attempt.folder.glob("result-*.json"))]

    def spooled_by(self, attempt: Attempt) -> list[Path]:
        """The same for one try."""
        return sorted(attempt.folder.glob("result-*.json"))

    def discard(self, attempt: Attempt) -> None:
        """Removes the folder of a try whose result is safe; the try stays known to this executor."""
        shutil.rmtree(attempt.folder, ignore_errors=True)

    def discard_all(self, indices: set[int]) -> None:
        """Removes the folders of every try at these trials."""
        for attempt in self._known.values():
            if attempt.index in indices:
                self.discard(attempt)

    def _learn(self, attempt: Attempt) -> None:
        self._known[attempt.name] = attempt
        self._numbers[attempt.index] = max(self._numbers.get(attempt.index, 0), attempt.number + 1)


def read_spool(path: Path) -> ResultReport | None:
    """The result in a spool file; None where it is no such thing: then it is set aside as `NAME.corrupt`, for a person.

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
            began = utc(float(note["began"])).timestamp()  # a time that can't be is refused
            concurrent = None if note.get("concurrent") is None else int(note["concurrent"])
            yield Attempt(path.parent.name, index, number, began, path.parent, concurrent)
        except (OSError, ValueError, KeyError, TypeError, OverflowError):
            continue  # torn by a crash while it was made: nothing had started then

"""How a runner process reports on its trial: progress, failure, exit code. Does not import torch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from velodrome import keys
from velodrome.plan import Trial
from velodrome.results.records import LOG_TAIL_LIMIT, EpochPoint, Phase, Progress, TrialResult, utc
from velodrome_runner import interruption
from velodrome_runner.live import Pusher
from velodrome_runner.log import Tail, say
from velodrome_runner.publish import Publisher
from velodrome_runner.settings import Settings

# Number of epochs in a result's curves: well below the collector's limit, and more than a screen has pixels.
MOST_POINTS = 2000
_MESSAGE = 4096  # length of a failure's message: the log has the rest


@dataclass(frozen=True, slots=True)
class TrainingState:
    """The progress of training: the used `fraction` of the budget, and the `point` of an epoch that just ended."""

    epoch: int
    fraction: float
    loss: float
    samples_per_second: float
    point: EpochPoint | None = None

    @classmethod
    def at(cls, point: EpochPoint, epochs: int) -> TrainingState:
        """The end of an epoch, for a budget of this many epochs."""
        return cls(point.epoch, min(1.0, point.epoch / epochs), point.train_loss, point.samples_per_second, point)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a trial failed, in the words of its record. `final`: another attempt can't help."""

    reason: str
    message: str
    final: bool = False

    def at(self, place: str) -> Failure:
        """The same with the place at the end of its message, which is cut before that where it is too long."""
        return Failure(self.reason, self.message[: _MESSAGE - len(place)] + place, self.final)


def exit_code(failure: Failure | None, *, delivered: bool) -> int:
    """The exit code of a runner process, from `velodrome.keys`."""
    if not delivered:
        return keys.EXIT_UNDELIVERED
    if failure is None:
        return keys.EXIT_OK
    return keys.EXIT_CONFIGURATION if failure.final else keys.EXIT_FAILED


class Reporter:
    """Writes each step of a trial to the log, and passes it to the publisher and to the pusher of live metrics.

    `check` may raise to end the trial while it trains. `points` are those of the epochs so far. `clock` gives monotonic
    seconds.
    """

    def __init__(
        self,
        trial: Trial,
        settings: Settings,
        publisher: Publisher,
        pusher: Pusher,
        wall: Callable[[], float],
        check: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._trial = trial
        self._settings = settings
        self._publisher = publisher
        self._pusher = pusher
        self._wall = wall
        self._check = check
        self._clock = clock
        self._since: tuple[Phase, float] | None = None
        self._seconds: dict[Phase, float] = {}
        self.points: list[EpochPoint] = []

    @property
    def epochs(self) -> int:
        """The epochs of the budget."""
        return self._trial.config.budget.max_epochs

    def phases(self) -> dict[Phase, float]:
        """The seconds that the trial has spent in each phase."""
        if self._since is not None:
            self._enter(self._since[0])
        return dict(self._seconds)

    def _enter(self, phase: Phase) -> None:
        now = self._clock()
        if self._since is not None:
            before, since = self._since
            self._seconds[before] = self._seconds.get(before, 0.0) + now - since
        self._since = phase, now

    def __call__(self, phase: Phase, moment: TrainingState | None) -> None:
        interruption.check()
        self._enter(phase)
        epochs = self.epochs
        say(self._line(phase, moment, epochs))
        if not self._settings.ranks.leads:
            return
        done = phase in ("Optimizing", "Evaluating", "Timing", "Finished")
        progress = Progress(
            job_uid=self._settings.job_uid,
            index=self._trial.index,
            attempt=self._settings.attempt,
            phase=phase,
            epoch=moment.epoch if moment else 0,
            epochs=epochs,
            fraction=min(1.0, moment.fraction) if moment else float(done),
            loss=moment.loss if moment else None,
            samples_per_second=moment.samples_per_second if moment else None,
            at=utc(self._wall()),
            point=moment.point if moment else None,
        )
        self._publisher.progress(progress)
        self._pusher.show(progress)
        if moment is not None and moment.point is not None:
            self.points.append(moment.point)
        if phase == "Training":
            self._check()

    def _line(self, phase: Phase, moment: TrainingState | None, epochs: int) -> str:
        if moment is None:
            trial = self._trial
            return f"{phase}: {trial.entry}, seed {trial.seed}" if phase == "Starting" else f"{phase}"
        line = f"epoch {moment.epoch}/{epochs}: loss {moment.loss:.4f}, {moment.samples_per_second:,.0f} samples/s"
        if moment.point is not None:
            line += "".join(f", {name} {value:.4f}" for name, value in sorted(moment.point.validation.items()))
        return line


def who(trial: Trial, settings: Settings, code: str | None, started: float, finished: float) -> dict[str, object]:
    """The fields of a result that don't depend on how the trial ended; `code` is the digest of the entry's own code."""
    return {
        "job_uid": settings.job_uid,
        "index": trial.index,
        "entry": trial.entry,
        "repeat": trial.repeat,
        "seed": trial.seed,
        "trial_id": trial.id,
        "attempt": settings.attempt,
        "code": code,
        "started_at": utc(started),
        "finished_at": utc(finished),
    }


def thinned(curves: Sequence[EpochPoint], best_epoch: int | None, most: int = MOST_POINTS) -> tuple[EpochPoint, ...]:
    """The points of at most about `most` epochs, evenly spread, including the first, the last and the best.

    Otherwise a long training would make a report that is too large to be accepted.
    """
    if len(curves) <= most:
        return tuple(curves)
    step = math.ceil(len(curves) / most)
    kept = {1, len(curves), best_epoch or 1, *range(1, len(curves) + 1, step)}
    return tuple(point for point in curves if point.epoch in kept)


def failed(failure: Failure, tail: Tail, who: dict[str, object], points: Sequence[EpochPoint] = ()) -> TrialResult:
    """The result of a trial that failed, with the end of its log, and the epochs that it trained if they are given."""
    return TrialResult.model_validate(
        who
        | {
            "outcome": "Failed",
            "reason": failure.reason,
            "message": _writable(failure.message)[:_MESSAGE],
            "log_tail": _writable(tail.text())[-2 * LOG_TAIL_LIMIT :],
            "curves": thinned(points, None),
            "epochs": points[-1].epoch if points else None,
        }
    )


def _writable(text: str) -> str:
    """The text with escapes for what UTF-8 can't encode, such as invalid bytes in a file's name."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")

"""What an entry's trials of one job did: their curves as a band over the seeds, their matrices, and their times."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Literal

from velodrome.results.confusion import Confusion, confusion_of

if TYPE_CHECKING:
    from velodrome.results.records import EpochPoint, JobInfo, TrialRecord
    from velodrome.store import Reader

MOST_SEEDS = 20
TRAINING_LOSS = "training loss"
CurveAxis = Literal["epoch", "seconds", "samples"]


@dataclass(frozen=True, slots=True)
class EntryDetails:
    """The entry's finished trials of the job, the first `MOST_SEEDS`, and the curves of each, by seed."""

    entry: str
    job: JobInfo
    records: tuple[TrialRecord, ...]
    curves: Mapping[int, tuple[EpochPoint, ...]]

    @property
    def confusion(self) -> Confusion | None:
        """The sum of the trials' confusion matrices."""
        return confusion_of(self.records)

    @property
    def samples_per_epoch(self) -> int | None:
        """How many samples an epoch trains on, if a trial knows."""
        known = (one.result.dataset.train_samples for one in self.records if one.result.dataset is not None)
        return next(known, None)


@dataclass(frozen=True, slots=True)
class BandPoint:
    """A curve at one epoch: its place on the axis, and the mean, the least and the largest value of `seeds` seeds."""

    at: float
    mean: float
    low: float
    high: float
    seeds: int


@dataclass(frozen=True, slots=True)
class TimeShare:
    """How long the entry's trials took for one thing on average, in seconds."""

    what: str
    seconds: float


def read_details(reader: Reader, job: JobInfo, entry: str, *, curves: bool = True) -> EntryDetails:
    """What the entry's trials of this job did. Raises as the store does."""
    position = job.entries.index(entry)
    finished = sorted(index for index in reader.trials(job.uid) if index % len(job.entries) == position)[:MOST_SEEDS]
    records = [one for one in reader.some_trials(job.uid, finished) if one is not None]
    drawn = {one.result.seed: reader.curves(job.uid, one.result.index) for one in records} if curves else {}
    return EntryDetails(entry, job, tuple(records), drawn)


def series_of(details: Iterable[EntryDetails]) -> list[str]:
    """The names of the curves that there are: the training loss, and each validation metric."""
    points = [point for one in details for curve in one.curves.values() for point in curve[:1]]
    return [TRAINING_LOSS, *dict.fromkeys(name for point in points for name in point.validation)] if points else []


def band(details: EntryDetails, series: str, axis: CurveAxis) -> list[BandPoint]:
    """The curve over the seeds, epoch by epoch. Empty where an axis of samples has no number of samples. Pure."""
    size = details.samples_per_epoch
    if axis == "samples" and size is None:
        return []
    by_epoch: dict[int, list[tuple[float, float]]] = {}
    for curve in details.curves.values():
        for point in curve:
            value = point.train_loss if series == TRAINING_LOSS else point.validation.get(series)
            if value is not None:
                by_epoch.setdefault(point.epoch, []).append((point.seconds, value))
    found = []
    for epoch, pairs in sorted(by_epoch.items()):
        values = [value for _, value in pairs]
        at = float(epoch) if axis == "epoch" else float(epoch * (size or 0))
        if axis == "seconds":
            at = fmean(seconds for seconds, _ in pairs)
        found.append(BandPoint(at, fmean(values), min(values), max(values), len(values)))
    return found


def times(records: Sequence[TrialRecord]) -> list[TimeShare]:
    """Where the time of these trials goes, as far as it was observed. Pure."""
    queued = [one.observed.queued_seconds for one in records if one.observed.queued_seconds is not None]
    parts = []
    if queued:
        parts.append(TimeShare("waiting for its turn", fmean(queued)))
    both = [
        (one.observed.run_seconds, one.result.metrics["train_seconds"])
        for one in records
        if one.observed.run_seconds is not None and "train_seconds" in one.result.metrics
    ]
    if both:
        trained, ran = fmean(train for _, train in both), fmean(run for run, _ in both)
        parts += [
            TimeShare("training", trained),
            TimeShare("starting, loading, evaluating and timing", max(0.0, ran - trained)),
        ]
    return parts


def per_class(found: Confusion) -> dict[str, float]:
    """By class, the share of its test samples that were recognised (recall). Classes without samples are left out."""
    return {
        name: row[place] / sum(row)
        for place, (name, row) in enumerate(zip(found.classes, found.counts, strict=True))
        if sum(row)
    }

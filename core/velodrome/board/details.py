"""What an entry's trials of one job did: their curves as a band over the seeds, their matrices, and their times."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from velodrome.results.confusion import Confusion, confusion_of
from velodrome.units import mean_of

if TYPE_CHECKING:
    from velodrome.results.records import EpochPoint, JobInfo, Phase, TrialRecord
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
        at = float(min(epoch if axis == "epoch" else epoch * (size or 0), _LAST))
        if axis == "seconds":
            at = mean_of([seconds for seconds, _ in pairs])
        found.append(BandPoint(at, mean_of(values), min(values), max(values), len(values)))
    return found


# The last that a chart can hold; a store may hold any number.
_LAST = 2**53


def times(records: Sequence[TrialRecord]) -> list[TimeShare]:
    """Where the time of these trials goes, as far as it was observed. Pure."""
    spent: dict[str, list[float]] = {}
    for record in records:
        for what, seconds in _shares(record):
            spent.setdefault(what, []).append(seconds)
    order = [what for what in _ORDER if what in spent]
    return [TimeShare(what, mean_of(spent[what])) for what in order]


_PHASES: Mapping[Phase, str] = {
    "Loading": "loading data",
    "Training": "training and validating",
    "Optimizing": "optimizing the model",
    "Evaluating": "evaluating",
    "Timing": "timing inference",
}
_WAITING, _PULLING, _STARTING = "waiting for its turn", "getting its image", "starting and ending"
_TRAINING, _REST = "training", "starting, loading, evaluating and timing"
_ORDER = (_WAITING, _PULLING, _STARTING, *_PHASES.values(), _TRAINING, _REST)


def _shares(record: TrialRecord) -> Iterator[tuple[str, float]]:
    """What one trial took, part by part. Older versions recorded no phases."""
    observed, phases = record.observed, record.result.phases
    if observed.queued_seconds is not None:
        yield _WAITING, observed.queued_seconds - (observed.pull_seconds or 0.0)
    if observed.pull_seconds is not None:
        yield _PULLING, observed.pull_seconds
    ran, trained = observed.run_seconds, record.result.metrics.get("train_seconds")
    if phases is not None:
        known = {what: phases[phase] for phase, what in _PHASES.items() if phase in phases}
        yield from known.items()
        if ran is not None:
            yield _STARTING, max(0.0, ran - sum(known.values()))
    elif ran is not None and trained is not None:
        yield _TRAINING, trained
        yield _REST, max(0.0, ran - trained)


def per_class(found: Confusion) -> dict[str, float]:
    """By class, the share of its test samples that were recognised (recall). Classes without samples are left out."""
    return {
        name: row[place] / sum(row)
        for place, (name, row) in enumerate(zip(found.classes, found.counts, strict=True))
        if sum(row)
    }

"""Finds what was measured twice on a board: an entry under two names in one job, and in two jobs. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from itertools import pairwise

from velodrome.metrics.catalogue import Metric
from velodrome.stats import Sample
from velodrome.stats.noise import Scale, Twins
from velodrome.trends.history import BoardHistory, Point

# An entry, whatever its name: its model and training (`velodrome.plan.entry_id`), and the digest of its own code.
Thing = tuple[str, str | None]
# By job uid, the entries and seeds whose values another job had measured.
TakenOver = Callable[[str], Collection[tuple[str, int]]]


@dataclass(frozen=True, slots=True)
class TwinPoints:
    """Two points of one entry, of one job or of two. The second is of the newer job."""

    thing: Thing
    first: Point
    second: Point

    @property
    def twins(self) -> Twins:
        """The same for statistics. Pairs of the same two jobs share their noise."""
        samples = Sample("first", self.first.values), Sample("second", self.second.values)
        return Twins(*samples, _name(self.thing), f"{self.first.job_uid} {self.second.job_uid}")


@dataclass(slots=True)
class Remeasured:
    """What a board's jobs measured of one metric in one cohort.

    - `samples` are all complete values of at least two seeds, with the name of what they are of.
    - `in_job` has pairs of one job: each name of an entry with the next one.
    - `job_to_job` has each job of an entry with the next job that has it.
    - `copied` counts points that are left out because another job had measured them, `accepted` pairs that are left out
      because a person accepted the newer job's change, and `not_positive` points that are left out because no change is
      relative to 0 or less.
    """

    samples: list[Sample] = field(default_factory=list)
    in_job: list[TwinPoints] = field(default_factory=list)
    job_to_job: list[TwinPoints] = field(default_factory=list)
    copied: int = 0
    accepted: int = 0
    not_positive: int = 0


def scale_of(metric: Metric) -> Scale:
    """Relative where values are compared by factors: times, sizes, energies and errors. Points for all others."""
    return "relative" if metric.scale == "ratio" else "points"


def measured(history: BoardHistory, metric_key: str, cohort_id: str, scale: Scale, taken_over: TakenOver) -> Remeasured:
    """What the jobs of a history measured in this cohort.

    `taken_over` is asked only about jobs that repeat a value of an older job.
    """
    found = Remeasured()
    accepted = {(mark.entry, mark.job_uid) for mark in history.accepted if mark.metric_key == metric_key}
    newest: dict[Thing, list[Point]] = {}
    seen: dict[Thing, set[tuple[int, float]]] = {}
    for place in range(len(history.jobs)):
        here: dict[Thing, list[Point]] = {}
        for thing, point in _points(history, place, metric_key, cohort_id):
            values = set(point.values.items())
            if scale == "relative" and min(point.values.values()) <= 0:
                found.not_positive += 1
            elif values & seen.get(thing, set()) and _copied(point, taken_over(point.job_uid)):
                found.copied += 1
            else:
                here.setdefault(thing, []).append(point)
        for thing, points in here.items():
            seen.setdefault(thing, set()).update(item for point in points for item in point.values.items())
            found.samples += [Sample(_name(thing), point.values) for point in points]
            found.in_job += [TwinPoints(thing, *both) for both in pairwise(points)]
            if thing in newest:
                pair = TwinPoints(thing, *_of_one_name(newest[thing], points))
                if (pair.second.entry, pair.second.job_uid) in accepted:
                    found.accepted += 1
                else:
                    found.job_to_job.append(pair)
            newest[thing] = points
    return found


def _points(history: BoardHistory, place: int, metric_key: str, cohort_id: str) -> list[tuple[Thing, Point]]:
    """The complete points of a job in the cohort, by name."""
    facts = history.facts[place]
    found = []
    for entry in sorted(facts.ids):
        point = history.point(place, entry, metric_key)
        if point is not None and point.complete and point.cohort_id == cohort_id and len(point.values) > 1:
            found.append(((facts.ids[entry], point.code), point))
    return found


def _name(thing: Thing) -> str:
    return f"{thing[0]} {thing[1]}"


def _copied(point: Point, taken_over: Collection[tuple[str, int]]) -> bool:
    return any((point.entry, seed) in taken_over for seed in point.values)


def _of_one_name(older: list[Point], newer: list[Point]) -> tuple[Point, Point]:
    """A point of each job: of the same name if both have one, else the first of each."""
    names = {point.entry: point for point in older}
    both = next((point for point in newer if point.entry in names), None)
    return (older[0], newer[0]) if both is None else (names[both.entry], both)

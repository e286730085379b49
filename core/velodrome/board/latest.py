"""The latest of each entry of a board: its newest complete values, and how they compare with their baseline.

A running race changes nothing here until all trials of an entry have a value: from then on its newer job counts.
Everything comes from the store, so every process gets the same answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from velodrome.board.reading import BoardReader
from velodrome.metrics.catalogue import MetricKey
from velodrome.results.objectives import board_objectives
from velodrome.stats import Interval, metric_interval
from velodrome.trends.history import BoardHistory
from velodrome.trends.regressions import Comparison, rules_of

if TYPE_CHECKING:
    from velodrome.results.records import JobInfo
    from velodrome.store import Reader


@dataclass(frozen=True, slots=True)
class Latest:
    """An entry's objective: its newest job's comparison, the mean's 95 % interval, and when that job was created.

    `objective` is the board's unique name for the metric. `succeeded_at` is when the newest value in this cohort was
    accepted, of this job or of a job that still runs.
    """

    objective: str
    comparison: Comparison
    interval: Interval
    at: datetime
    succeeded_at: datetime | None


def latest(reader: Reader, board: str) -> tuple[Latest, ...]:
    """`latest_of` for a board that is read only for this. Raises as the store does."""
    return latest_of(reader, BoardReader(reader, board))


def latest_of(reader: Reader, board: BoardReader) -> tuple[Latest, ...]:
    """One for each entry and objective with complete values in the board's newest `JOBS_BACK` jobs.

    For each entry, the newest job counts that has a value for every planned trial, and at least as many values as its
    `spec.regression.minSamples`. If no job has that many, the newest job with all planned values counts. So a verdict
    stays if a newer job still runs, has failed trials, or has only one trial as an experiment. If newer jobs have the
    entry under another name, it is found under that name.

    Raises:
        As the store does.
    """
    history = board.history
    names = {str(one.key): one.name for one in board.objectives}
    wanted = _newest(history, history.window.start)
    accepted: dict[tuple[str, str], dict[str, datetime]] = {}  # by metric key and cohort, then entry
    found = []
    for place in sorted(set(wanted.values())):
        job = history.jobs[place]
        for comparison in board.verdicts(job.uid):
            where = comparison.entry, comparison.metric_key
            point = history.point(place, *where)
            if wanted.get(where) == place and point is not None and comparison.metric_key in names:
                interval = metric_interval(MetricKey.parse(comparison.metric_key).metric, list(point.values.values()))
                under = comparison.metric_key, comparison.cohort_id
                if under not in accepted:
                    accepted[under] = {row.entry: row.last_at for row in reader.ranking_rows(board.board, *under)}
                succeeded_at = accepted[under].get(comparison.entry)
                found.append(Latest(names[comparison.metric_key], comparison, interval, job.created_at, succeeded_at))
    return tuple(sorted(found, key=lambda one: (one.comparison.entry, one.objective)))


def _newest(history: BoardHistory, first: int) -> dict[tuple[str, str], int]:
    """The place of the job that counts, by entry and metric key."""
    enough: dict[tuple[str, str], int] = {}
    few: dict[tuple[str, str], int] = {}
    settled: set[str | None] = set()  # identities of entries that a newer job has values of
    names: set[str] = set()  # of entries in newer jobs
    renamed: set[str] = set()
    for place in range(len(history.jobs) - 1, first - 1, -1):
        job, ids = history.jobs[place], history.facts[place].ids
        least = rules_of(job).min_samples
        for entry, key in _measured(job, history, place):
            if entry not in names and ids.get(entry) in settled:
                renamed.add(entry)
            point = None if entry in renamed else history.point(place, entry, key)
            if point is not None and point.complete:
                (enough if len(point.values) >= least else few).setdefault((entry, key), place)
        settled.update(ids.get(entry) for (entry, _), found in enough.items() if found == place)
        names.update(ids)
    return {**few, **enough}


def _measured(job: JobInfo, history: BoardHistory, place: int) -> Iterator[tuple[str, str]]:
    """The entries and metric keys of the job's objectives, if the job has a value of them."""
    keys = {str(objective.key) for objective in board_objectives([job])}
    return (where for where in history.samples[place] if where[1] in keys)

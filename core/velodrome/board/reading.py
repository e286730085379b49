"""The reading of a board: its objectives, the ranking of each with the reasons, and the verdict of each entry.

Terminal, browser, /metrics and a race's status all show this reading. They compute nothing of it themselves. Everything
comes from the store, so every process gets the same answer.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from velodrome.board.cohorts import chosen_cohort
from velodrome.board.rounds import stopping_of
from velodrome.metrics.catalogue import CATALOGUE, MetricKey
from velodrome.ranking.places import ObjectiveRanking, rank_objective, seeds_differ
from velodrome.ranking.remarks import remarks
from velodrome.ranking.sentences import summary
from velodrome.results.cohorts import Cohort
from velodrome.results.objectives import BoardObjective, board_objectives
from velodrome.store.types import CohortSummary, Row, TrialSummary
from velodrome.trends.history import JOBS_BACK, BoardHistory, read_history
from velodrome.trends.regressions import Comparison, judge, judge_at

if TYPE_CHECKING:
    from velodrome.results.records import JobInfo
    from velodrome.store import EntryState, JobSamples, Reader

_DETERMINISTIC = tuple(name for name, metric in CATALOGUE.items() if metric.deterministic)


@dataclass(frozen=True, slots=True)
class ObjectiveReading:
    """One objective of a board in one of its cohorts.

    `cohorts` are all cohorts of the objective, newest first. `cohort` is the one that is shown, or None without values.
    `verdicts` says, by entry, how each ranked row compares with its baseline. It is None if they were not asked for.
    `whole` is the ranking of all entries, where `ranking` has only some of its rows.
    """

    objective: BoardObjective
    cohorts: tuple[CohortSummary, ...]
    cohort: CohortSummary | None
    ranking: ObjectiveRanking
    verdicts: Mapping[str, Comparison] | None = None
    whole: ObjectiveRanking | None = None

    @property
    def summary(self) -> str:
        """Which entry is best of all, in a sentence."""
        return summary(self.whole or self.ranking)

    @property
    def others(self) -> int:
        """How many cohorts are not shown."""
        return max(0, len(self.cohorts) - 1)


class BoardReader:
    """Reads a board, each part of it once. To read the board again, make a new one.

    Its methods raise as the store does.
    """

    def __init__(self, reader: Reader, board: str) -> None:
        self.board = board
        self._reader = reader
        self._verdicts: dict[str, tuple[Comparison, ...]] = {}
        self._summaries: dict[str, tuple[TrialSummary, ...]] = {}
        self._found: dict[str, JobInfo | None] = {}

    @cached_property
    def objectives(self) -> tuple[BoardObjective, ...]:
        """The objectives of the board's newest `JOBS_BACK` jobs."""
        return board_objectives(self._jobs)

    @cached_property
    def _jobs(self) -> list[JobInfo]:
        return self._reader.jobs(self.board, limit=JOBS_BACK)

    @cached_property
    def states(self) -> list[tuple[JobInfo, EntryState]]:
        """The state of each entry in its newest job, without the entries that were given up."""
        every = self._reader.board_entries(self.board)
        return [(job, state) for job, state in every if not given_up(job, state, self._jobs)]

    @cached_property
    def history(self) -> BoardHistory:
        """The jobs that count for the board, and the older jobs on which their verdicts depend."""
        return read_history(self._reader, self.board, limit=2 * JOBS_BACK)

    def objective(self, objective: BoardObjective, cohort_id: str | None = None) -> ObjectiveReading:
        """The objective in the cohort with this id, else in the newest cohort."""
        key = str(objective.key)
        cohorts = self._reader.cohorts(self.board, key)
        cohort = chosen_cohort(cohorts, cohort_id)
        rows = self._reader.ranking_rows(self.board, key, cohort.cohort_id) if cohort else []
        jobs = {uid: self._job(uid) for uid in dict.fromkeys(row.job_uid for row in rows)}
        ranked = {row.entry for row in rows}
        absent = [(job, state) for job, state in self.states if state.entry not in ranked]
        ranking = rank_objective(
            objective.key,
            rows,
            self.states,
            other_cohorts=len(cohorts) > 1,
            unavailable=unavailable(self._reader, key, absent),
            differing=self._differing(rows),
            remarks=remarks(objective.key, rows, {row.job_uid: self._trials(row.job_uid) for row in rows}, jobs),
            stopping=stopping_of(jobs, rows),
        )
        return ObjectiveReading(objective, tuple(cohorts), cohort, ranking)

    def judged(self, reading: ObjectiveReading) -> ObjectiveReading:
        """The reading with the verdicts of its ranked rows."""
        key = str(reading.objective.key)
        found = {
            (one.job_uid, one.entry): one
            for uid in dict.fromkeys(row.job_uid for row in reading.ranking.ranked)
            for one in self.verdicts(uid)
            if one.metric_key == key
        }
        rows = [(row.entry, found.get((row.job_uid, row.entry))) for row in reading.ranking.ranked]
        return replace(reading, verdicts={entry: one for entry, one in rows if one is not None})

    def verdicts(self, uid: str) -> tuple[Comparison, ...]:
        """The comparisons of this job, as `velodrome.trends.regressions.judge` makes them."""
        if uid not in self._verdicts:
            place = next((place for place in self.history.window if self.history.jobs[place].uid == uid), None)
            self._verdicts[uid] = (
                judge(self._reader, uid) if place is None else judge_at(self._reader, self.history, place)
            )
        return self._verdicts[uid]

    @cached_property
    def _deterministic(self) -> list[tuple[str, str]]:
        """The metric keys and cohorts in which all seeds of an entry should have the same value."""
        keys = [str(MetricKey.of(name)) for name in _DETERMINISTIC]
        return [(key, cohort.cohort_id) for key in keys for cohort in self._reader.cohorts(self.board, key)]

    def _trials(self, uid: str) -> tuple[TrialSummary, ...]:
        """The trials of a job in short. A board of thousands of trials is read often, so they are read once."""
        if uid not in self._summaries:
            self._summaries[uid] = tuple(self._reader.trials(uid).values())
        return self._summaries[uid]

    def _job(self, uid: str) -> JobInfo | None:
        """A job that has rows. Each is read once."""
        if uid not in self._found:
            self._found[uid] = self._reader.job(uid)
        return self._found[uid]

    def _differing(self, rows: Sequence[Row]) -> dict[tuple[str, str], str]:
        wanted: dict[str, list[tuple[str, str, str]]] = {}
        for row in rows:
            places = [(key, cohort_id, row.entry) for key, cohort_id in self._deterministic]
            wanted.setdefault(row.job_uid, []).extend(places)
        return differing(self._reader.some_samples(wanted))


def given_up(job: JobInfo, state: EntryState, newest: Sequence[JobInfo]) -> bool:
    """Whether an entry failed, never succeeded in its newest job, and the next job of that name leaves it out. Pure.

    Somebody has taken it out of the file, so it is no longer on the board. Its trials stay with their job.
    """
    if state.succeeded or not state.failed:
        return False
    same = [one for one in newest if (one.namespace, one.name) == (job.namespace, job.name)]
    return bool(same) and same[0].uid != job.uid and state.entry not in same[0].entries


def differing(samples: Mapping[str, Iterable[JobSamples]]) -> dict[tuple[str, str], str]:
    """By job uid and entry, why its seeds are not trials of one model, as a deterministic metric shows. Pure."""
    return {
        (uid, one.entry): why
        for uid, found in samples.items()
        for one in found
        if (why := seeds_differ(MetricKey.parse(one.metric_key), one.values.values())) is not None
    }


def unavailable(reader: Reader, key: str, absent: Iterable[tuple[JobInfo, EntryState]]) -> dict[str, str]:
    """By entry, why finished entries have no value of a metric, as one of their trials reported it.

    Raises:
        As the store does.
    """
    wanted: dict[str, set[str]] = {}
    for job, state in absent:
        if state.succeeded and not state.failed:
            wanted.setdefault(job.uid, set()).add(state.entry)
    reasons: dict[str, str] = {}
    for uid, entries in wanted.items():
        first: dict[str, int] = {}
        for index, trial in reader.trials(uid).items():
            if trial.entry in entries:
                first.setdefault(trial.entry, index)
        for record in reader.some_trials(uid, list(first.values())):
            if record is not None and key in record.result.unavailable:
                reasons[record.result.entry] = f"{key} was not measured: {record.result.unavailable[key]}"
    return reasons


@dataclass(frozen=True, slots=True)
class JobReading:
    """One objective, ranked by one job's values, even if the board has newer ones. `words` are the conditions."""

    key: MetricKey
    ranking: ObjectiveRanking
    words: str


def read_job(reader: Reader, uid: str, keys: Collection[MetricKey]) -> tuple[JobReading, ...]:
    """One reading for each of these keys of which the job has a value, in their order. Empty for an unknown job.

    If its trials ran under different conditions, the cohort with most values counts.

    Raises:
        As the store does.
    """
    job = reader.job(uid)
    if job is None:
        return ()
    (samples,), entries = reader.samples([uid]), reader.entries(uid)
    states = [(job, state) for state in entries.values()]
    trials = {uid: tuple(reader.trials(uid).values())}
    apart = differing({uid: [one for one in samples if one.entry in entries]})
    found = []
    for key in keys:
        of_key = [one for one in samples if one.metric_key == str(key)]
        own = _of_most_values(of_key)
        if not own:
            continue
        rows = [
            Row(
                one.entry,
                entries[one.entry].entry_id or "",
                uid,
                job.name,
                job.planned(one.entry),
                one.values,
                job.created_at,
                hidden=entries[one.entry].hidden,
            )
            for one in own
        ]
        ranked = {row.entry for row in rows}
        absent = [(job, state) for job, state in states if state.entry not in ranked]
        ranking = rank_objective(
            key,
            rows,
            states,
            other_cohorts=len(own) < len(of_key),
            unavailable=unavailable(reader, str(key), absent),
            differing=apart,
            remarks=remarks(key, rows, trials, {uid: job}),
            stopping=stopping_of({uid: job}, rows),
        )
        cohort_id = own[0].cohort_id
        found.append(JobReading(key, ranking, Cohort(cohort_id, reader.conditions(cohort_id)).words))
    return tuple(found)


def _of_most_values(samples: Sequence[JobSamples]) -> list[JobSamples]:
    """The samples in the cohort that has most values."""
    sizes: dict[str, int] = {}
    for one in samples:
        sizes[one.cohort_id] = sizes.get(one.cohort_id, 0) + len(one.values)
    chosen = max(sizes, key=lambda cohort_id: (sizes[cohort_id], cohort_id), default=None)
    return [one for one in samples if one.cohort_id == chosen]

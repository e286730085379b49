"""What pages read: the store's answers, kept for a moment, so that many viewers cost Redis little more than one.

Everything a `Source` returns is frozen or not to be changed: viewers share it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import streamlit as st

from velodrome import keys
from velodrome.errors import LocalError
from velodrome.ranking.places import ObjectiveRanking, rank_objective
from velodrome.results.objectives import BoardObjective, board_objectives
from velodrome.results.records import EpochPoint, JobInfo, Progress, TrialRecord
from velodrome.store import (
    Board,
    CohortSummary,
    Counts,
    EntryState,
    Rejection,
    Row,
    Store,
    TrialSummary,
    export_lines,
    open_store,
)
from velodrome.trends.regressions import Comparison, judge
from velodrome.trends.timeline import Timeline, timeline

# Long enough to share an answer between viewers, short enough that nobody waits for a result.
_SECONDS = 2

# A board's objectives come from this many of its newest jobs, and change seldom.
_JOBS_WITH_OBJECTIVES = 20
_OBJECTIVES_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Source:
    """The Redis that the leaderboard reads. Every method raises what the store's of the same name does."""

    url: str

    def ping(self) -> None:
        """Returns if Redis answers now."""
        _store(self.url).ping()

    def boards(self) -> list[Board]:
        return _boards(self.url)

    def jobs(self, board: str, limit: int, offset: int = 0) -> list[JobInfo]:
        """Jobs of the board, newest first, without their documents."""
        return _jobs(self.url, board, limit, offset)

    def job(self, uid: str) -> JobInfo | None:
        return _job(self.url, uid)

    def objectives(self, board: str) -> tuple[BoardObjective, ...]:
        """The objectives of the board's newest jobs."""
        return _objectives(self.url, board)

    def cohorts(self, board: str, key: str) -> list[CohortSummary]:
        return _cohorts(self.url, board, key)

    def states(self, board: str) -> list[tuple[JobInfo, EntryState]]:
        """How each entry stands in its newest job, the job without its document."""
        return _states(self.url, board)

    def ranking(self, board: str, key: str, cohort: CohortSummary | None) -> ObjectiveRanking:
        """The ranking in one cohort, computed once for the same values; without a cohort, the entries all unranked."""
        rows = _rows(self.url, board, key, cohort.cohort_id) if cohort is not None else []
        states = self.states(board)
        cohorts = len(self.cohorts(board, key))
        return _ranking(_fingerprint(key, rows, states, cohorts), key, rows, states, cohorts)

    def verdicts(self, uid: str) -> tuple[Comparison, ...]:
        """What the job made worse or better."""
        return _verdicts(self.url, uid)

    def timeline(self, board: str, entry: str, metric_key: str) -> Timeline:
        """The entry's values of the metric, job after job."""
        return _timeline(self.url, board, entry, metric_key)

    def entries(self, uid: str) -> dict[str, EntryState]:
        return _entries(self.url, uid)

    def counts(self, uid: str) -> Counts:
        return _counts(self.url, uid)

    def trials(self, uid: str) -> dict[int, TrialSummary]:
        return _trials(self.url, uid)

    def trial(self, uid: str, index: int) -> TrialRecord | None:
        return _trial(self.url, uid, index)

    def curves(self, uid: str, index: int) -> tuple[EpochPoint, ...]:
        return _curves(self.url, uid, index)

    def progress(self, uid: str) -> dict[int, Progress]:
        return _progress(self.url, uid)

    def conflicts(self, uid: str) -> list[TrialRecord]:
        return _conflicts(self.url, uid)

    def rejections(self, uid: str) -> list[Rejection]:
        return _rejections(self.url, uid)

    def export(self, uid: str) -> str:
        """The job's JSON lines, read now."""
        return "".join(f"{line}\n" for line in export_lines(_store(self.url), uid=uid))

    def records(self, job: JobInfo) -> Iterator[TrialRecord]:
        """All results of the job, read now, a hundred at a time."""
        for start in range(0, job.trials, 100):
            yield from _store(self.url).records(job.uid, start, 100)


def source() -> Source:
    """The Redis that the environment names.

    Raises:
        LocalError: it names none.
    """
    url = os.environ.get(keys.ENV_REDIS_URL, "")
    if not url:
        raise LocalError(f"{keys.ENV_REDIS_URL} is not set, so there is nothing to show: start `velodrome leaderboard`")
    return Source(url)


@st.cache_resource(show_spinner=False)
def _store(url: str) -> Store:
    return open_store(url)


_kept = st.cache_data(ttl=_SECONDS, max_entries=200, show_spinner=False)


@_kept
def _boards(url: str) -> list[Board]:
    return _store(url).boards()


@_kept
def _jobs(url: str, board: str, limit: int, offset: int) -> list[JobInfo]:
    return [_in_short(job) for job in _store(url).jobs(board, limit, offset)]


def _in_short(job: JobInfo) -> JobInfo:
    """The job without its document, which may be large and is copied with whatever is kept here."""
    return job.model_copy(update={"document": {}})


@st.cache_data(ttl=_OBJECTIVES_SECONDS, max_entries=200, show_spinner=False)
def _objectives(url: str, board: str) -> tuple[BoardObjective, ...]:
    return board_objectives(_store(url).jobs(board, _JOBS_WITH_OBJECTIVES))


@_kept
def _job(url: str, uid: str) -> JobInfo | None:
    return _store(url).job(uid)


@_kept
def _cohorts(url: str, board: str, key: str) -> list[CohortSummary]:
    return _store(url).cohorts(board, key)


# Verdicts look back at many jobs, and change when a job ends or a person accepts a change.
_VERDICT_SECONDS = 10


@st.cache_data(ttl=_VERDICT_SECONDS, max_entries=200, show_spinner=False)
def _verdicts(url: str, uid: str) -> tuple[Comparison, ...]:
    return judge(_store(url), uid)


@st.cache_data(ttl=_VERDICT_SECONDS, max_entries=100, show_spinner=False)
def _timeline(url: str, board: str, entry: str, metric_key: str) -> Timeline:
    return timeline(_store(url), board, entry, metric_key)


@_kept
def _states(url: str, board: str) -> list[tuple[JobInfo, EntryState]]:
    found = _store(url).board_entries(board)
    jobs = {job.uid: _in_short(job) for job, _ in found}
    return [(jobs[job.uid], state) for job, state in found]


@_kept
def _rows(url: str, board: str, key: str, cohort_id: str) -> list[Row]:
    return _store(url).ranking_rows(board, key, cohort_id)


@_kept
def _entries(url: str, uid: str) -> dict[str, EntryState]:
    return _store(url).entries(uid)


@_kept
def _counts(url: str, uid: str) -> Counts:
    return _store(url).counts(uid)


@_kept
def _trials(url: str, uid: str) -> dict[int, TrialSummary]:
    return _store(url).trials(uid)


@_kept
def _trial(url: str, uid: str, index: int) -> TrialRecord | None:
    return _store(url).trial(uid, index)


@_kept
def _curves(url: str, uid: str, index: int) -> tuple[EpochPoint, ...]:
    return _store(url).curves(uid, index)


@_kept
def _progress(url: str, uid: str) -> dict[int, Progress]:
    return _store(url).progress(uid)


@_kept
def _conflicts(url: str, uid: str) -> list[TrialRecord]:
    return _store(url).conflicts(uid)


@_kept
def _rejections(url: str, uid: str) -> list[Rejection]:
    return _store(url).rejections(uid)


def _fingerprint(key: str, rows: Sequence[Row], states: Sequence[tuple[JobInfo, EntryState]], cohorts: int) -> str:
    """Equal for equal input of a ranking. Ranking a thousand entries takes half a second; this a few milliseconds."""
    content = repr((key, cohorts > 1, rows, [(job.uid, job.name, state) for job, state in states]))
    return hashlib.sha256(content.encode()).hexdigest()


# A resource, not data: a large ranking is shared as it is, where data would be copied for each viewer.
@st.cache_resource(max_entries=64, show_spinner=False)
def _ranking(
    fingerprint: str,  # noqa: ARG001 - what the cache goes by
    _key: str,
    _rows: Sequence[Row],
    _states: Sequence[tuple[JobInfo, EntryState]],
    _cohorts: int,
) -> ObjectiveRanking:
    return rank_objective(_key, _rows, _states, other_cohorts=_cohorts > 1)

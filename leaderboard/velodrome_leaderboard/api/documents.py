"""What the API answers with: one document for each question. Pure.

Rankings are those of `velodrome results --json`. A list comes in pages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Generic, TypeVar

from pydantic import AwareDatetime

from velodrome.board.document import DocumentModel, RankedDocument, UnrankedDocument, objective_document
from velodrome.board.reading import ObjectiveReading
from velodrome.metrics.catalogue import Direction
from velodrome.results.marks import Hiding
from velodrome.results.objectives import BoardObjective
from velodrome.results.records import JobInfo
from velodrome.store import Board, Counts, EntryState, TrialSummary
from velodrome.trends.timeline import Timeline
from velodrome.trends.verdicts import Verdict

T = TypeVar("T")


class PageOf(DocumentModel, Generic[T]):
    """One page of a list. `total` counts the items of all pages, and `pages` is at least 1."""

    page: int
    pages: int
    total: int
    items: tuple[T, ...]


def page_of(items: Sequence[T], page: int, size: int, total: int | None = None) -> PageOf[T]:
    """A page of the items. With `total`, the items are those of this page alone. A page behind the last is empty."""
    count = len(items) if total is None else total
    shown = items[(page - 1) * size : page * size] if total is None else items
    return PageOf(page=page, pages=max(1, -(-count // size)), total=count, items=tuple(shown))


class BoardFacts(DocumentModel):
    """A board. `last_at` is when it last got a job or a result."""

    name: str
    jobs: int
    entries: int
    last_at: AwareDatetime


class ObjectiveName(DocumentModel):
    """An objective of a board: what it measures, its unit, and which direction is better."""

    name: str
    metric: str
    unit: str
    direction: Direction


class WholeBoardDocument(BoardFacts):
    """A board with its objectives. `version` changes with everything on which its rankings and verdicts depend."""

    version: str
    objectives: tuple[ObjectiveName, ...]


class CohortName(DocumentModel):
    """The conditions under which values can be compared, in words."""

    id: str
    words: str
    entries: int


class RankingDocument(ObjectiveName):
    """An objective's ranking in one cohort. Numbers are in `unit`, not scaled.

    `confidence` is that of tests and intervals. `summary` says who leads, and claims no more than the tests show.
    """

    confidence: float
    summary: str
    cohort: CohortName | None
    cohorts: tuple[CohortName, ...]
    ranked: PageOf[RankedDocument]
    unranked: PageOf[UnrankedDocument]


class JobDocument(DocumentModel):
    """A job that was raced: how many trials it asked for so far, the most of an entry, and how many ended."""

    uid: str
    name: str
    board: str
    created_at: AwareDatetime
    entries: int
    repeats: int
    trials: int
    succeeded: int
    failed: int


class EntryDocument(DocumentModel):
    """An entry of a job. `reasons` counts its failed trials by reason. `hidden` says which of its runs people have
    hidden, and why; it is empty if none is.
    """

    entry: str
    planned: int
    succeeded: int
    failed: int
    reasons: dict[str, int]
    hidden: str


class TrialDocument(DocumentModel):
    """A finished trial of a job. `hidden` says why it counts as missing; None if it counts."""

    index: int
    entry: str
    seed: int
    outcome: str
    reason: str | None
    run_seconds: float
    hidden: str | None


class WholeJobDocument(JobDocument):
    """A job with its entries. `document` is the BenchmarkJob, to run it again."""

    document: dict[str, object]
    states: tuple[EntryDocument, ...]


class MomentDocument(DocumentModel):
    """An entry's values in one job, with the verdict on them. `level_change` is relative, and None without one."""

    job: str
    job_uid: str
    at: AwareDatetime
    cohort: str
    mean: float
    low: float | None
    high: float | None
    n: int
    verdict: Verdict
    reason: str
    acknowledged: bool
    baseline_uid: str | None
    level_change: float | None


class ProblemDetails(DocumentModel):
    """Why there is no answer (RFC 9457). `detail` says what to change."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str


def board_document(board: Board) -> BoardFacts:
    """A board, without its objectives."""
    return BoardFacts(name=board.name, jobs=board.jobs, entries=board.entries, last_at=board.last_at)


def whole_board(board: Board, version: str, objectives: Sequence[BoardObjective]) -> WholeBoardDocument:
    """A board with its objectives."""
    return WholeBoardDocument(
        **board_document(board).model_dump(), version=version, objectives=tuple(map(_objective, objectives))
    )


def _objective(objective: BoardObjective) -> ObjectiveName:
    metric = objective.key.metric
    return ObjectiveName(name=objective.name, metric=str(objective.key), unit=metric.unit, direction=metric.direction)


def ranking_document(reading: ObjectiveReading, page: int, size: int) -> RankingDocument:
    """The ranking with this page of its ranked entries, and this page of its unranked ones."""
    ranking, rows = reading.ranking, slice((page - 1) * size, page * size)
    shown = replace(ranking, ranked=ranking.ranked[rows], unranked=ranking.unranked[rows])
    found = objective_document(replace(reading, ranking=shown))
    cohorts = {
        cohort.id: CohortName(id=cohort.id, words=cohort.words, entries=cohort.entries) for cohort in found.cohorts
    }
    return RankingDocument(
        **_objective(reading.objective).model_dump(),
        confidence=found.confidence,
        summary=reading.summary,
        cohort=cohorts.get(found.cohort.id) if found.cohort is not None else None,
        cohorts=tuple(cohorts.values()),
        ranked=page_of(found.ranked, page, size, total=len(ranking.ranked)),
        unranked=page_of(found.unranked, page, size, total=len(ranking.unranked)),
    )


def job_document(job: JobInfo, counts: Counts) -> JobDocument:
    """A job, without its entries."""
    return JobDocument(
        uid=job.uid,
        name=job.name,
        board=job.board,
        created_at=job.created_at,
        entries=len(job.entries),
        repeats=max(map(job.planned, job.entries)),
        trials=job.asked,
        succeeded=counts.succeeded,
        failed=counts.failed,
    )


def whole_job(job: JobInfo, counts: Counts, states: Mapping[str, EntryState]) -> WholeJobDocument:
    """A job with the states of its entries, in the job's order."""
    found = [
        EntryDocument(
            entry=state.entry,
            planned=state.planned,
            succeeded=state.succeeded,
            failed=state.failed,
            reasons=dict(state.reasons),
            hidden=state.hidden,
        )
        for state in (states[name] for name in job.entries if name in states)
    ]
    return WholeJobDocument(**job_document(job, counts).model_dump(), document=dict(job.document), states=tuple(found))


def trial_document(trial: TrialSummary, hidden: Hiding | None) -> TrialDocument:
    """A finished trial, and how it is hidden."""
    return TrialDocument(
        index=trial.index,
        entry=trial.entry,
        seed=trial.seed,
        outcome=trial.outcome,
        reason=trial.reason,
        run_seconds=trial.run_seconds,
        hidden=None if hidden is None else hidden.note,
    )


def moments(found: Timeline) -> list[MomentDocument]:
    """The jobs of a history, oldest first."""
    return [
        MomentDocument(
            job=moment.point.job_name,
            job_uid=moment.point.job_uid,
            at=moment.point.at,
            cohort=moment.point.cohort_id,
            mean=moment.interval.mean,
            low=moment.interval.low,
            high=moment.interval.high,
            n=moment.interval.n,
            verdict=moment.verdict,
            reason=moment.reason,
            acknowledged=moment.acknowledged,
            baseline_uid=moment.baseline_uid,
            level_change=change.relative if change is not None else None,
        )
        for moment in found.moments
        for change in [found.changes.get(moment.point.job_uid)]
    ]

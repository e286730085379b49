"""Reads results: boards, jobs, rankings, values, histories and regressions."""

from __future__ import annotations

import warnings
import weakref
from contextlib import ExitStack
from datetime import datetime
from typing import Any, NamedTuple, Self, TypeVar

from velodrome.api.measurements import measurements
from velodrome.api.places import Where, place_at
from velodrome.api.rankings import RankingTable
from velodrome.api.tables import ValueTable
from velodrome.board import choosing
from velodrome.board.narrowing import narrow, narrowed
from velodrome.board.reading import ObjectiveReading
from velodrome.board.rows import ValueRow, value_rows
from velodrome.board.sheet import sheets_of
from velodrome.board.viewing import read_objectives
from velodrome.errors import LocalError, NotThere
from velodrome.ranking.places import failed_text
from velodrome.results.objectives import BoardObjective
from velodrome.store import Board, Reader, open_store
from velodrome.text import line
from velodrome.trends.regressions import Comparison, judge
from velodrome.trends.timeline import timeline

Answer = TypeVar("Answer")


class JobRow(NamedTuple):
    """A job, and how many of its trials succeeded and failed."""

    name: str
    board: str
    created_at: datetime
    trials: int
    succeeded: int
    failed: int
    uid: str


class EntryRow(NamedTuple):
    """An entry of a board, and its trials in the newest job that has it. `why` says what failed; it may be empty."""

    board: str
    entry: str
    job: str
    job_uid: str
    planned: int
    succeeded: int
    failed: int
    running: int
    why: str


class HistoryRow(NamedTuple):
    """An entry's values of an objective in one job, with the verdict that compares them with their baseline.

    `new_level` says that the level of the cohort changed for good with this job.
    """

    board: str
    entry: str
    objective: str
    metric: str
    unit: str
    job: str
    job_uid: str
    created_at: datetime
    cohort: str
    mean: float
    low: float | None
    high: float | None
    n: int
    planned: int
    verdict: str
    reason: str
    acknowledged: bool
    baseline_uid: str | None
    new_level: bool


def open_results(where: Where = None) -> Results:
    """The results of this machine, of another data folder, or of a Redis: `redis://`, `rediss://` or `unix://`.

    Without `where`, they are those that the command line shows: of the Redis `VELODROME_REDIS_URL`, of the folder
    `VELODROME_HOME`, or of this user's folder.
    Nothing is written. Use it in a `with`, or close it: a folder's Redis runs until then.

    Raises:
        LocalError: the folder holds no results, or its Redis can't be started.
        StoreRefused: the text is no URL of a Redis.
        StoreUnavailable: Redis does not answer.
    """
    stack = ExitStack()
    try:
        place = stack.enter_context(place_at(where, writes=False))
        reader = stack.enter_context(open_store(place.url))
        reader.ping()
    except BaseException:
        stack.close()
        raise
    return Results(reader, stack)


class Results:
    """Reads results. `open_results` makes one.

    A `board` that is left out is the newest one. Boards, objectives, jobs and entries are named as on the command line.
    Each answer is new: it shows what is stored at that moment. If something can't be read, for example because a newer
    Velodrome wrote it, it is left out with a warning, and `left_out` says what.

    Every method raises NotThere if a name does not exist, and otherwise as the store does: StoreUnavailable,
    StoreRefused or SchemaUnsupported.
    """

    def __init__(self, reader: Reader, owned: ExitStack) -> None:
        self._store = reader
        self._told = 0
        self._finish = weakref.finalize(self, owned.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection, and the Redis that was started for it. What was read stays."""
        self._finish()

    @property
    def left_out(self) -> tuple[str, ...]:
        """What could not be read so far: one sentence each."""
        return self._store.left_out

    def boards(self) -> ValueTable[Board]:
        """All boards, the one with the newest job or result first."""
        return self._answer(ValueTable(Board, self._reader.boards()))

    def jobs(self, board: str | None = None, limit: int = 50) -> ValueTable[JobRow]:
        """The newest jobs, of one board or of all boards."""
        reader = self._reader
        chosen = None if board is None else choosing.chosen_board(reader, board)
        rows = []
        for job in reader.jobs(chosen, limit=limit):
            counts = reader.counts(job.uid)
            numbers = (job.trials, counts.succeeded, counts.failed)
            rows.append(JobRow(job.name, job.board, job.created_at, *numbers, job.uid))
        return self._answer(ValueTable(JobRow, rows))

    def entries(self, board: str | None = None) -> ValueTable[EntryRow]:
        """The entries of a board, by name."""
        chosen = choosing.chosen_board(self._reader, board)
        rows = []
        for job, state in self._reader.board_entries(chosen):
            numbers = (state.planned, state.succeeded, state.failed, state.running)
            why = failed_text(state) if state.failed else ""
            rows.append(EntryRow(chosen, state.entry, job.name, job.uid, *numbers, why))
        return self._answer(ValueTable(EntryRow, rows))

    def objectives(self, board: str | None = None) -> tuple[BoardObjective, ...]:
        """The objectives of a board: the name and the metric key of each."""
        chosen = choosing.chosen_board(self._reader, board)
        return tuple(choosing.chosen_objectives(self._reader, chosen))

    def ranking(
        self,
        board: str | None = None,
        objective: str | None = None,
        cohort: str | None = None,
        *,
        where: str = "",
        order: str = "",
    ) -> RankingTable:
        """The ranking of an objective, by its name or metric key; of the board's first objective if it is left out.

        `cohort` is the id of the conditions that the values share. Without it, the newest conditions count. `where` and
        `order` are as `velodrome results --filter` and `--sort` have them: `optimizer = AdamW, params < 1e6`. Ranks
        stay those of all entries.

        Raises:
            BadFilter: `where` or `order` can't be read. It is an `ActionNeeded`.
        """
        chosen = choosing.chosen_board(self._reader, board)
        found = choosing.chosen_objectives(self._reader, chosen, objective)
        one = found[0] if objective is None else choosing.only(found, objective, chosen)
        (reading,) = self._readings(chosen, [one], cohort)
        if where or order:
            (sheet,) = sheets_of(self._reader, chosen, [reading])
            reading = narrowed(sheet, narrow(sheet, where, order))
        return RankingTable(chosen, reading)

    def rankings(self, board: str | None = None) -> tuple[RankingTable, ...]:
        """The rankings of all objectives of a board."""
        chosen = choosing.chosen_board(self._reader, board)
        found = choosing.chosen_objectives(self._reader, chosen)
        return tuple(RankingTable(chosen, reading) for reading in self._readings(chosen, found, None))

    def values(
        self, board: str | None = None, objective: str | None = None, cohort: str | None = None
    ) -> ValueTable[ValueRow]:
        """The value of each seed of each entry: of all objectives, or of those that `objective` names."""
        chosen = choosing.chosen_board(self._reader, board)
        found = choosing.chosen_objectives(self._reader, chosen, objective)
        return ValueTable(ValueRow, value_rows(chosen, self._readings(chosen, found, cohort)))

    def history(self, board: str, entry: str, objective: str) -> ValueTable[HistoryRow]:
        """An entry's values of an objective in the board's newest jobs, oldest first."""
        reader = self._reader
        chosen = choosing.chosen_board(reader, board)
        one = choosing.only(choosing.chosen_objectives(reader, chosen, objective), objective, chosen)
        choosing.require_entry(entry, [state.entry for _, state in reader.board_entries(chosen)], chosen)
        line_of = timeline(reader, chosen, entry, str(one.key))
        rows = []
        for moment in line_of.moments:
            point, interval = moment.point, moment.interval
            rows.append(
                HistoryRow(
                    board=chosen,
                    entry=entry,
                    objective=one.name,
                    metric=str(one.key),
                    unit=one.key.metric.unit,
                    job=point.job_name,
                    job_uid=point.job_uid,
                    created_at=point.at,
                    cohort=point.cohort_id,
                    mean=interval.mean,
                    low=interval.low,
                    high=interval.high,
                    n=interval.n,
                    planned=point.planned,
                    verdict=moment.verdict,
                    reason=moment.reason,
                    acknowledged=moment.acknowledged,
                    baseline_uid=moment.baseline_uid,
                    new_level=point.job_uid in line_of.changes,
                )
            )
        return self._answer(ValueTable(HistoryRow, rows))

    def regressions(self, job: str | None = None) -> ValueTable[Comparison]:
        """How a job's values compare with those before it: the newest job, or one by name (the newest) or uid."""
        return self._answer(ValueTable(Comparison, judge(self._reader, choosing.chosen_job(self._reader, job).uid)))

    def measurements(self, job: str | None = None) -> list[Any]:
        """The times of inference of a job, as `torch.utils.benchmark.Measurement`: for its `Compare`.

        There is one for each trial and batch size that was timed: of the newest job, or of one by name or uid.

        Raises:
            LocalError: torch is not installed.
        """
        found = choosing.chosen_job(self._reader, job)
        records = self._reader.some_trials(found.uid, sorted(self._reader.trials(found.uid)))
        return self._answer(measurements(found.name, [record for record in records if record is not None]))

    @property
    def _reader(self) -> Reader:
        if not self._finish.alive:
            raise LocalError("these results are closed: open them again with velodrome.open_results")
        return self._store

    def _readings(self, board: str, chosen: list[BoardObjective], cohort: str | None) -> tuple[ObjectiveReading, ...]:
        readings = read_objectives(self._reader, board, chosen, cohort)
        if cohort is not None:
            known = dict.fromkeys(one.cohort_id for reading in readings for one in reading.cohorts)
            readings = tuple(one for one in readings if one.cohort and one.cohort.cohort_id == cohort)
            if not readings:
                there = choosing.listing(cohort, list(known)) or "none"
                raise NotThere("cohort", line(f"{board} has no values in cohort {cohort!r}; there are: {there}"))
        return self._answer(readings)

    def _answer(self, answer: Answer) -> Answer:
        """The answer, after a warning of what was newly left out of it."""
        for words in self._store.left_out[self._told :]:
            warnings.warn(line(f"left out: {words}"), stacklevel=3)
        self._told = len(self._store.left_out)
        return answer

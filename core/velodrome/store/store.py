"""The store's one class. What each method guarantees stands in its docstring; how it is kept, in the modules beside."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Self

import redis

from velodrome.results import EpochPoint, JobInfo, Progress, ProgressReport, ResultReport, TrialRecord
from velodrome.store.types import (
    Board,
    CohortSummary,
    Counts,
    EntryState,
    ImportReport,
    Rejection,
    Row,
    TrialSummary,
    Verdict,
)


class Store:
    """Results in Redis.

    Every method raises `StoreUnavailable` where Redis does not answer (try again: everything here may be repeated) and
    `StoreRefused` where it answers and will not (a person must act), never an error of the client library.
    """

    def __init__(self, client: redis.Redis, clock: Callable[[], float] = time.time) -> None:
        self._client = client
        self._clock = clock

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections; a later call opens them again."""
        self._client.close()

    def ping(self) -> None:
        """Returns if Redis answers, else raises as every method does."""
        raise NotImplementedError

    # Jobs

    def register(self, job: JobInfo) -> None:
        """Remembers a job. The first registration of a uid wins; again is a no-op."""
        raise NotImplementedError

    def job(self, uid: str) -> JobInfo | None:
        """A job as it was registered."""
        raise NotImplementedError

    def jobs(self, board: str | None = None, limit: int = 50, offset: int = 0) -> list[JobInfo]:
        """Jobs of one board or of all, newest first."""
        raise NotImplementedError

    def boards(self) -> list[Board]:
        """All boards, the one with the newest job or result first."""
        raise NotImplementedError

    # The inbox

    def append(self, uid: str, report: ProgressReport | ResultReport) -> str:
        """Adds a report to the job's inbox; its stream id, or "" where a progress report was dropped."""
        raise NotImplementedError

    def read_inbox(
        self, uid: str, after: str, count: int = 500, block_ms: int | None = None
    ) -> list[tuple[str, bytes]]:
        """Up to `count` reports after an id, oldest first; waits up to `block_ms` for the first."""
        raise NotImplementedError

    def position(self, uid: str) -> str:
        """Id of the last inbox entry that was collected; "0" where none was."""
        raise NotImplementedError

    def accept(
        self,
        uid: str,
        position: str,
        records: Sequence[TrialRecord],
        progress: Sequence[Progress] = (),
        rejected: Sequence[Rejection] = (),
    ) -> list[Verdict]:
        """Takes a batch, whole or not at all; one verdict for each record."""
        raise NotImplementedError

    # One job's results

    def trial(self, uid: str, index: int) -> TrialRecord | None:
        """A trial's result, without its curves."""
        raise NotImplementedError

    def trials(self, uid: str) -> dict[int, TrialSummary]:
        """All results of a job in short, by index."""
        raise NotImplementedError

    def curves(self, uid: str, index: int) -> tuple[EpochPoint, ...]:
        """A trial's curves: of its result, else of the running attempt as far as they were reported."""
        raise NotImplementedError

    def progress(self, uid: str) -> dict[int, Progress]:
        """The newest progress of each trial that reported any and has no result since."""
        raise NotImplementedError

    def conflicts(self, uid: str) -> list[TrialRecord]:
        """Results that differ from the one that was accepted for their trial, curves included."""
        raise NotImplementedError

    def counts(self, uid: str) -> Counts:
        """How the job's trials stand."""
        raise NotImplementedError

    def rejections(self, uid: str) -> list[Rejection]:
        """The newest rejected reports, as samples; `counts` has their number."""
        raise NotImplementedError

    def entries(self, uid: str) -> dict[str, EntryState]:
        """How each entry of a job stands, in the order of the job."""
        raise NotImplementedError

    # Rankings

    def board_entries(self, board: str) -> list[tuple[JobInfo, EntryState]]:
        """Each entry name of a board, as it stands in the newest job that has it."""
        raise NotImplementedError

    def cohorts(self, board: str, key: str) -> list[CohortSummary]:
        """The cohorts in which a board has values of a metric key, the one with the newest value first."""
        raise NotImplementedError

    def ranking_rows(self, board: str, key: str, cohort_id: str) -> list[Row]:
        """The values that a ranking is made of: for each entry name, those of the newest job that has any."""
        raise NotImplementedError

    # Backup

    def export_lines(self, board: str | None = None, uid: str | None = None) -> Iterator[str]:
        """Jobs, results with curves, and conflicts, as JSON lines without the line end."""
        raise NotImplementedError

    def import_lines(self, lines: Iterable[str]) -> ImportReport:
        """Takes what `export_lines` wrote. Doing it again changes nothing."""
        raise NotImplementedError


def open_store(url: str, clock: Callable[[], float] = time.time) -> Store:
    """A store at a redis://, rediss:// or unix:// URL. Nothing is sent before the first call."""
    return Store(redis.Redis.from_url(url), clock)



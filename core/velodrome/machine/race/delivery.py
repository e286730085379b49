"""Where results come from: the inbox, the spool of a runner that could not deliver, or the executor itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from velodrome.collector import Collector
from velodrome.errors import LocalError
from velodrome.machine.race.attempts import Attempt, Attempts, read_spool
from velodrome.machine.race.connection import Connection
from velodrome.machine.race.decisions import ProcessFailure, refused
from velodrome.machine.race.events import Note, Watch
from velodrome.plan import Plan, Trial
from velodrome.results.records import Progress, ResultReport, TrialRecord, utc
from velodrome.results.registration import failed_result
from velodrome.store import Acceptance, Store, TrialSummary

Accepted = tuple[TrialRecord, Acceptance]


class Delivery:
    """The reports of one race.

    `heard` holds the record of each attempt whose result was accepted. `refused` says why the result of an attempt
    was rejected.
    """

    def __init__(
        self,
        plan: Plan,
        uid: str,
        connection: Connection,
        attempts: Attempts,
        watch: Watch,
        clock: Callable[[], float],
    ) -> None:
        self._plan = plan
        self._uid = uid
        self._connection = connection
        self._attempts = attempts
        self._watch = watch
        self._clock = clock
        self.heard: dict[str, TrialRecord] = {}
        self.refused: dict[str, ProcessFailure] = {}

    def collect(self) -> tuple[list[Accepted], list[Progress]]:
        """Takes all reports from the inbox."""
        verdicts: list[Accepted] = []
        progress: list[Progress] = []
        while True:
            collected = self._connection.ask(lambda store: self._collector(store).collect_once())
            verdicts += collected.verdicts
            progress += collected.progress
            for rejection in collected.rejected:
                self._watch(Note(f"a report was rejected: {rejection.reason}: {rejection.message}"))
                if rejection.attempt is not None:
                    self.refused[rejection.attempt] = refused(rejection)
            if collected.last:
                break
        self.heard.update({record.result.attempt: record for record, _ in verdicts})
        return verdicts, progress

    def deliver(self, spooled: Iterable[Path]) -> None:
        """Puts results from the spool, which runners could not deliver, into the inbox."""
        for path in spooled:
            report = read_spool(path)
            if report is None:
                self._watch(Note(f"{path} held no result; it is kept as {path.name}.corrupt"))
                continue
            self._append(report)
            path.unlink(missing_ok=True)

    def record(self, trial: Trial, attempt: Attempt, failure: ProcessFailure) -> None:
        """Reports a failure for a trial whose process could not report it. It goes through the inbox as all results."""
        result = failed_result(
            self._uid,
            trial,
            attempt.name,
            failure.reason,
            failure.message,
            utc(attempt.began),
            utc(self._clock()),
            log_tail=attempt.log_tail(),
        )
        self._append(ResultReport(result=result))

    def summaries(self) -> dict[int, TrialSummary]:
        """The trials that have a result in the store."""
        return self._connection.ask(lambda store: store.trials(self._uid))

    def has_heard(self, attempt: Attempt) -> bool:
        """Whether this attempt's result is stored. Finds it also if the store's reply about it was lost."""
        if attempt.name not in self.heard:
            record = self._connection.ask(lambda store: store.trial(self._uid, attempt.index))
            if record is not None and record.result.attempt == attempt.name:
                self.heard[attempt.name] = record
        return attempt.name in self.heard

    def of(self, attempt: Attempt) -> TrialRecord:
        """The record of an attempt whose result must have been accepted.

        Raises:
            LocalError: there is no such record: another process took the report.
        """
        record = self.heard.pop(attempt.name, None)
        if record is None:
            raise LocalError(
                f"the result of trial {attempt.index} was not accepted: is another process collecting the results of "
                f"{self._uid}? Stop it and run again"
            )
        return record

    def _collector(self, store: Store) -> Collector:
        return Collector(store, self._plan, self._uid, self._attempts.observe, self._clock)

    def _append(self, report: ResultReport) -> None:
        self._connection.ask(lambda store: store.append(self._uid, report))

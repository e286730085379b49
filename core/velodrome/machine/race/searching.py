"""The search of a race on this machine: its trials run one after another, each with the parameters that Optuna chose.

It is level-triggered, as every race is: the suggestions and the results in the store say how far the search is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from velodrome import keys
from velodrome.board.desk import SearchDesk
from velodrome.machine.files import write_private
from velodrome.machine.race import events
from velodrome.machine.race.attempts import Attempt
from velodrome.machine.race.connection import Connection
from velodrome.machine.race.executor import Executor, Finish, Lane, RaceSettings
from velodrome.machine.race.running import RunningTrial
from velodrome.plan import Plan
from velodrome.results.records import EpochPoint, Progress, TrialResult
from velodrome.results.registration import stored_document
from velodrome.results.searches import Searched
from velodrome.search.sentences import best_words, scored, winners_words
from velodrome.search.trials import search_of


class SearchExecutor(Executor):
    """Runs the search trials of one job. As `Executor`; `uid` is that of the search trials."""

    _kept_in = keys.KEPT_SEARCH

    def __init__(self, desk: SearchDesk, *others: Any) -> None:
        super().__init__(desk.tried, *others)
        self._desk = desk
        self._asked: list[int] = []
        self._steps: dict[str, dict[int, EpochPoint]] = {}

    def _look(self) -> None:
        """Reads what was suggested and measured before."""
        self._desk.read()
        self._asked = sorted(self._desk.state.suggestions)
        self._ledger.asked = self._asked

    def _ahead(self) -> tuple[int, ...]:
        return tuple(index for index in range(len(self._plan)) if index not in self._desk.state.outcomes)

    def _goes_on(self, take_over: object) -> bool:  # noqa: ARG002 - the base's signature
        self._ask_more()
        return bool(self._ledger.pending)

    def _start_trials(self) -> None:
        if self._halt is None:
            self._ask_more()
        super()._start_trials()

    def _ask_more(self) -> None:
        """Has as many suggestions as can run at once."""
        self._desk.take(self._ledger.outcomes)
        while len(self._ledger.pending) + len(self._running) < self._settings.parallel:
            index = self._desk.suggest()
            if index is None:
                return
            self._asked.append(index)
            self._ledger.pending.append(index)

    def _trial_environ(self, attempt: Attempt) -> Mapping[str, str]:
        return {**super()._trial_environ(attempt), keys.ENV_SEARCH: "1"}

    def _progressed(self, running: RunningTrial, report: Progress) -> None:
        super()._progressed(running, report)
        if report.point is not None:
            points = self._steps.setdefault(report.attempt, {})
            points[report.point.epoch] = report.point
            self._desk.judge(report.index, report.attempt, list(points.values()))

    def _judge_failures(self) -> None:
        """No number of failed trials ends a search: those of an entry do that all fail."""

    def _finished(self, running: RunningTrial, result: TrialResult) -> events.TrialFinished:
        self._desk.take(self._ledger.outcomes)
        self._steps.pop(running.attempt.name, None)
        event = super()._finished(running, result)
        said = scored(self._desk.state, running.trial.index)
        best = best_words(self._desk.state, running.trial.entry)
        return replace(event, total=len(self._plan), said=said, best=best)


def search_race(
    plan: Plan,
    uid: str,
    lane: Lane,
    connection: Connection,
    settings: RaceSettings,
    watch: events.Watch,
    before: Sequence[str],
    *others: Any,
) -> Searched | Finish:
    """Runs the search of a registered job, as far as it has not run, and stores its winners. `before` says what was
    taken over, if anything was.

    Returns them, or how the search ended if there is no winner for each entry.
    """
    info = connection.ask(lambda store: store.job(uid))
    if info is not None and info.searched is not None:
        return info.searched
    search, of = search_of(plan.job), keys.search_uid(uid)
    write_private(lane.folder / "spec.json", json.dumps(stored_document(plan.job)).encode())
    for text in before:
        watch(events.Note(text))
    desk = SearchDesk(plan, uid, connection.ask)
    state = desk.state
    parallel = min(settings.parallel, search.parallelism or settings.parallel)
    own = replace(settings, parallel=parallel, retry_failed=False)
    finish = SearchExecutor(desk, of, lane, connection, own, watch, *others).run()
    if finish.halt is not None or not state.is_over():
        return replace(finish, uid=uid, halt=finish.halt or "interrupted", searched=True)
    without = state.without_winner()
    if without:
        for entry, reason in without.items():
            watch(
                events.Note(f"{entry}: none of its search trials ran to its end; the most frequent reason is {reason}")
            )
        return replace(finish, uid=uid, halt="noWinner", searched=True)
    found = connection.ask(lambda store: store.keep_searched(uid, state.searched()))
    for text in winners_words(plan, found):
        watch(events.Note(text))
    return found

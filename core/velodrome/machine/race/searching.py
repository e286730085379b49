"""The search of a race on this machine: its trials run one after another, each with the parameters that Optuna chose.

It is level-triggered, as every race is: the suggestions and the results in the store say how far the search is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from velodrome import keys
from velodrome.board.searches import outcomes_in, search_state
from velodrome.machine.files import write_private
from velodrome.machine.race import events
from velodrome.machine.race.attempts import Attempt
from velodrome.machine.race.connection import Connection
from velodrome.machine.race.executor import Executor, Finish, Lane, RaceSettings
from velodrome.machine.race.running import RunningTrial
from velodrome.metrics.catalogue import MetricKey
from velodrome.plan import Plan
from velodrome.results.records import Progress, TrialResult
from velodrome.results.registration import stored_document
from velodrome.results.searches import Searched, Suggestion
from velodrome.search.outcomes import Outcome, outcome_of
from velodrome.search.sentences import best_words, scored, winners_words
from velodrome.search.state import SearchState
from velodrome.search.trials import SearchPlan, search_of, search_plan
from velodrome.store import Store

_PRUNED = "its values so far are behind those of other trials (spec.search.pruner)"


class SearchExecutor(Executor):
    """Runs the search trials of one job. As `Executor`; `uid` is that of the search trials."""

    def __init__(self, plan: SearchPlan, state: SearchState, *others: Any) -> None:
        super().__init__(plan, *others)
        self._state = state
        self._search = search_of(plan.job)
        self._asked: list[int] = []
        self._steps: dict[str, dict[int, float]] = {}
        self._told_to_stop: set[str] = set()

    def _look(self) -> None:
        """Reads what was suggested and measured before."""
        suggestions = self._connection.ask(lambda store: store.suggestions(self._uid))
        plan = search_plan(self._plan, suggestions)
        outcomes = self._connection.ask(lambda store: outcomes_in(store, plan, self._uid, self._state.keys))
        self._state.resume(suggestions, outcomes)
        self._asked = sorted(suggestions)
        self._ledger.asked = self._asked

    def _ahead(self) -> tuple[int, ...]:
        return tuple(index for index in range(len(self._plan)) if index not in self._state.outcomes)

    def _goes_on(self, take_over: object) -> bool:  # noqa: ARG002 - the base's signature
        self._ask_more()
        return bool(self._ledger.pending)

    def _start_trials(self) -> None:
        if self._halt is None:
            self._ask_more()
        super()._start_trials()

    def _ask_more(self) -> None:
        """Has as many suggestions as can run at once. Each is stored before a runner can ask for it."""
        self._tell_finished()
        while len(self._ledger.pending) + len(self._running) < self._settings.parallel:
            going = self._state.suggestions.keys() - self._state.outcomes.keys()
            index = self._state.next(going)
            if index is None:
                return
            made = self._state.suggest(index)
            counts = self._connection.ask(partial(_suggest, self._uid, index, made))
            self._state.note(index, made, counts)
            self._asked.append(index)
            self._ledger.pending.append(index)

    def _tell_finished(self) -> None:
        for index in sorted(self._ledger.outcomes.keys() - self._state.outcomes.keys()):
            outcome = self._connection.ask(partial(_ended, self._uid, index, self._state.keys))
            if outcome is not None:
                self._state.tell(index, outcome)

    def _launch(self, index: int) -> None:
        if self._search.pruner is not None:
            self._connection.ask(lambda store: store.begin_trial(self._uid, index))
        super()._launch(index)

    def _trial_environ(self, attempt: Attempt) -> Mapping[str, str]:
        return {**super()._trial_environ(attempt), keys.ENV_SEARCH: "1"}

    def _progressed(self, running: RunningTrial, report: Progress) -> None:
        super()._progressed(running, report)
        name, index, first = report.attempt, report.index, str(self._state.keys[0])
        if self._search.pruner is None or report.point is None or name in self._told_to_stop:
            return
        steps = self._steps.setdefault(name, {})
        if first in report.point.validation:
            steps[report.point.epoch] = report.point.validation[first]
        if self._state.ends(index, steps):
            self._told_to_stop.add(name)
            self._connection.ask(lambda store: store.stop_trial(self._uid, index, _PRUNED))

    def _judge_failures(self) -> None:
        """No number of failed trials ends a search: those of an entry do that all fail."""

    def _finished(self, running: RunningTrial, result: TrialResult) -> events.TrialFinished:
        self._tell_finished()
        self._steps.pop(running.attempt.name, None)
        event = super()._finished(running, result)
        said, best = scored(self._state, running.trial.index), best_words(self._state, running.trial.entry)
        return replace(event, total=len(self._plan), said=said, best=best)


def _suggest(uid: str, index: int, made: Suggestion, store: Store) -> Suggestion:
    return store.suggest(uid, index, made)


def _ended(uid: str, index: int, keys: Sequence[MetricKey], store: Store) -> Outcome | None:
    """What became of a search trial that has a result."""
    record = store.trial(uid, index)
    return None if record is None else outcome_of(keys, record.result, store.curves(uid, index))


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
    state = connection.ask(lambda store: search_state(store, plan, uid))
    parallel = min(settings.parallel, search.parallelism or settings.parallel)
    own = replace(settings, parallel=parallel, retry_failed=False)
    tried = search_plan(plan, state.suggestions)
    finish = SearchExecutor(tried, state, of, lane, connection, own, watch, *others).run()
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

"""The search of one race at work: what became of its trials, what is tried next, and what is to end early.

Whoever runs a search asks this: the executor on one machine, and on a cluster the operator's process that searches. All
that it knows is in the store, so a desk that is made again goes on as if nothing had happened.
"""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from typing import Protocol, TypeVar

from velodrome.board.searches import outcomes_in
from velodrome.keys import search_uid
from velodrome.metrics.catalogue import MetricKey
from velodrome.plan import Plan
from velodrome.results.records import EpochPoint
from velodrome.results.searches import Suggestion
from velodrome.search.outcomes import Outcome, outcome_of
from velodrome.search.state import SearchState
from velodrome.search.trials import search_of, search_plan
from velodrome.store import Store

Answer = TypeVar("Answer")

PRUNED = "its values so far are behind those of other trials (spec.search.pruner)"


class Ask(Protocol):
    """Asks the store a question, more than once if it has to."""

    def __call__(self, question: Callable[[Store], Answer]) -> Answer:
        """The answer."""


class SearchDesk:
    """`uid` is that of the race, whose search is registered. Its methods raise what `ask` raises.

    `turns` has the trials of each lane, by index, in the order of their turns.
    """

    def __init__(self, plan: Plan, uid: str, ask: Ask) -> None:
        self.state = SearchState(plan)
        self.tried = search_plan(plan, self.state.suggestions)
        self.prunes = search_of(plan.job).pruner is not None
        self._uid = search_uid(uid)
        self._ask = ask
        self._stopped: set[str] = set()
        self.turns: dict[str, list[int]] = {}
        self._took_seconds: deque[float] = deque(maxlen=20)

    @property
    def most(self) -> int:
        """How many trials each entry may have."""
        return search_of(self.state.plan.job).max_trials

    @property
    def going(self) -> AbstractSet[int]:
        """The trials that were suggested and have no result yet, by index."""
        return self.state.going

    @property
    def choice_seconds(self) -> float:
        """What a choice takes now: the median of the last ones by the clock, since a machine may be busy. Before the
        first one, the CPU time of those trials that go on; 0 if there are none.
        """
        stored = [self.state.suggestions[index].seconds for index in self.going]
        return statistics.median(self._took_seconds or stored or [0.0])

    def read(self) -> None:
        """Takes everything that the store has, in the place of what was known."""
        info = self._ask(lambda store: store.job(self._uid))
        self.state.points = (None if info is None else info.points) or {}
        suggestions = self._ask(lambda store: store.suggestions(self._uid))
        tried = search_plan(self.tried, suggestions)
        outcomes = self._ask(lambda store: outcomes_in(store, tried, self._uid, self.state.keys))
        self.state.resume(suggestions, outcomes)
        self._read_turns()

    def tell_again(self) -> None:
        """Tells the runners of trials without a result once more what they have to know. It may have been lost."""
        for index in sorted(self.going):
            self._ask(partial(_suggest, self._uid, index, self.state.suggestions[index], ""))

    def take(self, indexes: Iterable[int]) -> list[int]:
        """Takes the results of those of these trials that have one. Returns which of them are new."""
        asked = sorted(self.state.going.intersection(indexes))
        found = self._ask(partial(_ended, self._uid, asked, self.state.keys))
        for index, outcome in found.items():
            self.state.tell(index, outcome)
        return list(found)

    def suggest(self, among: Collection[str] | None = None, lane: str = "") -> int | None:
        """Chooses the next trial, of all entries or of those `among` them. Stores its parameters before a runner can
        read them. Returns its index; None if no entry may go on now. In a `lane`, the trial gets the next turn.
        """
        began, index = time.monotonic(), self.state.next(self.going, among)
        if index is not None:
            made = self.state.suggest(index)
            counts, turn = self._ask(partial(_given, self._uid, index, made, lane))
            self.state.note(index, made, counts)
            if lane:
                self._took(index, lane, turn)
            self._took_seconds.append(time.monotonic() - began)
        return index

    def _took(self, index: int, lane: str, turn: int | None) -> None:
        """Keeps which turn a trial got, or reads all of them where somebody else gave some."""
        own = self.turns.setdefault(lane, [])
        if turn == len(own):
            own.append(index)
        else:
            self._read_turns()

    def _read_turns(self) -> None:
        self.turns = {lane: list(trials) for lane, trials in self._ask(lambda store: store.turns(self._uid)).items()}

    def judge(self, index: int, attempt: str, points: Sequence[EpochPoint]) -> bool:
        """Whether an attempt at a trial is to end early, by what it reported after each epoch. Its runner is told so,
        once.
        """
        if not self.prunes or attempt in self._stopped:
            return attempt in self._stopped
        first = str(self.state.keys[0])
        steps = {point.epoch: point.validation[first] for point in points if first in point.validation}
        if not self.state.ends(index, steps):
            return False
        self._stopped.add(attempt)
        self._ask(lambda store: store.stop_trial(self._uid, index, attempt, PRUNED))
        return True


class StoredSuggestions(Mapping[int, Suggestion]):
    """What a search has suggested, read when it is asked for, by index: few of many trials run at one time."""

    def __init__(self, store: Store, uid: str) -> None:
        self._store = store
        self._uid = uid
        self._read: dict[int, Suggestion] = {}

    def __getitem__(self, index: int) -> Suggestion:
        """Raises as the store does."""
        found = self._read.get(index) or self._store.suggestion(self._uid, index)
        if found is None:
            raise KeyError(index)
        self._read[index] = found
        return found

    def __iter__(self) -> Iterator[int]:
        return iter(self._store.suggestions(self._uid))

    def __len__(self) -> int:
        return len(self._store.suggestions(self._uid))


def _ended(uid: str, indexes: Sequence[int], keys: Sequence[MetricKey], store: Store) -> dict[int, Outcome]:
    """What became of those of these search trials that have a result, by index."""
    records = [one for one in store.some_trials(uid, indexes) if one is not None]
    return {one.result.index: outcome_of(keys, one.result, store.curves(uid, one.result.index)) for one in records}


def _given(uid: str, index: int, made: Suggestion, lane: str, store: Store) -> tuple[Suggestion, int | None]:
    return store.give_turn(uid, index, made, lane)


def _suggest(uid: str, index: int, made: Suggestion, lane: str, store: Store) -> Suggestion:
    return store.suggest(uid, index, made, lane)

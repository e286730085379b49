"""The state of a race: which trials are finished, and which still have to run. Pure bookkeeping."""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

from velodrome.machine.race import decisions
from velodrome.plan import Plan
from velodrome.results.records import Outcome
from velodrome.results.registration import first_round
from velodrome.results.rounds import asked
from velodrome.store import TrialSummary


class Ledger:
    """The trials of one race, by index. A trial that was asked for and is neither finished nor pending is running.

    `asked` are the trials that the race asks for now.
    """

    def __init__(self, plan: Plan, *, retry_failed: bool) -> None:
        self._plan = plan
        self.asked: Sequence[int] = asked(plan, first_round(plan))
        self._retry_failed = retry_failed
        self._tried: set[int] = set()
        self._withdrawn: Counter[int] = Counter()
        self.outcomes: dict[int, Outcome] = {}
        self.pending: list[int] = []

    def update(self, summaries: Mapping[int, TrialSummary], running: AbstractSet[int] = frozenset()) -> None:
        """Takes the state from the store: a trial with a result is finished, another one that does not run is pending.

        A failed trial that is to be tried again is pending until this race has tried it once.
        """
        self.outcomes = {index: summary.outcome for index, summary in summaries.items()}
        tried = {index for index in self._tried if index in summaries}
        to_run = decisions.to_run(self.asked, summaries, retry_failed=self._retry_failed)
        self.pending = [index for index in to_run if index not in running and index not in tried]

    def take(self) -> int:
        """The next trial to run."""
        index = self.pending.pop(0)
        self._tried.add(index)
        return index

    def put_back(self, index: int) -> None:
        """Puts a trial back at its place in the order. Its process ended, and the trial is not at fault."""
        self._withdrawn[index] += 1
        self._tried.discard(index)
        bisect.insort(self.pending, index)

    def withdrawals(self, index: int) -> int:
        """How often the trial was put back."""
        return self._withdrawn[index]

    def finish(self, index: int, outcome: Outcome) -> None:
        """Notes that the trial has a result."""
        self.outcomes[index] = outcome

    def succeeded(self) -> set[int]:
        return {index for index, outcome in self.outcomes.items() if outcome == "Succeeded"}

    def failed(self) -> int:
        """The number of failed trials, without those that are to be tried again."""
        waiting = set(self.pending)
        return sum(outcome == "Failed" and index not in waiting for index, outcome in self.outcomes.items())

    def finished(self) -> int:
        """The number of trials that were asked for and have a result."""
        return sum(index in self.outcomes for index in self.asked)

    def failed_too_often(self) -> bool:
        """Whether more trials failed than the job allows. Then no more trials run, as on a cluster."""
        return self.failed() > self._plan.job.spec.trials.max_failed

"""The search of a job: the studies of its entries, whose turn it is, and when it ends. Pure: no I/O here.

All of it follows from the suggestions and the results that were stored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from velodrome.plan import Plan
from velodrome.results.searches import Searched, Spent, Suggestion, Winner
from velodrome.search.outcomes import Outcome, best_of, directions, spent_by, winner
from velodrome.search.study import EntryStudy
from velodrome.search.trials import search_of, searched_keys

# An entry whose first trials all fail gets no more.
HOPELESS = 10


class SearchState:
    """What is known of a search. Trials have the indexes of `velodrome.search.trials.SearchPlan`.

    `suggestions` are by index, and grow. `outcomes` are those of the trials that ended. `studies` are by entry, if
    it has parameters. `points` are those of other searches, by entry, which are tried early
    from the next `resume` on.
    """

    def __init__(self, plan: Plan, points: Mapping[str, Sequence[Mapping[str, Any]]] | None = None) -> None:
        self.plan = plan
        self._search = search_of(plan.job)
        self._entries = tuple(plan.configs)
        self.keys = searched_keys(plan.job)
        self.points = points or {}
        self.suggestions: dict[int, Suggestion] = {}
        self.outcomes: dict[int, Outcome] = {}
        self.studies = self._empty()

    def _empty(self) -> dict[str, EntryStudy]:
        search, ways, epochs = self._search, directions(self.keys), self.plan.job.spec.budget.max_epochs
        return {
            entry: EntryStudy(search, entry, ways, epochs, self.points.get(entry, ()))
            for entry in self._entries
            if search.of(entry)
        }

    def resume(self, suggestions: Mapping[int, Suggestion], outcomes: Mapping[int, Outcome]) -> None:
        """Takes everything that was stored, in the place of what is known."""
        self.suggestions.clear()
        self.suggestions.update(suggestions)
        self.outcomes = dict(outcomes)
        self.studies = self._empty()
        for entry, study in self.studies.items():
            own = self._of(entry, self.suggestions)
            told = {number: one.told for number, one in self._of(entry, self.outcomes).items()}
            study.resume([own[number] for number in sorted(own)], told)

    def next(self, running: Collection[int], among: Collection[str] | None = None) -> int | None:
        """The index of the trial to suggest next, while the trials `running` go on; None if no entry may go on now.

        Entries take turns: all of them, or those `among` them.
        """
        most = self._search.max_trials
        open_ = [
            entry
            for entry in self.studies
            if (among is None or entry in among) and self._of_number(entry) < most and self._why_ended(entry) is None
        ]
        allowed = [entry for entry in open_ if self._affords(entry, running)]
        if not allowed:
            return None
        entry = min(allowed, key=lambda one: (self._of_number(one), self._entries.index(one)))
        return self._of_number(entry) * len(self._entries) + self._entries.index(entry)

    def left(self, entries: Collection[str]) -> int:
        """How many trials these entries may still get, if nothing but `maxTrials` ends them."""
        return sum(max(0, self._search.max_trials - self._of_number(entry)) for entry in entries)

    def suggest(self, index: int) -> Suggestion:
        """The suggestion for the index that `next` returned. It counts once it is noted."""
        return self.studies[self.plan.entry(index)].suggest()

    def note(self, index: int, made: Suggestion, counts: Suggestion) -> None:
        """Notes the suggestion that the store has, which may be another than the one that was `made`."""
        self.suggestions[index] = counts
        if counts.values != made.values:
            self.resume(dict(self.suggestions), self.outcomes)

    def tell(self, index: int, outcome: Outcome) -> None:
        """Notes what became of a trial."""
        self.outcomes[index] = outcome
        self.studies[self.plan.entry(index)].tell(index // len(self._entries), outcome.told)

    def ends(self, index: int, steps: Mapping[int, float]) -> bool:
        """Whether a running trial is to end early, by its values after each epoch so far."""
        study = self.studies.get(self.plan.entry(index))
        return study is not None and study.ends(index // len(self._entries), steps)

    def best(self, entry: str) -> int | None:
        """The number of the best trial of an entry so far."""
        return best_of(self.keys, self._of(entry, self.outcomes))

    def spent(self, entry: str) -> Spent:
        """What the trials of an entry took so far."""
        return spent_by(list(self._of(entry, self.outcomes).values()))

    def outcomes_of(self, entry: str) -> dict[int, Outcome]:
        """What became of the trials of an entry, by number."""
        return self._of(entry, self.outcomes)

    def is_over(self) -> bool:
        """Whether no trial runs and none will be suggested."""
        return self.suggestions.keys() == self.outcomes.keys() and self.next(()) is None

    def searched(self) -> Searched:
        """How the search ended. An entry that has parameters and no complete trial is left out."""
        found: dict[str, Winner] = {}
        for entry in self._entries:
            if entry not in self.studies:
                found[entry] = Winner()
                continue
            won = winner(self.keys, self._of(entry, self.suggestions), self._of(entry, self.outcomes))
            if won is not None:
                found[entry] = won.model_copy(update={"importances": self.studies[entry].importances()})
        ended = {entry: self._why_ended(entry) or self._why_stopped(entry) for entry in self.studies}
        return Searched(entries=found, ended=ended, optuna=_version())

    def without_winner(self) -> dict[str, str]:
        """The entries whose trials all failed, each with the reason of the most of them."""
        found = {}
        for entry in self.studies:
            reasons = self.spent(entry).reasons
            if self.best(entry) is None:
                found[entry] = next(iter(reasons), "no trial ran to its end")
        return found

    def _of(self, entry: str, found: Mapping[int, object]) -> dict[int, Any]:
        count, place = len(self._entries), self._entries.index(entry)
        return {index // count: one for index, one in found.items() if index % count == place}

    def _of_number(self, entry: str) -> int:
        return len(self._of(entry, self.suggestions))

    def _why_ended(self, entry: str) -> str | None:
        """Why an entry gets no more trials, if its results say so."""
        own = self._of(entry, self.outcomes)
        if len(own) >= HOPELESS and all(one.told.state == "Failed" for one in own.values()):
            reason, count = Counter(one.reason for one in own.values()).most_common(1)[0]
            return f"all of its {len(own)} trials failed, {count} with {reason}"
        if self.studies[entry].is_unlikely_to_improve():
            assert self._search.terminator is not None
            return f"more trials are unlikely to improve it (terminator {self._search.terminator.name})"
        return None

    def _why_stopped(self, entry: str) -> str:
        if self._of_number(entry) >= self._search.max_trials:
            return f"maxTrials: {self._search.max_trials}"
        return "its budget is spent"

    def _affords(self, entry: str, running: Collection[int]) -> bool:
        """Whether one more trial fits into the budget, in which each running one still counts in full."""
        budget = self._search.budget
        if budget is None:
            return True
        names = (entry,) if budget.scope == "Entry" else self._entries
        spent = spent_by([one for name in names for one in self._of(name, self.outcomes).values()])
        going = sum(1 for index in running if self.plan.entry(index) in names)
        longest = self.plan.job.spec.budget.max_epochs
        return (
            (budget.epochs is None or spent.epochs + (going + 1) * longest <= budget.epochs)
            and (budget.seconds is None or spent.seconds < budget.seconds)
            and (budget.gpu_hours is None or spent.gpu_seconds < budget.gpu_hours * 3600)
        )


def _version() -> str:
    from importlib.metadata import version

    return version("optuna")

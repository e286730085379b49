"""One entry's search: from its suggestions and results so far to the next suggestion. Optuna chooses, by ask and tell.

Everything that a study knows is in the suggestions and the results that were stored, so a study that is made again from
them goes on as if nothing had happened. The choice of trial n is seeded by the search's seed and n. Grid and QMC follow
one sequence, so they are seeded by the search's seed alone.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from velodrome.plan import write_spans
from velodrome.results.searches import Suggestion, TrialState
from velodrome.search.importance import importances
from velodrome.search.library import check_optuna, quiet
from velodrome.search.pruning import bracket_of, pruner_of, rungs
from velodrome.search.sampling import sampler_of
from velodrome.search.space import chosen_by, internal
from velodrome.search.stopping import Judge
from velodrome.spec import Search

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

Direction = Literal["minimize", "maximize"]


@dataclass(frozen=True, slots=True)
class Told:
    """What became of a search trial. `values` are those of the objectives, if it is complete.

    `steps` has the values after each epoch of the first objective, if it is measured each epoch. A trial that was
    pruned counts by its last one. `avoided` says that the parameters made it fail: an algorithm then treats it as worse
    than all others, so that it avoids parameters that run out of memory.
    """

    state: TrialState
    values: tuple[float, ...] = ()
    steps: Mapping[int, float] = field(default_factory=dict)
    avoided: bool = False


class EntryStudy:
    """The study of one entry, in memory. Its trials have at most `max_epochs`, and it tries the `points` of other
    searches after those of its own.
    """

    def __init__(
        self,
        search: Search,
        entry: str,
        directions: Sequence[Direction],
        max_epochs: int = 1,
        points: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        check_optuna()
        import optuna

        self._search = search
        self._entry = entry
        self._parameters = search.of(entry)
        self.directions: list[Direction] = list(directions)
        self._known: set[int] = set()
        self._storage = optuna.storages.InMemoryStorage()
        with quiet():
            self._study: Study = optuna.create_study(
                storage=self._storage,
                study_name=entry,
                directions=list(directions),
                sampler=optuna.samplers.RandomSampler(seed=0),
                pruner=pruner_of(search.pruner, max_epochs),
            )
        self._id = self._storage.get_study_id_from_name(entry)
        self._points = [internal(self._parameters, point) for point in first_points(search, entry, points)]
        self._judge = None if search.terminator is None else Judge(search.terminator, search.seed)
        self._judged: tuple[int, bool] = (0, False)
        # Hyperband knows its brackets from its first decision on. No trial without a value ends.
        self._study.pruner.prune(self._study, optuna.trial.create_trial(state=optuna.trial.TrialState.RUNNING))

    @property
    def asked(self) -> int:
        """How many trials were suggested."""
        return self._storage.get_n_trials(self._id)

    def resume(self, suggestions: Sequence[Suggestion], told: Mapping[int, Told]) -> None:
        """Takes what was suggested before, number 0 first, and what became of these trials, by number."""
        import optuna

        for one in suggestions:
            trial = optuna.trial.FixedTrial(internal(self._parameters, one.values))
            chosen_by(trial, self._parameters)
            frozen = optuna.trial.create_trial(
                state=optuna.trial.TrialState.RUNNING,
                params=trial.params,
                distributions=trial.distributions,
                system_attrs=dict(one.attributes),
            )
            self._study.add_trial(frozen)
        for name, value in suggestions[-1].of_study.items() if suggestions else ():
            self._storage.set_study_system_attr(self._id, name, value)
        for number in sorted(told):
            self.tell(number, told[number])

    def suggest(self) -> Suggestion:
        """The next suggestion, as Optuna's ask makes it now."""
        began = time.process_time()
        number = self.asked
        with quiet():
            self._study.sampler = sampler_of(self._search, self._entry, number)
            if number < len(self._points):
                self._study.enqueue_trial(self._points[number])
            trial = self._study.ask()
            values = chosen_by(trial, self._parameters)
        return Suggestion(
            entry=self._entry,
            number=number,
            values=values,
            known=write_spans(self._known),
            attributes=self._storage.get_trial(self._place(number)).system_attrs,
            of_study=self._storage.get_study_system_attrs(self._id),
            seconds=time.process_time() - began,
        )

    def tell(self, number: int, told: Told) -> None:
        """Takes the result of a trial. Only the first one of each trial counts."""
        if number in self._known:
            return
        self._known.add(number)
        place = self._place(number)
        steps = {} if told.state == "Failed" else told.steps
        for step, value in steps.items():
            self._storage.set_trial_intermediate_value(place, step, value)
        for name, value in self._rungs(number, steps).items():
            self._storage.set_trial_system_attr(place, name, value)
        from optuna.trial import TrialState as states  # noqa: N813 - it is used like a module here

        state = {"Complete": states.COMPLETE, "Pruned": states.PRUNED, "Failed": states.FAIL}[told.state]
        values = told.values if told.state == "Complete" else None
        if told.state == "Pruned" and told.steps:
            values = (told.steps[max(told.steps)],)
        if told.state == "Failed" and told.avoided and len(self._study.directions) == 1:
            state = states.PRUNED  # without a value: Optuna sorts it behind all others
        self._storage.set_trial_state_values(place, state, values)

    def ends(self, number: int, steps: Mapping[int, float]) -> bool:
        """Whether a running trial is to end now, by its values after each epoch so far."""
        if self._search.pruner is None or number in self._known:
            return False
        place = self._place(number)
        known = self._storage.get_trial(place).intermediate_values
        for step in sorted(steps.keys() - known.keys()):
            self._storage.set_trial_intermediate_value(place, step, steps[step])
            if self._study.pruner.prune(self._study, self._storage.get_trial(place)):
                return True
        return False

    def is_unlikely_to_improve(self) -> bool:
        """Whether `search.terminator` says that more trials are in vain, by the trials that ended so far."""
        if self._judge is not None and self._judged[0] != len(self._known):
            complete = sum(trial.state.name == "COMPLETE" for trial in self._study.get_trials(deepcopy=False))
            self._judged = (len(self._known), self._judge.is_unlikely_to_improve(self._study, complete))
        return self._judged[1]

    def importances(self) -> dict[str, float]:
        """How much each parameter mattered (`velodrome.search.importance`)."""
        return importances(self._study)

    def _rungs(self, number: int, steps: Mapping[int, float]) -> dict[str, float]:
        return rungs(self._search.pruner, steps, bracket_of(self._study, self._storage.get_trial(self._place(number))))

    def trials(self) -> list[FrozenTrial]:
        """All trials as Optuna has them, by number."""
        return self._study.get_trials()

    def _place(self, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._id, number)


def first_points(search: Search, entry: str, points: Sequence[Mapping[str, Any]] = ()) -> list[Mapping[str, Any]]:
    """What is tried first: the defaults of the parameters, the points of `enqueue`, and those of other searches."""
    parameters = search.of(entry)
    names = {one.name for one in parameters}
    defaults = {one.name: one.default for one in parameters if one.default is not None}
    given: list[Mapping[str, Any]] = [
        {name: value for name, value in point.items() if name in names} for point in (*search.enqueue, *points)
    ]
    return [point for point in (defaults, *given) if point][: search.max_trials]

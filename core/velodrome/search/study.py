"""One entry's search: from its suggestions and results so far to the next suggestion. Optuna chooses, by ask and tell.

Everything that a study knows is in the suggestions and the results that were stored, so a study that is made again from
them goes on as if nothing had happened. The choice of trial n is seeded by the search's seed and n. Grid and QMC follow
one sequence, so they are seeded by the search's seed alone.
"""

from __future__ import annotations

import hashlib
import importlib.util
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from velodrome.errors import LocalError
from velodrome.plan import write_spans
from velodrome.results.searches import Suggestion, TrialState
from velodrome.search.space import chosen_by, grid, internal
from velodrome.spec import Search, SearchPruner

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
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


def trial_seed(seed: int, number: int) -> int:
    """The seed of the choice of trial `number`: below 2**32, and different for each."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{number}".encode()).digest()[:4], "big")


class EntryStudy:
    """The study of one entry, in memory."""

    def __init__(self, search: Search, entry: str, directions: Sequence[Direction]) -> None:
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
                pruner=pruner_of(search.pruner),
            )
        self._id = self._storage.get_study_id_from_name(entry)
        self._points = [internal(self._parameters, point) for point in first_points(search, entry)]

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
        for name, value in _rungs(self._search.pruner, steps).items():
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

    def trials(self) -> list[FrozenTrial]:
        """All trials as Optuna has them, by number."""
        return self._study.get_trials()

    def _place(self, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._id, number)


def first_points(search: Search, entry: str) -> list[Mapping[str, Any]]:
    """The points that are tried first: the defaults of the parameters, then those that are enqueued."""
    parameters = search.of(entry)
    names = {one.name for one in parameters}
    defaults = {one.name: one.default for one in parameters if one.default is not None}
    points: list[Mapping[str, Any]] = [
        {name: value for name, value in point.items() if name in names} for point in search.enqueue
    ]
    return [point for point in (defaults, *points) if point][: search.max_trials]


def sampler_of(search: Search, entry: str, number: int) -> BaseSampler:
    """Optuna's sampler for trial `number` of an entry. Its other settings are Optuna's own defaults."""
    from optuna import samplers

    seed = trial_seed(search.seed, number)
    match search.algorithm:
        case "Grid":
            return samplers.GridSampler(grid(search.of(entry)), seed=search.seed)
        case "QMC":
            return samplers.QMCSampler(seed=search.seed, scramble=True, warn_independent_sampling=False)
        case "Random":
            return samplers.RandomSampler(seed=seed)
        case "TPE":
            return samplers.TPESampler(seed=seed)
        case "CMA-ES":
            _required("cmaes", "CMA-ES")
            return samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)
        case "GP":
            _required("torch", "GP")
            return samplers.GPSampler(seed=seed)
        case "NSGA-II":
            return samplers.NSGAIISampler(seed=seed)


def pruner_of(pruner: SearchPruner | None) -> BasePruner:
    """Optuna's pruner."""
    from optuna import pruners

    with quiet():
        match pruner and pruner.name:
            case "Median":
                assert pruner is not None
                startup = 5 if pruner.startup_trials is None else pruner.startup_trials
                return pruners.MedianPruner(n_startup_trials=startup, n_warmup_steps=pruner.warmup_epochs or 0)
            case "ASHA":
                assert pruner is not None
                least, factor = _halving(pruner)
                return pruners.SuccessiveHalvingPruner(min_resource=least, reduction_factor=factor)
            case "Patience":
                assert pruner is not None
                return pruners.PatientPruner(None, patience=pruner.patience or 1, min_delta=pruner.min_delta or 0.0)
            case "Threshold":
                assert pruner is not None
                warmup = pruner.warmup_epochs or 0
                return pruners.ThresholdPruner(lower=pruner.lower, upper=pruner.upper, n_warmup_steps=warmup)
            case _:
                return pruners.NopPruner()


def _halving(pruner: SearchPruner) -> tuple[int, int]:
    return pruner.min_epochs or 1, pruner.reduction_factor or 4


def _rungs(pruner: SearchPruner | None, steps: Mapping[int, float]) -> dict[str, float]:
    """What successive halving remembers of a trial that ended: its value at each rung that it passed.

    It follows from the values alone, so that a study which is made again remembers the same.
    """
    if pruner is None or pruner.name != "ASHA" or not steps:
        return {}
    (least, factor), last, found = _halving(pruner), max(steps), {}
    rung = 0
    while least * factor**rung <= last:
        step = min(one for one in steps if one >= least * factor**rung)
        found[f"completed_rung_{rung}"] = steps[step]
        rung += 1
    return found


def _required(module: str, algorithm: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise LocalError(
            f"search.algorithm {algorithm} needs {module}, which is not installed here: install it, or use TPE"
        )


def check_optuna() -> None:
    """Imports Optuna, and makes it say errors only.

    Raises:
        LocalError: it is not installed.
    """
    try:
        from optuna import logging
    except ImportError as error:
        raise LocalError("a search needs Optuna: pip install 'velodrome[search]'") from error
    logging.set_verbosity(logging.ERROR)


@contextmanager
def quiet() -> Iterator[None]:
    """Hides that Optuna calls some of its parts experimental: this project pins its version."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield

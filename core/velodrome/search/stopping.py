"""Whether a search is unlikely to improve: Optuna's terminators."""

from __future__ import annotations

from typing import TYPE_CHECKING

from velodrome.search.library import quiet, required
from velodrome.search.sampling import trial_seed
from velodrome.spec import SearchTerminator
from velodrome.spec.search_rules import FIRST_OF_REGRET

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.terminator import BaseErrorEvaluator


class Judge:
    """Judges one study. Its answer follows from the study's trials and the seed alone."""

    def __init__(self, terminator: SearchTerminator, seed: int) -> None:
        self._terminator = terminator
        self._seed = seed
        self._threshold: BaseErrorEvaluator | None = None
        if terminator.name == "Regret":
            required("torch", "search.terminator Regret", "use Stagnation")

    def is_unlikely_to_improve(self, study: Study, complete: int) -> bool:
        """Whether the study, which has so many complete trials, should end."""
        least = self._terminator.min_trials
        with quiet():
            if self._terminator.name == "Stagnation":
                return complete >= (20 if least is None else least) and self._has_stagnated(study)
            return complete >= max(FIRST_OF_REGRET, least or 0) and bool(self._has_little_regret(study, complete))

    def _has_stagnated(self, study: Study) -> bool:
        from optuna.terminator import BestValueStagnationEvaluator, Terminator

        most = self._terminator.trials or 30
        return Terminator(BestValueStagnationEvaluator(most), min_n_trials=1).should_terminate(study)

    def _has_little_regret(self, study: Study, complete: int) -> bool:
        from optuna.terminator import EMMREvaluator, MedianErrorEvaluator, Terminator

        if self._threshold is None:  # it is computed once, from the first trials
            self._threshold = MedianErrorEvaluator(EMMREvaluator(seed=self._seed))
        now = EMMREvaluator(seed=trial_seed(self._seed, complete))
        return Terminator(now, self._threshold, min_n_trials=1).should_terminate(study)

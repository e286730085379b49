"""How much each parameter mattered, by PED-ANOVA as Optuna computes it.

S. Watanabe, A. Bansal and F. Hutter: PED-ANOVA, IJCAI 2023.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from velodrome.search.library import quiet

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

LEAST_TRIALS = 10  # that ran to their end; fewer say too little


def importances(study: Study) -> dict[str, float]:
    """The share of each parameter in what made trials good by the first objective, the largest first; together 1.

    Parameters that not all trials have are left out. Empty if too few trials ran to their end, or all were alike.
    """
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
    from optuna.trial import TrialState

    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < LEAST_TRIALS or len({_first(trial) for trial in complete}) == 1:
        return {}
    with quiet():
        found = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator(), target=_first)
    return {name: float(share) for name, share in found.items()}


def _first(trial: FrozenTrial) -> float:
    return float(trial.values[0])

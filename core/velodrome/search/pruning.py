"""Which trials end early: Optuna's pruners, and what they remember of a trial that ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from velodrome.search.library import quiet
from velodrome.spec import SearchPruner

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.study import Study
    from optuna.trial import FrozenTrial


def pruner_of(pruner: SearchPruner | None, max_epochs: int) -> BasePruner:
    """Optuna's pruner, for trials of at most so many epochs."""
    from optuna import pruners

    if pruner is None:
        return pruners.NopPruner()
    warmup = pruner.warmup_epochs or 0
    with quiet():
        match pruner.name:
            case "Median":
                startup = 5 if pruner.startup_trials is None else pruner.startup_trials
                return pruners.MedianPruner(n_startup_trials=startup, n_warmup_steps=warmup)
            case "ASHA":
                least, factor = _halving(pruner)
                return pruners.SuccessiveHalvingPruner(min_resource=least, reduction_factor=factor)
            case "Hyperband":
                least, factor = _halving(pruner)
                return pruners.HyperbandPruner(min_resource=least, max_resource=max_epochs, reduction_factor=factor)
            case "Patience":
                return pruners.PatientPruner(None, patience=pruner.patience or 1, min_delta=pruner.min_delta or 0.0)
            case "Threshold":
                return pruners.ThresholdPruner(lower=pruner.lower, upper=pruner.upper, n_warmup_steps=warmup)


def _halving(pruner: SearchPruner) -> tuple[int, int]:
    return pruner.min_epochs or 1, pruner.reduction_factor or (3 if pruner.name == "Hyperband" else 4)


def bracket_of(study: Study, trial: FrozenTrial) -> int:
    """The bracket of Hyperband that a trial is in, which ends trials as successive halving does from its first rung
    on; 0 for other pruners.
    """
    from optuna.pruners import HyperbandPruner

    if not isinstance(study.pruner, HyperbandPruner):
        return 0
    return study.pruner._get_bracket_id(study, trial)  # noqa: SLF001 - Optuna's samplers ask it so too


def rungs(pruner: SearchPruner | None, steps: Mapping[int, float], bracket: int) -> dict[str, float]:
    """What successive halving remembers of a trial that ended: its value at each rung that it passed.

    It follows from the values alone, so that a study which is made again remembers the same.
    """
    if pruner is None or pruner.name not in ("ASHA", "Hyperband") or not steps:
        return {}
    (least, factor), last, found = _halving(pruner), max(steps), {}
    rung = 0
    while (epochs := least * factor ** (bracket + rung)) <= last:
        found[f"completed_rung_{rung}"] = steps[min(step for step in steps if step >= epochs)]
        rung += 1
    return found

"""What a trial that shared its machine can't have measured of itself alone. Pure."""

from __future__ import annotations

from velodrome.results.records import Observed, TrialResult

_ENERGY = "energy_joules"
_WHY = "other trials may have run on this machine meanwhile, and its energy counter can't tell them apart"


def of_this_trial_alone(result: TrialResult, observed: Observed) -> TrialResult:
    """The result without energy, where the trial shared its machine: a counter counts for the neighbours too.

    Runners say so themselves where they are told of neighbours; on a cluster they can't know.
    """
    alone = not observed.shared and (observed.concurrent_trials or 1) == 1
    if alone or _ENERGY not in result.metrics:
        return result
    rest = {key: value for key, value in result.metrics.items() if key != _ENERGY}
    return result.model_copy(update={"metrics": rest, "unavailable": {**result.unavailable, _ENERGY: _WHY}})

"""Removes what a trial can't measure of itself alone if it shared its machine. Pure."""

from __future__ import annotations

from velodrome.results.records import Observed, TrialResult

_ENERGY = "energy_joules"
_WHY = "other trials may have run on this machine meanwhile, and its energy counter can't tell them apart"


def of_this_trial_alone(result: TrialResult, observed: Observed) -> TrialResult:
    """The result, without energy if the trial shared its machine: the energy counter includes the neighbours.

    A runner leaves energy out itself if it knows of neighbours. On a cluster it can't know.
    """
    alone = not observed.shared and (observed.concurrent_trials or 1) == 1
    if alone or _ENERGY not in result.metrics:
        return result
    rest = {key: value for key, value in result.metrics.items() if key != _ENERGY}
    return result.model_copy(update={"metrics": rest, "unavailable": {**result.unavailable, _ENERGY: _WHY}})

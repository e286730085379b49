"""How the next trial is chosen: Optuna's samplers, each with a seed of its own."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from velodrome.search.library import required
from velodrome.search.space import grid
from velodrome.spec import Search

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


def trial_seed(seed: int, number: int) -> int:
    """The seed of the choice of trial `number`: below 2**32, and different for each."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{number}".encode()).digest()[:4], "big")


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
            required("cmaes", "search.algorithm CMA-ES", "use TPE")
            return samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)
        case "GP":
            required("torch", "search.algorithm GP", "use TPE")
            return samplers.GPSampler(seed=seed)
        case "NSGA-II":
            return samplers.NSGAIISampler(seed=seed)

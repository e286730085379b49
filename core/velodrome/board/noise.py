"""The noise floor of a board: by how much results differ although nothing changed, and which changes it can see."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from velodrome.board.cohorts import chosen_cohort
from velodrome.metrics.catalogue import MetricKey
from velodrome.ranking.places import ALPHA
from velodrome.results.objectives import BoardObjective
from velodrome.stats.noise import (
    Differences,
    Estimate,
    Scale,
    between_jobs,
    differences,
    least_change,
    over_seeds,
    smallest_change,
)
from velodrome.trends.history import BoardHistory, read_history
from velodrome.trends.regressions import rules_of
from velodrome.trends.twins import Remeasured, TakenOver, TwinPoints, measured, scale_of

if TYPE_CHECKING:
    from velodrome.store import Reader


@dataclass(frozen=True, slots=True)
class NoiseComparison:
    """A/A comparisons of one kind: pairs with what was found, in their order."""

    pairs: tuple[TwinPoints, ...]
    tested: Differences


@dataclass(frozen=True, slots=True)
class Smallest:
    """The smallest difference that is found in 80 of 100 cases with so many seeds, on the scale. None if it is unknown.

    `in_job` is between two entries of one job, and `job_to_job` between two jobs of an entry.
    """

    seeds: int
    in_job: float | None
    job_to_job: float | None


@dataclass(frozen=True, slots=True)
class ObjectiveNoise:
    """One objective of a board in one cohort. Differences and estimates are on `scale`.

    - `over_seeds` is the standard deviation between the seeds of a job, `between_jobs` what jobs add to that.
    - `smallest` is for the seeds of the board's newest job and for twice as many; `least` for any number of them.
    - `alpha` is the level of the test of entries, `regression_alpha` that of jobs, each for one comparison alone.
    - `measured` has what was left out. `cohort` has the conditions in words, or None without values.
    """

    objective: BoardObjective
    scale: Scale
    cohort_id: str | None
    cohort: str | None
    measured: Remeasured
    in_job: NoiseComparison
    job_to_job: NoiseComparison
    over_seeds: Estimate | None
    between_jobs: Estimate | None
    smallest: tuple[Smallest, ...]
    least: float | None
    alpha: float
    regression_alpha: float

    @property
    def key(self) -> MetricKey:
        return self.objective.key


def read_noise(
    reader: Reader, board: str, objectives: Iterable[BoardObjective], cohort_id: str | None = None
) -> tuple[ObjectiveNoise, ...]:
    """The noise of each objective, in the cohort with this id if it has it, else in the newest one.

    Raises:
        As the store does.
    """
    objectives = tuple(objectives)
    history = read_history(reader, board, more=[objective.key for objective in objectives])

    @cache
    def taken_over(uid: str) -> frozenset[tuple[str, int]]:
        return frozenset((trial.entry, trial.seed) for trial in reader.trials(uid).values() if trial.taken_over)

    found = []
    for objective in objectives:
        cohort = chosen_cohort(reader.cohorts(board, str(objective.key)), cohort_id)
        where = (None, None) if cohort is None else (cohort.cohort_id, cohort.words)
        found.append(_noise(history, objective, where, taken_over))
    return tuple(found)


def _noise(
    history: BoardHistory, objective: BoardObjective, cohort: tuple[str | None, str | None], taken_over: TakenOver
) -> ObjectiveNoise:
    metric, scale = objective.key.metric, scale_of(objective.key.metric)
    empty = metric.deterministic or cohort[0] is None
    seen = Remeasured() if empty else measured(history, str(objective.key), cohort[0] or "", scale, taken_over)
    seeds, jobs = over_seeds(seen.samples, scale), between_jobs([pair.twins for pair in seen.job_to_job], scale)
    newest = history.jobs[-1]
    rules = rules_of(newest)
    numbers = () if seeds is None else (newest.repeats, 2 * newest.repeats)
    smallest = tuple(_smallest(n, seeds, jobs, rules.alpha) for n in numbers if seeds is not None)
    return ObjectiveNoise(
        objective,
        scale,
        *cohort,
        seen,
        _compared(seen.in_job, scale),
        _compared(seen.job_to_job, scale),
        seeds,
        jobs,
        smallest,
        None if jobs is None else least_change(jobs.value, rules.alpha),
        ALPHA,
        rules.alpha,
    )


def _compared(pairs: list[TwinPoints], scale: Scale) -> NoiseComparison:
    return NoiseComparison(tuple(pairs), differences([pair.twins for pair in pairs], scale, ALPHA))


def _smallest(n: int, seeds: Estimate, jobs: Estimate | None, alpha: float) -> Smallest:
    across = None if jobs is None else smallest_change(n, seeds.value, jobs.value, alpha)
    return Smallest(n, smallest_change(n, seeds.value, 0.0, ALPHA), across)

"""What a race can see before it runs: the smallest difference that its seeds tell apart, and how many seeds one needs.

`foresee` decides, and is pure. `seed_noise` says how much seeds differed in the jobs of a board.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from velodrome.board.rounds import until_of
from velodrome.metrics.catalogue import Metric, MetricKey
from velodrome.plan import Plan, objective_keys
from velodrome.stats import Sample
from velodrome.stats.amounts import difference_words
from velodrome.stats.detectable import POWER
from velodrome.stats.looks import look_sizes
from velodrome.stats.noise import scaled
from velodrome.stats.power import corrected, last_level, pair_spread, seeds_for, smallest_gap
from velodrome.trends.history import BoardHistory, Point

ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class Noise:
    """The standard deviation of the difference of two entries at the same seed, as the median of so many jobs.

    It is in the metric's unit, or with `logs` that of the logarithm of their ratio.
    """

    spread: float
    jobs: int
    logs: bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """A difference that a person wants to see: in the metric's unit, as a share (`logs`), or in standard deviations."""

    text: str
    value: float
    kind: str  # "unit", "share" or "deviations"


@dataclass(frozen=True, slots=True)
class Sight:
    """What a race can see of one objective.

    - `visible`: the smallest difference, in the metric's unit or as a logarithm; None where the noise is unknown.
    - `needed`: the seeds that the wanted difference needs; None where nothing is wanted, the noise is unknown, or
      10,000 seeds are too few.
    """

    objective: str
    key: MetricKey
    noise: Noise | None
    visible: float | None
    wanted: Wanted | None = None
    needed: int | None = None


@dataclass(frozen=True, slots=True)
class Foresight:
    """What a race can see: `gap` is in standard deviations of the difference of two entries at the same seed.

    With so many `seeds` (the most that a race until decided may have) a gap of this size is found in `POWER` of all
    races, whichever the other entries are. It is infinite with one seed. `looks` are the seeds of the looks of a race
    until decided, and empty for any other race.
    """

    entries: int
    seeds: int
    looks: tuple[int, ...]
    gap: float
    sights: tuple[Sight, ...]

    @property
    def fewest(self) -> int:
        """The smallest number of trials."""
        return self.entries * (self.looks[0] if self.looks else self.seeds)

    @property
    def most(self) -> int:
        """The largest number of trials."""
        return self.entries * self.seeds


def by_factors(metric: Metric) -> bool:
    """Whether differences of the metric are shares of its values."""
    return metric.scale == "ratio"


def foresee(plan: Plan, noises: Mapping[MetricKey, Noise], wanted: Mapping[str, Wanted] | None = None) -> Foresight:
    """What the plan's race can see. `noises` has what is known; `wanted` is by the objective's name.

    Objectives whose metric is the same for every seed are left out. Each objective of a race until decided has the
    error of that race; of any other race, 5 %.
    """
    until, entries = until_of(plan.job.spec.trials), len(plan.configs)
    seeds = plan.job.spec.trials.most
    level = corrected(ALPHA, entries) if until is None else last_level(until, entries)
    gap = smallest_gap(seeds, level)
    sights = tuple(
        _sight(name, key, noises.get(key), gap, level, (wanted or {}).get(name))
        for name, key in objective_keys(plan.job).items()
        if not key.metric.deterministic
    )
    return Foresight(entries, seeds, look_sizes(until) if until is not None else (), gap, sights)


def _sight(name: str, key: MetricKey, noise: Noise | None, gap: float, level: float, wanted: Wanted | None) -> Sight:
    visible = None if noise is None or not math.isfinite(gap) else gap * noise.spread
    if wanted is None:
        return Sight(name, key, noise, visible)
    if wanted.kind == "deviations":
        return Sight(name, key, noise, visible, wanted, seeds_for(wanted.value, level))
    if noise is None:
        return Sight(name, key, noise, visible, wanted)
    size = math.log1p(wanted.value) if wanted.kind == "share" else wanted.value
    needed = seeds_for(size / noise.spread, level) if noise.spread else 2
    return Sight(name, key, noise, visible, wanted, needed)


def seed_noise(history: BoardHistory, key: MetricKey) -> Noise | None:
    """How much seeds differed in the jobs of this history; None if no job shows it.

    Of each job, the entries of its largest cohort count, at the seeds that all of them have.
    """
    logs = by_factors(key.metric)
    spreads = []
    for place, job in enumerate(history.jobs):
        points = [point for entry in job.entries if (point := history.point(place, entry, str(key))) is not None]
        samples = _of_one_cohort(points)
        if logs:
            if not all(value > 0 for one in samples for value in one.values.values()):
                continue
            samples = [scaled(one, "relative") for one in samples]
        spread = pair_spread(samples)
        if spread is not None:
            spreads.append(spread)
    return Noise(median(spreads), len(spreads), logs) if spreads else None


def _of_one_cohort(points: Sequence[Point]) -> list[Sample]:
    if not points:
        return []
    cohort, _ = Counter(point.cohort_id for point in points).most_common(1)[0]
    return [Sample(point.entry, point.values) for point in points if point.cohort_id == cohort]


def sentences(sight: Foresight) -> list[str]:
    """What the race can see, for people: first what holds for every objective, then one line for each."""
    if sight.entries == 1:
        return ["one entry: there is nothing to tell it apart from"]
    if sight.seeds == 1:
        return ["one seed shows no noise, so nothing can be told apart: set trials.repeats"]
    lines = []
    if sight.looks:
        *before, last = map(str, sight.looks)
        lines.append(f"looks at {', '.join(before)} and {last} seeds, and stops entries that are decided")
    lines.append(f"{gap_words(sight)}, in {100 * POWER:.0f} % of races or more")
    if not any(one.noise or one.wanted for one in sight.sights):
        return [*lines, "in the units of the metrics: known once a job of this board has two seeds of them"]
    return [*lines, *(f"{one.objective}: {objective_words(one)}" for one in sight.sights)]


def gap_words(sight: Foresight) -> str:
    """`5 seeds tell apart what is 3.2 standard deviations apart, with these 5 entries`."""
    gap = f"{sight.gap:{',.0f' if sight.gap >= 100 else '.2g'}} standard deviations"
    return f"{_seeds(sight)} tell apart what is {gap} apart, with these {sight.entries} entries"


def _seeds(sight: Foresight) -> str:
    return f"up to {sight.seeds} seeds" if sight.looks else f"{sight.seeds} seeds"


def one_line(sight: Foresight) -> str | None:
    """What the race can see, in one line: of the first objective whose noise is known. None without any."""
    if sight.entries == 1 or sight.seeds == 1 or not sight.sights:
        return None
    known = next((one for one in sight.sights if one.visible is not None and one.noise is not None), None)
    if known is None or known.noise is None or known.visible is None:
        return gap_words(sight)
    words = difference_words(known.key.metric, known.visible, logs=known.noise.logs)
    return f"{_seeds(sight)} tell apart about {words} of {known.objective}, by this board's history"


def objective_words(sight: Sight) -> str:
    """What a race can see of one objective: `about 1.1 points, by 4 jobs of this board; 12 seeds for 0.5 points`."""
    noise = sight.noise
    if noise is None or sight.visible is None:
        words = "no job of this board has two seeds of it"
    else:
        by = f"by {noise.jobs} job{'' if noise.jobs == 1 else 's'} of this board"
        words = f"about {difference_words(sight.key.metric, sight.visible, logs=noise.logs)}, {by}"
    if sight.wanted is None:
        return words
    if sight.needed is not None:
        return f"{words}; {sight.needed:,} seeds for {sight.wanted.text}"
    if sight.noise is None and sight.wanted.kind != "deviations":
        return f"{words}, so how many seeds tell apart {sight.wanted.text} is unknown"
    return f"{words}; more than 10,000 seeds for {sight.wanted.text}"

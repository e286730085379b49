"""What counts as better: intervals, comparisons over paired seeds, ranges of ranks, Pareto fronts.

Pure: numbers in, frozen records out. No I/O and no clock, and random numbers only in `velodrome.stats.profile`, from a
given seed. So equal input gives equal output on every machine. Depends only on numpy and scipy.special (scipy.stats
takes a second longer to import).
docs/decisions/0002-ranks-and-significance.md says which procedures are used, why, and what they can detect.
"""

from __future__ import annotations

from velodrome.metrics.catalogue import Direction
from velodrome.stats.comparison import PairComparison, compare
from velodrome.stats.intervals import Interval, mean_interval, metric_interval, metric_mean
from velodrome.stats.pareto import dominated, pareto_front
from velodrome.stats.ranking import Comparisons, RankedEntry, Ranking, rank, superiority
from velodrome.stats.samples import Sample

__all__ = [
    "Comparisons",
    "Direction",
    "Interval",
    "PairComparison",
    "RankedEntry",
    "Ranking",
    "Sample",
    "compare",
    "dominated",
    "mean_interval",
    "metric_interval",
    "metric_mean",
    "pareto_front",
    "rank",
    "superiority",
]

"""What counts as better: intervals, comparisons over paired seeds, ranks shared by what can't be told apart, fronts.

Pure: numbers in, frozen records out; no I/O, no clock, no random numbers, so equal input gives equal output on every
machine. Depends on numpy and on scipy.special alone (scipy.stats takes a second longer to import). Which procedure,
why, and how much it can see: docs/decisions/0002-ranks-and-significance.md.
"""

from __future__ import annotations

from velodrome.metrics import Direction
from velodrome.stats.comparison import PairComparison, compare
from velodrome.stats.intervals import Interval, mean_interval
from velodrome.stats.pareto import pareto_front
from velodrome.stats.ranking import Comparisons, RankedEntry, Ranking, rank
from velodrome.stats.samples import Sample

__all__ = [
    "Comparison",
    "Comparisons",
    "Direction",
    "Interval",
    "PairComparison",
    "RankedEntry",
    "Ranking",
    "Sample",
    "compare",
    "mean_interval",
    "pareto_front",
    "rank",
]

"""What a ranking says, in sentences that claim no more than its tests show. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from velodrome.metrics.catalogue import Metric
from velodrome.ranking.places import ObjectiveRanking, RankedRow
from velodrome.stats.detectable import POWER
from velodrome.stats.samples import ROUNDING, TRIMMED_FROM
from velodrome.text import listed
from velodrome.units import quantity


def summary(ranking: ObjectiveRanking) -> str:
    """Which entry is best."""
    if not ranking.ranked:
        alone = any(row.why == "OneTrial" for row in ranking.unranked)
        return _UNDECIDED if alone else "Nothing can be ranked yet."
    leader, *others = ranking.ranked
    if not others:
        return f"{leader.entry} is the only ranked entry."
    equal = [row for row in ranking.ranked if _same(row, leader)]
    if ranking.metric.deterministic:
        return f"{listed([row.entry for row in equal])} {_have(equal)} the best value."
    if len(equal) > 1:
        return _of_equals(ranking, equal)
    level, rivals = _level(ranking), leader.indistinguishable_from
    if len(rivals) == len(others) > 1:
        return f"{leader.entry} has the best mean, but no other entry can be told apart from it at {level}."
    if rivals:
        return f"{leader.entry} has the best mean; {listed(rivals)} can't be told apart from it at {level}."
    return f"{leader.entry} is best: significantly better than {_the_rest(len(others), others[0].entry)} at {level}."


_UNDECIDED = "One trial of an entry shows no spread, so no entry is ranked: set trials.repeats to 2 or more."


def _of_equals(ranking: ObjectiveRanking, equal: Sequence[RankedRow]) -> str:
    """The sentence where several entries have the best mean."""
    names = [row.entry for row in equal]
    mean = f"{listed(names)} have the same mean"
    rest = [row.entry for row in ranking.ranked if row.entry not in names]
    if not rest:
        return f"{mean}."
    close = {name for row in equal for name in row.indistinguishable_from}
    rivals = [name for name in rest if name in close]
    if rivals:
        return f"{mean}, the best one; {listed(rivals)} might be as good at {_level(ranking)}."
    return f"{mean}, and are significantly better than {_the_rest(len(rest), rest[0])} at {_level(ranking)}."


def _same(one: RankedRow, other: RankedRow) -> bool:
    """Whether rounding alone explains the difference of two means."""
    return math.isclose(one.interval.mean, other.interval.mean, rel_tol=ROUNDING, abs_tol=0.0)


def _have(rows: Sequence[RankedRow]) -> str:
    return "has" if len(rows) == 1 else "share"


def _level(ranking: ObjectiveRanking) -> str:
    return f"{100 * (1 - ranking.alpha):g} %"


def _the_rest(count: int, first: str) -> str:
    return first if count == 1 else f"each of the other {count} entries"


def seen(metric: Metric, logs: bool, row: RankedRow) -> str:  # noqa: FBT001
    """The difference to the next row that would have been found, with its unit.

    With `logs` it is a share of the smaller mean. Empty if the two are told apart, or if the metric's whole range is
    smaller than the difference.
    """
    if row.detectable is None:
        return ""
    if logs:
        return quantity("percent", 100 * row.detectable, 2)
    least, most = metric.range
    return quantity(metric.unit, row.detectable, 2) if row.detectable <= most - least else ""


def would_see(ranking: ObjectiveRanking, most: int = 4) -> str:
    """What the first ties between neighbours leave open; empty without ties."""
    tied = [(row, following) for row, following in pairwise(ranking.ranked) if row.detectable is not None]
    if not tied:
        return ""
    sizes = [
        f"{row.entry} and {following.entry} {size}"
        for row, following in tied
        if (size := seen(ranking.metric, ranking.logs, row))
    ]
    if not sizes:
        return "With so few trials, such a race tells no neighbours apart: give it more seeds."
    rest = f"; {len(sizes) - most} more in --json" if len(sizes) > most else ""
    return f"Such a race finds these differences in {100 * POWER:g} % of cases: {'; '.join(sizes[:most])}{rest}."


def about_means(ranking: ObjectiveRanking) -> str:
    """What the means are; empty where they are the plain ones that everybody expects."""
    if ranking.logs:
        most = max((row.interval.n for row in ranking.ranked), default=0)
        trimmed = f" From {TRIMMED_FROM} trials on, they leave out the highest and the lowest 15 %."
        return f"Means are geometric: entries differ by factors.{trimmed if most >= TRIMMED_FROM else ''}"
    if ranking.metric.scale == "ratio" and not ranking.metric.deterministic and ranking.ranked:
        return "A value is 0, which has no logarithm: means are arithmetic, and differences are no factors."
    return ""

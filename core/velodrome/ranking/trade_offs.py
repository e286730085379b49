"""Several objectives at once: which entries are dominated, and which might be worth their price. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from velodrome.metrics.catalogue import MetricKey
from velodrome.ranking.places import ObjectiveRanking, RankedRow
from velodrome.stats import Interval, Sample, dominated, pareto_front, superiority
from velodrome.text import listed

Standing = Literal["front", "maybe", "dominated"]
_ORDER: Sequence[Standing] = ("front", "maybe", "dominated")


@dataclass(frozen=True, slots=True)
class FrontPoint:
    """An entry in a trade-off: its interval for each objective, in their order, and where it stands.

    - **dominated**: some entry is significantly better in one objective, and worse in none as far as the ranks show.
    - **front**: not dominated, and by the means no entry is at least as good in all objectives and better in one.
    - **maybe**: all others. By the means some entry dominates it, but the tests don't show that.
    """

    entry: str
    job_uid: str
    intervals: tuple[Interval, ...]
    standing: Standing


@dataclass(frozen=True, slots=True)
class TradeOff:
    """Entries by two or three objectives at once: the front first, then those that may be on it, then the dominated
    ones, each sorted by the first objective.

    `left_out` says, by entry, why an entry has no point.
    """

    keys: tuple[MetricKey, ...]
    points: tuple[FrontPoint, ...]
    left_out: Mapping[str, str]

    def standing(self, *wanted: Standing) -> tuple[str, ...]:
        """The entries that stand so."""
        return tuple(point.entry for point in self.points if point.standing in wanted)

    @property
    def front(self) -> tuple[str, ...]:
        """The entries on the front."""
        return self.standing("front")


def pareto(rankings: Sequence[ObjectiveRanking]) -> TradeOff:
    """The trade-off between two or three objectives.

    An entry takes part only if it is ranked for each objective by values of the same job. So values of two jobs are
    never combined into a point that nobody measured. If all entries are equal, some entry is called dominated in at
    most a share α of races, the α of the rankings.

    Raises:
        ValueError: there are fewer than two or more than three objectives, or one is there twice.
    """
    keys = tuple(ranking.key for ranking in rankings)
    if not 2 <= len(keys) <= 3 or len(set(keys)) < len(keys):
        raise ValueError(f"a trade-off is between two or three different objectives, not {len(keys)}")
    taking_part, left_out = _taking_part(rankings)
    means = {name: [row.interval.mean for row in rows] for name, rows in taking_part.items()}
    best = pareto_front(means, [key.metric.direction for key in keys])
    beaten = _dominated(rankings, taking_part)
    points = [
        FrontPoint(
            name,
            rows[0].job_uid,
            tuple(row.interval for row in rows),
            "dominated" if name in beaten else "front" if name in best else "maybe",
        )
        for name, rows in taking_part.items()
    ]
    sign = 1 if keys[0].metric.direction == "lower" else -1
    points.sort(key=lambda point: (_ORDER.index(point.standing), sign * point.intervals[0].mean, point.entry))
    return TradeOff(keys, tuple(points), left_out)


def _taking_part(rankings: Sequence[ObjectiveRanking]) -> tuple[dict[str, tuple[RankedRow, ...]], dict[str, str]]:
    """The rows of the entries that have a point, and why the others have none."""
    by_entry = [{row.entry: row for row in ranking.ranked} for ranking in rankings]
    names = dict.fromkeys(name for ranking in rankings for name in ranking.entries)
    left_out: dict[str, str] = {}
    taking_part: dict[str, tuple[RankedRow, ...]] = {}
    for name in names:
        rows = tuple(found[name] for found in by_entry if name in found)
        missing = [ranking.key.label for ranking, found in zip(rankings, by_entry, strict=True) if name not in found]
        if missing:
            left_out[name] = f"not ranked by {listed(missing)}"
        elif len({row.job_uid for row in rows}) > 1:
            left_out[name] = "its values come from different jobs"
        else:
            taking_part[name] = rows
    return taking_part, left_out


def _dominated(rankings: Sequence[ObjectiveRanking], rows: Mapping[str, tuple[RankedRow, ...]]) -> frozenset[str]:
    better, surely_better = [], []
    for index, ranking in enumerate(rankings):
        samples = [Sample(name, own[index].samples) for name, own in rows.items()]
        metric, alpha = ranking.metric, ranking.alpha
        at_ranks, corrected = superiority(
            samples,
            metric.direction,
            (alpha, alpha / len(rankings)),
            deterministic=metric.deterministic,
            scale="ratio" if ranking.logs else "interval",
            stopping={name: how for name, own in rows.items() if (how := own[index].stopping) is not None},
        )
        better.append(at_ranks)
        surely_better.append(corrected)
    beaten = dominated(better, surely_better)
    return frozenset(name for name, is_beaten in zip(rows, beaten, strict=True) if is_beaten)

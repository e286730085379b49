"""Do all entries of a job move together? Then the machine, a driver or the data changed, and not the models. Pure.

What the entries have in common is followed like one more entry: the median of their distances from their levels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from velodrome.stats.job_tests import JobRows, Rule, Side, critical
from velodrome.stats.levels import newest
from velodrome.stats.samples import Floats, Integers
from velodrome.stats.spread import Bools
from velodrome.trends.scales import ChangeScale

# So many entries must move together, and this share of those that were compared.
FEWEST = 3
_SHARE = 2 / 3
# An entry moves with the others if it moves by at least this share of what they have in common.
_AT_LEAST = 0.5
_MEDIAN = np.pi / 2  # the variance of a median of normal values, relative to that of their mean


@dataclass(frozen=True, slots=True, eq=False)
class Common:
    """What the entries of an objective have in common. Differences are relative: on a scale of logarithms, logarithms.

    `change` is that of the job, and `p_value` its own, for this comparison alone. `large` says that it counts. `along`
    says which rows moved with it, by as much, within their noise. `part` is what the entries have in common in each
    job, a row for each entry, on the scale of the comparison: NaN where a job lacks an entry.
    """

    change: float
    p_value: float
    large: bool
    along: Bools
    part: Floats

    @property
    def moved(self) -> bool:
        """Whether enough entries moved together, if the change itself is significant."""
        together = int(self.along.sum())
        return self.large and together >= FEWEST and together >= _SHARE * len(self.along)

    def explains(self, rows: JobRows, rule: Rule, said: Side) -> Bools:
        """Of which of these rows the change in `said` is none, if what the entries have in common is left out."""
        beyond = newest(replace(rows, means=rows.means - self.part), rule).said
        same = beyond.difference * said.difference > 0
        changed = same & (beyond.p_value <= rule.alpha) & (rule.size(beyond.difference, beyond.centre) >= 1)
        found: Bools = beyond.compared & ~changed
        return found


def common(rows: JobRows, rule: Rule, scale: ChangeScale, alone: Side) -> Common | None:
    """What the rows have in common in the last job; None for fewer than three rows, or without a job to compare with.

    `alone` are the comparisons of that job. Rows without one don't count.
    """
    used = np.flatnonzero(alone.compared)
    unit = scale.unit(alone.centre)
    used = used[unit[used] > 0]
    if len(used) < FEWEST or rows.deterministic:
        return None
    unit, centre = unit[used, None], alone.centre[used, None]
    means = (rows.means[used] - centre) / unit
    columns = np.flatnonzero(~np.isnan(means).any(axis=0))
    if len(columns) < 2:
        return None
    means, own = means[:, columns], rows.own[used][:, columns] / unit**2
    least = float(np.median(rule.least(centre[:, 0]) / unit[:, 0]))
    paired = rows.paired[used][:, columns] / unit**2
    smaller = np.where(np.isnan(paired), own, np.minimum(paired, own))
    shared = JobRows(
        np.median(means, axis=0)[None],
        _MEDIAN * smaller.mean(axis=0)[None] / len(used),
        np.full((1, len(columns)), np.nan),
        np.full((1, len(columns)), len(used) * int(np.median(rows.count[used][:, columns]))),
        np.zeros(len(columns), dtype=np.int64),
        rows.accepted[used][:, columns].mean(axis=0)[None] > 0.5,
        np.array([_pin(rows.pinned[used], columns)]),
        np.zeros(1, dtype=np.int64),
    )
    counts = Rule(rule.alpha, lambda by, _: np.abs(by) / least if least else np.where(by == 0, 0.0, np.inf),
                  lambda at: np.full(np.shape(at), least), rule.better)  # fmt: skip
    last = newest(shared, counts)
    if not last.said.compared[0]:
        return None
    change = float(last.alone.own[0])
    along = np.zeros(len(rows.means), dtype=np.bool_)
    along[used] = _along(alone, used, change, unit[:, 0], rule.alpha)
    part = np.zeros(rows.means.shape)
    part[used] = np.nan
    part[np.ix_(used, columns)] = unit * shared.means
    large = bool(counts.size(last.alone.own, last.alone.centre)[0] >= 1)
    return Common(change, float(last.p_value[0]), large, along, part)


def _pin(pinned: Integers, columns: Integers) -> int:
    """The column of the job that all rows are pinned to, among those that are left; -1 without one."""
    places = np.flatnonzero(columns == pinned[0])
    return int(places[0]) if len(places) and (pinned == pinned[0]).all() else -1


def _along(alone: Side, used: Integers, change: float, unit: Floats, alpha: float) -> Bools:
    """Which of the rows moved by as much as the change, within their noise."""
    own = alone.own[used] / unit
    noise = critical(alone, alpha / len(used) / alone.share)[used] / unit
    found: Bools = (np.abs(own - change) <= noise) & (own * np.sign(change) >= _AT_LEAST * abs(change))
    return found

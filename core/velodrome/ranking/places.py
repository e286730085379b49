"""Turns the samples of a board into what a person reads: ranks, reasons, trade-offs, and a sentence. Pure.

The command line and the leaderboard both use this module, so they always agree. `velodrome.stats` decides which entry
is better. This module decides which entries take part: an entry is ranked only if every planned trial of it has a value
in the cohort. Otherwise it is listed as unranked, with the reason.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from velodrome.metrics.catalogue import Direction, Metric, MetricKey
from velodrome.stats import Interval, RankedEntry, Sample, pareto_front, rank
from velodrome.units import quantity

if TYPE_CHECKING:  # the store imports redis, which nothing here needs
    from velodrome.results.records import JobInfo
    from velodrome.store.types import EntryState, Row

ALPHA = 0.05

Why = Literal["Failed", "DifferentCode", "SeedsDiffer", "Incomplete", "OtherConditions", "NotMeasured"]


@dataclass(frozen=True, slots=True)
class RankedRow:
    """A ranked entry.

    - `rank` is 1 + the number of entries that are significantly better.
    - `shared` says that another entry has the same rank.
    - `indistinguishable_from` names the entries without a significant difference, in the order of the ranking.
    - `note` is empty, or says what a reader should know: that a newer job has this entry and its values can't be ranked
      yet, or that its conditions did not hold.
    """

    rank: int
    shared: bool
    entry: str
    entry_id: str
    job_uid: str
    job_name: str
    interval: Interval
    samples: Mapping[int, float]
    last_at: datetime
    indistinguishable_from: tuple[str, ...]
    note: str = ""

    @property
    def place(self) -> str:
        """The rank as sports tables write it: `1=` for a shared rank 1."""
        return f"{self.rank}{'=' if self.shared else ''}"


@dataclass(frozen=True, slots=True)
class UnrankedRow:
    """An entry without a rank: `why` for programs, `reason` for people.

    `samples` has its values by seed. `planned` is how many values it should have.
    """

    entry: str
    job_uid: str
    job_name: str
    why: Why
    reason: str
    samples: Mapping[int, float]
    planned: int


@dataclass(frozen=True, slots=True)
class ObjectiveRanking:
    """One objective's ranking in one cohort. `ranked` is best first. `unranked` has failures first, then by name."""

    key: MetricKey
    alpha: float
    ranked: tuple[RankedRow, ...]
    unranked: tuple[UnrankedRow, ...]

    @property
    def metric(self) -> Metric:
        """The metric, as the catalogue describes it."""
        return self.key.metric

    @property
    def unit(self) -> str:
        """The unit of every interval."""
        return self.metric.unit

    @property
    def direction(self) -> Direction:
        """Whether higher or lower is better."""
        return self.metric.direction

    @property
    def entries(self) -> tuple[str, ...]:
        """Every entry, ranked entries first."""
        return (*(row.entry for row in self.ranked), *(row.entry for row in self.unranked))

    @property
    def leaders(self) -> tuple[str, ...]:
        """The entries of rank 1, best mean first."""
        return tuple(row.entry for row in self.ranked if row.rank == 1)


def rank_objective(
    key: str | MetricKey,
    rows: Iterable[Row],
    entry_states: Iterable[tuple[JobInfo, EntryState]] = (),
    *,
    other_cohorts: bool = False,
    unavailable: Mapping[str, str] | None = None,
    differing: Mapping[tuple[str, str], str] | None = None,
    remarks: Mapping[tuple[str, str], str] | None = None,
    alpha: float = ALPHA,
) -> ObjectiveRanking:
    """Ranks the entries of one cohort by one metric.

    - `rows` has one row for each entry with a value in the cohort.
    - `entry_states` has the state of each entry of the board in its newest job.
    - `other_cohorts` says that values of the metric exist in other cohorts too.
    - `unavailable` says, by entry, why a finished entry has no value.
    - `differing` says, by job uid and entry, why its seeds are not trials of one model (`seeds_differ`).
    - `remarks` says, by job uid and entry, which of its conditions did not hold (`velodrome.ranking.remarks`).

    `rows` and `entry_states` may have any order.

    Raises:
        ValueError: the key names no metric of the catalogue, or two rows are of one entry.
    """
    key = MetricKey.parse(key) if isinstance(key, str) else key
    rows = list(rows)
    states = {state.entry: (job, state) for job, state in entry_states}
    apart = differing or {}
    unranked = [
        held_back
        for row in rows
        if (held_back := _held_back(row, states.get(row.entry), apart.get((row.job_uid, row.entry))))
    ]
    absent = states.keys() - {row.entry for row in rows}
    for job, state in (states[entry] for entry in absent):
        why, reason = _absence(key, state, other_cohorts, (unavailable or {}).get(state.entry))
        unranked.append(UnrankedRow(state.entry, job.uid, job.name, why, reason, {}, state.planned))
    out = {row.entry for row in unranked}
    samples = [Sample(row.entry, row.samples) for row in rows if row.entry not in out]
    places = rank(samples, key.metric.direction, alpha, deterministic=key.metric.deterministic)
    by_entry = {row.entry: row for row in rows}
    said = remarks or {}
    ranked = tuple(
        _ranked(place, row, states.get(place.name), said.get((row.job_uid, row.entry), ""))
        for place in places.entries
        for row in [by_entry[place.name]]
    )
    return ObjectiveRanking(key, alpha, ranked, tuple(sorted(unranked, key=_severity)))


def seeds_differ(key: MetricKey, values: Collection[float]) -> str | None:
    """Why an entry with these values of several seeds is not one model: the catalogue calls the metric deterministic,
    but the values differ. None if they are equal, and for every metric that is not deterministic.
    """
    if not key.metric.deterministic or len(set(values)) < 2:
        return None
    low, high = (quantity(key.metric.unit, value) for value in (min(values), max(values)))
    return f"its seeds did not train the same model: {key} is {low} for one and {high} for another"


def _held_back(row: Row, newest: tuple[JobInfo, EntryState] | None, differing: str | None = None) -> UnrankedRow | None:
    """Why an entry with values in the cohort is unranked. None if it is ranked."""
    done = len(row.samples)
    why: Why = "NotMeasured"
    if row.mixed_code:
        why, reason = "DifferentCode", "its trials ran different code"
    elif differing is not None:
        why, reason = "SeedsDiffer", differing
    elif done < row.planned:
        own = newest[1] if newest is not None and newest[0].uid == row.job_uid else None
        why, reason = _shortfall(row, own)
    else:
        try:
            Sample(row.entry, row.samples)
        except ValueError as error:  # finite, but too large or too small to have a mean
            reason = str(error)
        else:
            return None
    return UnrankedRow(row.entry, row.job_uid, row.job_name, why, reason, row.samples, row.planned)


_ORDER: tuple[Why, ...] = ("Failed", "DifferentCode", "SeedsDiffer", "Incomplete", "NotMeasured", "OtherConditions")


def _severity(row: UnrankedRow) -> tuple[int, str]:
    return _ORDER.index(row.why), row.entry


def _ranked(place: RankedEntry, row: Row, newest: tuple[JobInfo, EntryState] | None, remark: str) -> RankedRow:
    notes = [remark] if remark else []
    if newest is not None and newest[0].uid != row.job_uid:
        job, state = newest
        failures = f": {failed_text(state)}" if state.failed else ""
        notes.insert(0, f"from {row.job_name}; the newer job {job.name} has no value here yet{failures}")
    return RankedRow(
        rank=place.rank,
        shared=bool(place.shares_rank_with),
        entry=row.entry,
        entry_id=row.entry_id,
        job_uid=row.job_uid,
        job_name=row.job_name,
        interval=place.interval,
        samples=row.samples,
        last_at=row.last_at,
        indistinguishable_from=place.indistinguishable_from,
        note="; ".join(notes),
    )


def failed_text(state: EntryState) -> str:
    """For example `2 of 5 trials failed: LossNotFinite`. Several reasons have a count each."""
    reasons = sorted(state.reasons.items(), key=lambda item: (-item[1], item[0]))
    if len(reasons) > 1:
        words = ", ".join(f"{reason} × {count}" for reason, count in reasons)
    else:
        words = "".join(reason for reason, _ in reasons)
    return f"{state.failed} of {_trials(state.planned)} failed" + (f": {words}" if words else "")


def _trials(count: int) -> str:
    return f"{count} trial{'' if count == 1 else 's'}"


def _shortfall(row: Row, state: EntryState | None) -> tuple[Why, str]:
    """Why an entry has only a part of its values in the cohort. `state` is its state in the row's job, if known."""
    have = f"{len(row.samples)} of {_trials(row.planned)}"
    if state is None:  # only the state in a newer job is known, which has no value here
        return "Incomplete", f"{have} of {row.job_name} have a value"
    if state.failed:
        return "Failed", failed_text(state)
    if state.succeeded > len(row.samples):
        return "OtherConditions", f"only {have} ran under these conditions"
    return "Incomplete", f"{have} done"


def _absence(key: MetricKey, state: EntryState, other_cohorts: bool, unavailable: str | None) -> tuple[Why, str]:  # noqa: FBT001
    """Why an entry has no value in the cohort at all."""
    if state.failed:
        return "Failed", failed_text(state)
    if unavailable is not None:
        return "NotMeasured", unavailable
    if state.succeeded and other_cohorts:
        return "OtherConditions", "has no result under these conditions"
    if state.succeeded < state.planned:
        return "Incomplete", f"{state.succeeded} of {_trials(state.planned)} done"
    return "NotMeasured", f"{key.label} was not measured"


def summary(ranking: ObjectiveRanking) -> str:
    """Which entry is best, in a sentence that claims no more than the tests show."""
    if not ranking.ranked:
        return "Nothing can be ranked yet."
    leader, *others = ranking.ranked
    if not others:
        return f"{leader.entry} is the only complete entry."
    level = f"{100 * (1 - ranking.alpha):g} %"
    if all(row.interval.n == 1 for row in ranking.ranked):
        return f"{leader.entry} has the best value, but one trial each separates no entries: raise trials.repeats."
    rivals = leader.indistinguishable_from
    if len(rivals) == len(others) > 1:
        return f"{leader.entry} has the best mean, but no other entry can be told apart from it at {level}."
    if rivals:
        return f"{leader.entry} has the best mean; {listed(rivals)} can't be told apart from it at {level}."
    return f"{leader.entry} is best: significantly better than {_the_rest(others)} at {level}."


def _the_rest(others: Sequence[RankedRow]) -> str:
    return others[0].entry if len(others) == 1 else f"each of the other {len(others)} entries"


def listed(names: Sequence[str], most: int = 3) -> str:
    """`a`, `a and b`, `a, b and c`, or `a, b, c and 4 more`."""
    shown, rest = list(names[:most]), len(names) - most
    tail = f"{rest} more" if rest > 0 else shown.pop()
    return f"{', '.join(shown)} and {tail}" if shown else tail


@dataclass(frozen=True, slots=True)
class FrontPoint:
    """An entry in a trade-off: its interval for each objective, in their order, and whether it is on the front."""

    entry: str
    job_uid: str
    intervals: tuple[Interval, ...]
    on_front: bool


@dataclass(frozen=True, slots=True)
class TradeOff:
    """Entries by two or three objectives at once. Entries on the front come first, then the others; both are sorted by
    the first objective.

    `left_out` says, by entry, why an entry has no point.
    """

    keys: tuple[MetricKey, ...]
    points: tuple[FrontPoint, ...]
    left_out: Mapping[str, str]

    @property
    def front(self) -> tuple[str, ...]:
        """The entries on the front: no other entry dominates them."""
        return tuple(point.entry for point in self.points if point.on_front)


def pareto(rankings: Sequence[ObjectiveRanking]) -> TradeOff:
    """The trade-off between two or three objectives: the entries that no other entry dominates, by their means.

    An entry takes part only if it is ranked for each objective by values of the same job. So values of two jobs are
    never combined into a point that nobody measured.

    Raises:
        ValueError: there are fewer than two or more than three objectives, or one is there twice.
    """
    keys = tuple(ranking.key for ranking in rankings)
    if not 2 <= len(keys) <= 3 or len(set(keys)) < len(keys):
        raise ValueError(f"a trade-off is between two or three different objectives, not {len(keys)}")
    by_entry = [{row.entry: row for row in ranking.ranked} for ranking in rankings]
    names = dict.fromkeys(name for ranking in rankings for name in ranking.entries)
    left_out: dict[str, str] = {}
    taking_part: dict[str, tuple[RankedRow, ...]] = {}
    for name in names:
        rows = tuple(found[name] for found in by_entry if name in found)
        missing = [key.label for key, found in zip(keys, by_entry, strict=True) if name not in found]
        if missing:
            left_out[name] = f"not ranked by {listed(missing)}"
        elif len({row.job_uid for row in rows}) > 1:
            left_out[name] = "its values come from different jobs"
        else:
            taking_part[name] = rows
    means = {name: [row.interval.mean for row in rows] for name, rows in taking_part.items()}
    front = pareto_front(means, [key.metric.direction for key in keys])
    points = [
        FrontPoint(name, rows[0].job_uid, tuple(row.interval for row in rows), name in front)
        for name, rows in taking_part.items()
    ]
    sign = 1 if keys[0].metric.direction == "lower" else -1
    points.sort(key=lambda point: (not point.on_front, sign * point.intervals[0].mean, point.entry))
    return TradeOff(keys, tuple(points), left_out)

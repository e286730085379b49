"""Turns the samples of a board into what a person reads: ranks, and the reasons of entries without one. Pure.

The command line and the leaderboard both use this module, so they always agree. `velodrome.stats` decides which entry
is better. This module decides which entries take part: an entry is ranked only if every planned trial of it has a value
in the cohort, no run of it is hidden, and it has more than one value unless the metric is deterministic. Otherwise it
is listed as unranked, with the reason.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Literal

from velodrome.metrics.catalogue import Direction, Metric, MetricKey
from velodrome.stats import Interval, RankedEntry, Sample, rank
from velodrome.stats.stopping import Stopping
from velodrome.units import quantity

if TYPE_CHECKING:  # the store imports redis, which nothing here needs
    from velodrome.results.records import JobInfo
    from velodrome.store.types import EntryState, Row

ALPHA = 0.05

Why = Literal[
    "Failed", "DifferentCode", "SeedsDiffer", "OneTrial", "Incomplete", "OtherConditions", "NotMeasured", "Hidden"
]


@dataclass(frozen=True, slots=True)
class RankedRow:
    """A ranked entry.

    - `rank` is 1 + the number of entries that are significantly better, and `worst_rank` the number of ranked entries
      less those that are significantly worse: the entry's true rank lies between them.
    - `indistinguishable_from` names the entries without a significant difference, in the order of the ranking.
    - `detectable` is the true difference to the next row that four of five such races would find, if the two can't be
      told apart: in the metric's unit, or a share of the smaller mean where means are geometric.
    - `note` is empty, or says what a reader should know: that a newer job has this entry and its values can't be ranked
      yet, or that its conditions did not hold.
    - `stopping` says which looks of a race until decided its values come from; None for any other race.
    """

    rank: int
    worst_rank: int
    entry: str
    entry_id: str
    job_uid: str
    job_name: str
    interval: Interval
    samples: Mapping[int, float]
    last_at: datetime
    indistinguishable_from: tuple[str, ...]
    detectable: float | None = None
    note: str = ""
    stopping: Stopping | None = None

    @property
    def place(self) -> str:
        """The ranks that the entry may have: `1-3`, or `2` if the tests leave no other."""
        return f"{self.rank}" if self.rank == self.worst_rank else f"{self.rank}-{self.worst_rank}"


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
    """One objective's ranking in one cohort. `ranked` is best first. `unranked` has failures first, then by name, but
    entries of one trial by value.

    `logs` says that values were compared by their logarithms, so means are geometric and differences are shares.
    """

    key: MetricKey
    alpha: float
    logs: bool
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
        """The entries that may have rank 1, best mean first."""
        return tuple(row.entry for row in self.ranked if row.rank == 1)


def rank_objective(  # noqa: PLR0913 - what is known of the rows, one argument for each source
    key: str | MetricKey,
    rows: Iterable[Row],
    entry_states: Iterable[tuple[JobInfo, EntryState]] = (),
    *,
    other_cohorts: bool = False,
    unavailable: Mapping[str, str] | None = None,
    differing: Mapping[tuple[str, str], str] | None = None,
    remarks: Mapping[tuple[str, str], str] | None = None,
    stopping: Mapping[str, Stopping] | None = None,
    alpha: float = ALPHA,
) -> ObjectiveRanking:
    """Ranks the entries of one cohort by one metric.

    - `rows` has one row for each entry with a value in the cohort.
    - `entry_states` has the state of each entry of the board in its newest job.
    - `other_cohorts` says that values of the metric exist in other cohorts too.
    - `unavailable` says, by entry, why a finished entry has no value.
    - `differing` says, by job uid and entry, why its seeds are not trials of one model (`seeds_differ`).
    - `remarks` says, by job uid and entry, which of its conditions did not hold (`velodrome.ranking.remarks`).
    - `stopping` says, by entry, which looks of a race until decided its row's values come from.

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
        if (held_back := _held_back(key, row, states.get(row.entry), apart.get((row.job_uid, row.entry))))
    ]
    absent = states.keys() - {row.entry for row in rows}
    for job, state in (states[entry] for entry in absent):
        why, reason = _absence(key, state, other_cohorts, (unavailable or {}).get(state.entry))
        unranked.append(UnrankedRow(state.entry, job.uid, job.name, why, reason, {}, state.planned))
    out = {row.entry for row in unranked}
    metric = key.metric
    places = rank(
        [Sample(row.entry, row.samples) for row in rows if row.entry not in out],
        metric.direction,
        alpha,
        deterministic=metric.deterministic,
        scale=metric.scale,
        limits=metric.range,
        stopping=stopping,
    )
    by_entry = {row.entry: row for row in rows}
    said = remarks or {}
    ranked = tuple(
        replace(
            _ranked(place, row, states.get(place.name), said.get((row.job_uid, row.entry), "")),
            stopping=(stopping or {}).get(place.name),
        )
        for place in places.entries
        for row in [by_entry[place.name]]
    )
    sign = -1.0 if metric.direction == "higher" else 1.0
    return ObjectiveRanking(key, alpha, places.logs, ranked, tuple(sorted(unranked, key=partial(_severity, sign))))


def seeds_differ(key: MetricKey, values: Collection[float]) -> str | None:
    """Why an entry with these values of several seeds is not one model: the catalogue calls the metric deterministic,
    but the values differ. None if they are equal, and for every metric that is not deterministic.
    """
    if not key.metric.deterministic or len(set(values)) < 2:
        return None
    low, high = (quantity(key.metric.unit, value) for value in (min(values), max(values)))
    return f"its seeds did not train the same model: {key} is {low} for one and {high} for another"


def _held_back(
    key: MetricKey, row: Row, newest: tuple[JobInfo, EntryState] | None, differing: str | None
) -> UnrankedRow | None:
    """Why an entry with values in the cohort is unranked. None if it is ranked."""
    done = len(row.samples)
    why: Why = "NotMeasured"
    if row.hidden:
        why, reason = "Hidden", row.hidden
    elif row.mixed_code:
        why, reason = "DifferentCode", "its trials ran different code"
    elif differing is not None:
        why, reason = "SeedsDiffer", differing
    elif done < row.planned:
        own = newest[1] if newest is not None and newest[0].uid == row.job_uid else None
        why, reason = _shortfall(row, own)
    elif done == 1 and not key.metric.deterministic:
        why, reason = "OneTrial", ONE_TRIAL
    else:
        try:
            Sample(row.entry, row.samples)
        except ValueError as error:  # finite, but too large or too small to have a mean
            reason = str(error)
        else:
            return None
    return UnrankedRow(row.entry, row.job_uid, row.job_name, why, reason, row.samples, row.planned)


# One value shows no spread, so nothing says which other entries it differs from.
ONE_TRIAL = "one trial shows no spread: set trials.repeats to 2 or more"

_ORDER: tuple[Why, ...] = (
    "Failed", "Hidden", "DifferentCode", "SeedsDiffer", "OneTrial", "Incomplete", "NotMeasured", "OtherConditions",
)  # fmt: skip


def _severity(sign: float, row: UnrankedRow) -> tuple[int, float, str]:
    value = sign * next(iter(row.samples.values())) if row.why == "OneTrial" else 0.0
    return _ORDER.index(row.why), value, row.entry


def _ranked(place: RankedEntry, row: Row, newest: tuple[JobInfo, EntryState] | None, remark: str) -> RankedRow:
    notes = [remark] if remark else []
    if newest is not None and newest[0].uid != row.job_uid:
        job, state = newest
        failures = f": {failed_text(state)}" if state.failed else ""
        notes.insert(0, f"from {row.job_name}; the newer job {job.name} has no value here yet{failures}")
    return RankedRow(
        rank=place.rank,
        worst_rank=place.worst_rank,
        entry=row.entry,
        entry_id=row.entry_id,
        job_uid=row.job_uid,
        job_name=row.job_name,
        interval=place.interval,
        samples=row.samples,
        last_at=row.last_at,
        indistinguishable_from=place.indistinguishable_from,
        detectable=place.detectable,
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
    if state.hidden:
        return "Hidden", state.hidden
    if state.failed:
        return "Failed", failed_text(state)
    if unavailable is not None:
        return "NotMeasured", unavailable
    if state.succeeded and other_cohorts:
        return "OtherConditions", "has no result under these conditions"
    if state.succeeded < state.planned:
        return "Incomplete", f"{state.succeeded} of {_trials(state.planned)} done"
    return "NotMeasured", f"{key.label} was not measured"

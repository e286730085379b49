"""From what the operator knows to the families of `velodrome.monitoring.telemetry`. Pure.

What is exposed of results is decided in `velodrome.board.exposing`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from prometheus_client import Metric

from velodrome.board.exposing import SeriesGroup, of_results, within
from velodrome.monitoring import telemetry
from velodrome.monitoring.series import Series, metrics
from velodrome_operator.race_facts import RaceFacts

if TYPE_CHECKING:
    from velodrome.board.latest import Latest


@dataclass(frozen=True, slots=True)
class Exposed:
    """The families of results and BenchmarkJobs, the number of their series, and the number that was left out."""

    families: tuple[Metric, ...]
    series: int
    dropped: int


def exposed(
    results: Iterable[Latest],
    races: Iterable[RaceFacts],
    durations: Mapping[str, tuple[Series, ...]],
    now: datetime,
    limit: int,
) -> Exposed:
    """What `telemetry.RESULTS`, `telemetry.BOARDS` and `telemetry.RACES` hold, with at most `limit` series.

    If there are more, the order of importance is: regressions, sums over races, races that go on, the newest results,
    the newest races that ended. So the choice depends on what is known, and not on its order.
    """
    races = list(races)
    groups = [*of_results(results, now), *_sums(races, durations), *map(_race, races)]
    kept, dropped = within(groups, limit)
    return Exposed(
        tuple(metrics(Metric, (*telemetry.RESULTS, *telemetry.BOARDS, *telemetry.RACES), kept)), len(kept), dropped
    )


def _sums(races: Sequence[RaceFacts], durations: Mapping[str, tuple[Series, ...]]) -> Iterator[SeriesGroup]:
    trials: dict[tuple[str, str], Counter[str]] = {}
    for race in races:
        trials.setdefault((race.namespace, race.board), Counter()).update(race.trials)
    for (namespace, board), counted in trials.items():
        named = {"namespace": namespace, "board": board}
        rows = (Series(telemetry.TRIALS, {**named, "state": state}, counted[state]) for state in telemetry.TRIAL_STATES)
        yield SeriesGroup((1, 0.0, namespace, board), tuple(rows))
    for board, taken in durations.items():
        yield SeriesGroup((1, 1.0, board), taken)


def _race(race: RaceFacts) -> SeriesGroup:
    named = {"namespace": race.namespace, "benchmarkjob": race.name}
    rows = [
        Series(telemetry.RACE_STATE, {**named, "state": state}, float(state == race.state))
        for state in telemetry.RACE_STATES
    ]
    for family, moment in (
        (telemetry.RACE_PROGRESS, race.progress_at),
        (telemetry.RESULTS_WAITING, race.waiting_since),
    ):
        if moment is not None:
            rows.append(Series(family, named, moment.timestamp()))
    ended = race.state in ("Complete", "Failed")
    return SeriesGroup((4 if ended else 2, -race.created_at.timestamp(), *named.values()), tuple(rows))

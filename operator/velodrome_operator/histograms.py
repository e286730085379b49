"""How long things took, in the client library's histograms. Bounds are upper bounds, in seconds."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import Histogram

from velodrome.monitoring import telemetry
from velodrome.monitoring.series import Series
from velodrome.monitoring.telemetry import Family

PASS_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
TRIAL_BOUNDS = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 14_400.0, 43_200.0, 86_400.0)


def histogram(family: Family, bounds: Sequence[float]) -> Histogram:
    """An empty histogram of the family. No registry has it: `series_of` reads its series."""
    return Histogram(family.name, family.help, family.labels, registry=None, buckets=bounds)


def series_of(family: Family, found: Histogram) -> tuple[Series, ...]:
    """The series as they are now, without the times at which they were created."""
    (metric,) = found.collect()
    suffixed = ((sample.name.removeprefix(family.name), sample) for sample in metric.samples)
    return tuple(Series(family, one.labels, one.value, suffix) for suffix, one in suffixed if suffix != "_created")


class Durations:
    """How long trials of each board waited and ran."""

    def __init__(self) -> None:
        self._queued = histogram(telemetry.QUEUE_SECONDS, TRIAL_BOUNDS)
        self._ran = histogram(telemetry.RUN_SECONDS, TRIAL_BOUNDS)

    def observe(self, board: str, queued: float | None, ran: float) -> None:
        """Counts one accepted trial, in seconds. `queued` is None if nobody saw the trial wait.

        The clocks of two machines may make a time negative. That counts as 0.
        """
        waiting, running = self._queued.labels(board), self._ran.labels(board)
        if queued is not None:
            waiting.observe(max(0.0, queued))
        running.observe(max(0.0, ran))

    def series(self) -> dict[str, tuple[Series, ...]]:
        """The series as they are now, by board."""
        found: dict[str, tuple[Series, ...]] = {}
        for family, each in ((telemetry.QUEUE_SECONDS, self._queued), (telemetry.RUN_SECONDS, self._ran)):
            for one in series_of(family, each):
                found[one.labels["board"]] = (*found.get(one.labels["board"], ()), one)
        return found

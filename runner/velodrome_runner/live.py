"""Pushes live metrics of a trial to a Pushgateway, if one is configured (docs/monitoring/live-metrics.md).

A separate thread pushes them, so no training step waits, and no trial fails because of a gateway. Results never travel
this way, because a push is neither attributed nor kept.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, Self

from velodrome.connections.direct import open_directly
from velodrome.monitoring import telemetry
from velodrome.monitoring.pushgateway import grouping
from velodrome.plan import Plan, Trial
from velodrome.results.records import Progress
from velodrome_runner import usage
from velodrome_runner.log import complain
from velodrome_runner.settings import Settings
from velodrome_runner.usage import Use

if TYPE_CHECKING:
    from prometheus_client import Metric

# A push this often shows that the trial is alive. A new phase is pushed at once, but at least this gap later.
_PERIOD_SECONDS = 5.0
_GAP_SECONDS = 1.0
# The time limit of one attempt, and the longest pause after several failed attempts.
_TIMEOUT_SECONDS = 2.0
_LONGEST_PAUSE = 60.0


@dataclass(frozen=True, slots=True)
class LiveState:
    """The shown state of a trial. It is `quiet` while inference is timed, because pushing would disturb that."""

    phase: str = ""
    fraction: float = 0.0
    epoch: int = 0
    loss: float | None = None
    samples_per_second: float | None = None
    quiet: bool = False

    def after(self, progress: Progress) -> LiveState:
        """The state to show after this report. The results of training stay; its speed does not. Pure."""
        phase = progress.phase
        if phase == "Training":
            return LiveState(phase, progress.fraction, progress.epoch, progress.loss, progress.samples_per_second)
        if phase in ("Starting", "Loading"):
            return LiveState(phase)
        return replace(self, phase=phase, fraction=1.0, samples_per_second=None, quiet=phase == "Timing")


class Readings:
    """Where a trial stands and what it uses, as prometheus-client collects them."""

    def __init__(self, state: LiveState, uses: Sequence[Use]) -> None:
        self._state = state
        self._uses = uses

    def collect(self) -> Iterator[Metric]:
        """The families of `velodrome.monitoring.telemetry.LIVE` that have a value now."""
        from prometheus_client.core import GaugeMetricFamily

        for family, samples in self._samples().items():
            if samples:
                metric = GaugeMetricFamily(family.name, family.help, labels=family.labels)
                for labels, value in samples:
                    metric.add_metric(labels, value)
                yield metric

    def _samples(self) -> dict[telemetry.Family, list[tuple[list[str], float]]]:
        state, uses = self._state, self._uses
        alone: dict[telemetry.Family, float | None] = {
            telemetry.TRIAL_FRACTION: state.fraction,
            telemetry.TRIAL_EPOCH: float(state.epoch),
            telemetry.TRIAL_LOSS: state.loss,
            telemetry.TRIAL_THROUGHPUT: state.samples_per_second,
        }
        samples: dict[telemetry.Family, list[tuple[list[str], float]]] = {
            family: [([], value)] for family, value in alone.items() if value is not None
        }
        samples[telemetry.TRIAL_MEMORY] = [([use.device], float(use.memory_bytes)) for use in uses]
        samples[telemetry.TRIAL_GPU] = [([use.device], use.busy) for use in uses if use.busy is not None]
        return samples


class Pusher:
    """Pushes the state of one trial every few seconds, as the group `key` of the Pushgateway at `url`.

    `show` returns at once. As a context manager, it deletes the group at the end, within a bounded time. If the gateway
    is away, the operator or `velodrome run` deletes the group later. Without a URL, the pusher does nothing.
    """

    def __init__(
        self,
        url: str | None,
        key: Mapping[str, str],
        *,
        log: Callable[[str], None] = complain,
        period: float = _PERIOD_SECONDS,
        gap: float = _GAP_SECONDS,
    ) -> None:
        self._url = url
        self._key = dict(key)
        self._log = log
        self._period, self._gap = period, gap
        self._state = LiveState()
        self._work = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="velodrome-pusher", daemon=True)

    def __enter__(self) -> Self:
        if self._url is not None:
            try:
                import prometheus_client  # noqa: F401 - here rather than in the thread, while training is timed
            except ImportError:  # your own image may lack it
                self._log("live metrics are not pushed: install prometheus-client in this image")
            else:
                self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        if self._thread.is_alive():
            self._thread.join(_TIMEOUT_SECONDS + 1)

    def show(self, progress: Progress) -> None:
        """Takes the new state of the trial; returns within microseconds."""
        before, self._state = self._state, self._state.after(progress)
        if before.phase != self._state.phase:
            self._work.set()

    def end(self) -> None:
        """The trial is over: the thread deletes its group and ends. Meanwhile the result can be delivered."""
        self._ended.set()
        self._work.set()

    def _run(self) -> None:
        pushed, failures, logged = False, 0, False
        with usage.opened() as gauges:
            self._work.wait()
            while not self._ended.is_set():
                self._work.clear()
                state = self._state
                if state.quiet:
                    self._work.wait()
                    continue
                problem = self._push(Readings(state, gauges.read()))
                if problem is None:
                    pushed, failures = True, 0
                    self._ended.wait(self._gap)
                    self._work.wait(self._period - self._gap)
                    continue
                if not logged:
                    self._log(f"live metrics are not pushed, the trial goes on: {problem}")
                failures, logged = failures + 1, True
                self._ended.wait(min(self._period * 2 ** min(failures, 10), _LONGEST_PAUSE))
        if pushed and not failures:
            self._delete()

    def _push(self, readings: Readings) -> str | None:
        """Replaces the group that was pushed before. Returns what went wrong, or None."""
        from prometheus_client import push_to_gateway

        assert self._url is not None
        try:
            push_to_gateway(self._url, telemetry.PUSH_JOB, readings, self._key, _TIMEOUT_SECONDS, _direct)
        except (OSError, HTTPException, ValueError) as error:
            return f"{type(error).__name__}: {error}"
        return None

    def _delete(self) -> None:
        from prometheus_client import delete_from_gateway

        assert self._url is not None
        try:
            delete_from_gateway(self._url, telemetry.PUSH_JOB, self._key, _TIMEOUT_SECONDS, _direct)
        except (OSError, HTTPException, ValueError) as error:
            self._log(f"this trial's live metrics are left to be deleted: {type(error).__name__}: {error}")


def pusher(settings: Settings, plan: Plan, trial: Trial) -> Pusher:
    """The pusher of a trial. It does nothing if no gateway is configured, or if another pod pushes for this trial."""
    job = plan.job
    key = grouping(job.namespace, job.metadata.name, trial.entry, trial.repeat)
    return Pusher(settings.pushgateway if settings.ranks.leads else None, key)


def _direct(url: str, method: str, timeout: float | None, headers: Any, data: bytes) -> Callable[[], None]:
    """A handler of prometheus-client that uses no proxy, like the connection to Redis, and closes what it opened."""
    from urllib.request import Request

    def send() -> None:
        request = Request(url, data=data, headers=dict(headers), method=method)  # noqa: S310 - http, or it is made so
        with open_directly(request, timeout=_TIMEOUT_SECONDS if timeout is None else timeout):
            pass

    return send

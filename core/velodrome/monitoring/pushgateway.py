"""Groups of a Pushgateway: to which trial each group belongs, and which groups are stale. Pure.

A Pushgateway keeps a group until it is deleted. So the executor lists the groups now and then, through the gateway's
API (`GET /api/v1/metrics`), and deletes the groups of trials that don't run. This works however a runner ended, and
also for groups that the gateway read from its disk after a restart.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

from velodrome.monitoring.telemetry import GROUPING, PUSH_JOB

LIST_PATH = "/api/v1/metrics"
# A runner pushes every few seconds. A group younger than this may belong to a trial whose start was not seen yet.
YOUNG_SECONDS = 20.0
# A group older than this says nothing about the present, even if its trial runs. The next push makes it again.
SILENT_SECONDS = 600.0

# Namespace, BenchmarkJob, entry and repeat, as in the grouping key.
TrialKey = tuple[str, str, str, str]
JobKey = tuple[str, str]


def grouping(namespace: str, job: str, entry: str, repeat: int) -> dict[str, str]:
    """The grouping key of a trial, without the Pushgateway's own `job`."""
    return dict(zip(GROUPING, (namespace, job, entry, str(repeat)), strict=True))


@dataclass(frozen=True, slots=True)
class Group:
    """A group as the gateway lists it: its whole grouping key, and the time of its last push by the gateway's clock."""

    labels: tuple[tuple[str, str], ...]
    pushed_at: float = 0.0

    @property
    def is_ours(self) -> bool:
        """Whether a runner pushed it, or somebody in a runner's name."""
        return dict(self.labels).get("job") == PUSH_JOB

    @property
    def trial(self) -> TrialKey | None:
        """The trial of the group. None if its key is not a trial's."""
        labels = dict(self.labels)
        if labels.keys() != {"job", *GROUPING}:
            return None
        namespace, job, entry, repeat = (labels[name] for name in GROUPING)
        return namespace, job, entry, repeat

    @property
    def namespace(self) -> str | None:
        return dict(self.labels).get("namespace")

    @property
    def path(self) -> str:
        """The group's path below the gateway's URL. Values are in base64, which allows any value."""
        first = [pair for pair in self.labels if pair[0] == "job"]
        rest = sorted(pair for pair in self.labels if pair[0] != "job")
        return "/metrics" + "".join(f"/{name}@base64/{_encoded(value)}" for name, value in (*first, *rest))


@dataclass(frozen=True, slots=True)
class RunningTrials:
    """What runs: trials, and jobs whose running trials are not known."""

    trials: Collection[TrialKey] = frozenset()
    jobs: Collection[JobKey] = frozenset()

    def has(self, trial: TrialKey) -> bool:
        return trial in self.trials or trial[:2] in self.jobs


@dataclass(frozen=True, slots=True)
class Cleaning:
    """The groups to delete. If some groups are too young to decide, `again` is in how many seconds to look again."""

    delete: list[Group] = field(default_factory=list)
    again: float | None = None


def groups(document: Any) -> list[Group]:
    """The groups that runners pushed, from an answer of the gateway's API.

    Raises:
        ValueError: it is not the document that a Pushgateway sends.
    """
    try:
        listed = [_group(item) for item in document["data"]]
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"the answer is not a Pushgateway's: {type(error).__name__}: {error}") from error
    return [group for group in listed if group.is_ours]


def stale(
    found: Iterable[Group], running: RunningTrials, now: float, *, namespaces: AbstractSet[str] = frozenset()
) -> Cleaning:
    """The groups to delete: those whose trial does not run, and those without a push for `SILENT_SECONDS`.

    `now` is by the gateway's clock. With `namespaces`, groups of other namespaces stay. A group that was pushed less
    than `YOUNG_SECONDS` ago stays for now.
    """
    delete: list[Group] = []
    waits: list[float] = []
    for group in found:
        if namespaces and group.namespace not in namespaces:
            continue
        age, trial = now - group.pushed_at, group.trial
        if trial is not None and running.has(trial) and age < SILENT_SECONDS:
            continue
        if -YOUNG_SECONDS < age < YOUNG_SECONDS:  # a push further in the future was before the clock was set back
            waits.append(YOUNG_SECONDS - age)
        else:
            delete.append(group)
    return Cleaning(delete, min(waits, default=None))


def _group(item: Any) -> Group:
    labels = tuple(sorted((str(name), str(value)) for name, value in item["labels"].items()))
    pushed = item.get("push_time_seconds")
    return Group(labels, float(pushed["metrics"][0]["value"]) if pushed else 0.0)


def _encoded(value: str) -> str:
    return base64.urlsafe_b64encode(value.encode()).decode() or "="

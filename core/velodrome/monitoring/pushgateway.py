"""Groups of a Pushgateway: which trial each is of, and which have outlived theirs. Pure.

A Pushgateway keeps a group until somebody deletes it. So whoever runs trials lists the groups now and then, by the
gateway's API (`GET /api/v1/metrics`), and deletes those of trials that don't run: however a runner ended, and whatever
the gateway had on its disk when it was started again.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from velodrome.monitoring.telemetry import GROUPING, PUSH_JOB

LIST_PATH = "/api/v1/metrics"
# A runner pushes every few seconds. A group that is younger may be of a trial whose start was not seen yet.
YOUNG_SECONDS = 20.0
# And one that is this old says nothing of now, though its trial runs; the next push makes it again.
SILENT_SECONDS = 600.0

# Namespace, BenchmarkJob, entry and repeat, as in the grouping key.
TrialKey = tuple[str, str, str, str]
JobKey = tuple[str, str]


def grouping(namespace: str, job: str, entry: str, repeat: int) -> dict[str, str]:
    """The grouping key of a trial, without the Pushgateway's own `job`."""
    return dict(zip(GROUPING, (namespace, job, entry, str(repeat)), strict=True))


@dataclass(frozen=True, slots=True)
class Group:
    """A group as the gateway lists it: its whole grouping key, and when it was last pushed by the gateway's clock."""

    labels: tuple[tuple[str, str], ...]
    pushed_at: float = 0.0

    @property
    def is_ours(self) -> bool:
        """Whether a runner, or somebody in its name, pushed it."""
        return dict(self.labels).get("job") == PUSH_JOB

    @property
    def trial(self) -> TrialKey | None:
        """The trial that it is of; None where its key is not that of a trial."""
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
        """Where the group lies below the gateway's URL; values in base64, the form that takes any."""
        first = [pair for pair in self.labels if pair[0] == "job"]
        rest = sorted(pair for pair in self.labels if pair[0] != "job")
        return "/metrics" + "".join(f"/{name}@base64/{_encoded(value)}" for name, value in (*first, *rest))


@dataclass(frozen=True, slots=True)
class RunningTrials:
    """What runs: trials, and jobs of which it is not known which of their trials do."""

    trials: Collection[TrialKey] = frozenset()
    jobs: Collection[JobKey] = frozenset()

    def has(self, trial: TrialKey) -> bool:
        return trial in self.trials or trial[:2] in self.jobs


@dataclass(frozen=True, slots=True)
class Cleaning:
    """The groups to delete; and in how many seconds to look again, since some are too young to be told."""

    delete: list[Group] = field(default_factory=list)
    again: float | None = None


def groups(document: Any) -> list[Group]:
    """The groups of runners in an answer of the gateway's API.

    Raises:
        ValueError: it is not the document that a Pushgateway sends.
    """
    try:
        listed = [_group(item) for item in document["data"]]
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"the answer is not a Pushgateway's: {type(error).__name__}: {error}") from error
    return [group for group in listed if group.is_ours]


def stale(found: Iterable[Group], running: RunningTrials, now: float, *, namespace: str | None = None) -> Cleaning:
    """Which groups go: those whose trial does not run, and those that were not pushed for long.

    `now` is by the gateway's clock. With a `namespace` groups of others are left alone: they are somebody else's. One
    that was pushed less than `YOUNG_SECONDS` ago stays for now, whatever is known.
    """
    delete: list[Group] = []
    waits: list[float] = []
    for group in found:
        if namespace is not None and group.namespace != namespace:
            continue
        age, trial = now - group.pushed_at, group.trial
        if trial is not None and running.has(trial) and age < SILENT_SECONDS:
            continue
        if -YOUNG_SECONDS < age < YOUNG_SECONDS:  # from further ahead it comes by a clock that was set back meanwhile
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

"""BenchmarkJobs, pods and events as a person reads them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from velodrome.keys import (
    ENV_ENTRIES,
    ENV_JOB_UID,
    ENV_LANE,
    ENV_NODES,
    ENV_REPEATS,
    ENV_SEARCH,
    ENV_TAKEN_OVER,
    race_uid,
    run_of,
)
from velodrome.metrics.catalogue import MetricKey
from velodrome.plan import Plan, Trial, objective_keys
from velodrome.search.trials import LARGEST_SEED, search_seed
from velodrome.spec import BenchmarkJob
from velodrome.units import quantity

Raw = Mapping[str, Any]
# What a runner writes first of a trial.
_BEGINS = re.compile(r"Starting: (?P<entry>.+), seed (?P<seed>\d{1,10})$")
_INDEX = "batch.kubernetes.io/job-completion-index"


def state(job: Raw) -> str:
    """The state in one word: Complete, Failed, Suspended, Running, or Pending before the operator has seen the job."""
    held = {c["type"] for c in job.get("status", {}).get("conditions") or () if c["status"] == "True"}
    for kind in ("Complete", "Failed", "Suspended"):
        if kind in held:
            return kind
    return "Running" if "Reconciling" in held else "Pending"


def taken_over(job: Raw) -> str:
    """What the job took over from another job, in a sentence; empty if it did not ask for a takeover."""
    return str(job.get("status", {}).get("takenOver", {}).get("message", ""))


def regression(job: Raw) -> str:
    """The status condition Regressed in a sentence; empty before the race has ended, or if nothing regressed."""
    found = next((c for c in job.get("status", {}).get("conditions") or () if c["type"] == "Regressed"), None)
    if found is None or found["reason"] == "NoRegression":
        return ""
    words = {"True": "Regressed", "False": "No regression", "Unknown": "Regression unknown"}[found["status"]]
    return f"{words} ({found['reason']}): {found.get('message', '')}"


def row(job: Raw, now: datetime) -> tuple[str, ...]:
    """Namespace, name, status, trials, leader, message and age."""
    metadata, status = job["metadata"], job.get("status", {})
    return (
        metadata.get("namespace", ""),
        metadata["name"],
        state(job),
        status.get("trials", {}).get("done", ""),
        status.get("leader", ""),
        status.get("message", ""),
        age(metadata["creationTimestamp"], now),
    )


def age(since: str, now: datetime) -> str:
    """The age, in the largest unit that gives 2 or more: 45s, 12m, 3h, 9d."""
    seconds = max(0, int((now - datetime.fromisoformat(since)).total_seconds()))
    for unit, letter in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * unit:
            return f"{seconds // unit}{letter}"
    return f"{seconds}s"


def bar(trials: Raw, width: int = 30) -> str:
    """The progress of the trials as a bar: # succeeded, x failed, > running, . to come."""
    total = max(1, int(trials.get("total", 0)))
    succeeded, failed = trials.get("succeeded", 0), trials.get("failed", 0)
    running = min(trials.get("active", 0), total - succeeded - failed)
    parts = ((succeeded, "#"), (failed, "x"), (running, ">"))
    drawn = "".join(sign * round(width * count / total) for count, sign in parts)[:width]
    return drawn.ljust(width, ".")


def values(job: BenchmarkJob, raw: Raw) -> Iterator[tuple[str, ...]]:
    """For each objective and entry that has a value: objective, entry, mean, interval, n and ranks."""
    status = raw.get("status", {})
    keys = objective_keys(job)
    for name, key in keys.items():
        for entry in status.get("entries") or ():
            for item in entry.get("objectives") or ():
                if item["name"] == name:
                    yield _value(name, key, entry["name"], item)


def stops(raw: Raw) -> list[str]:
    """Why entries of a race until decided get no more seeds, a sentence for each."""
    entries = raw.get("status", {}).get("entries") or ()
    return [f"{entry['name']} {entry['note']}" for entry in entries if entry.get("note")]


def _value(name: str, key: MetricKey, entry: str, item: Raw) -> tuple[str, ...]:
    interval = ""
    if "low" in item:
        interval = f"{quantity(key.metric.unit, item['low'])} to {quantity(key.metric.unit, item['high'])}"
    return (
        name,
        entry,
        quantity(key.metric.unit, item["mean"]),
        interval,
        str(item["samples"]),
        item.get("ranks", ""),
    )


@dataclass(frozen=True, slots=True)
class TrialPod:
    """A pod, and the trial that it runs."""

    pod: str
    trial: Trial
    rank: int
    phase: str
    created: str

    @property
    def who(self) -> str:
        """The trial as `logs` names it."""
        return f"{self.trial.entry}/{self.trial.repeat}"

    @property
    def heading(self) -> str:
        """What stands above its log."""
        return f"{self.who}  seed {self.trial.seed}"

    @property
    def facts(self) -> dict[str, Any]:
        """What stands with each line of its log in JSON."""
        trial = self.trial
        return {"entry": trial.entry, "repeat": trial.repeat, "seed": trial.seed, "pod": self.pod, "phase": self.phase}


@dataclass(frozen=True, slots=True)
class SearchPod:
    """A pod of a search: the run of the race, the lane, and the turn there. Redis alone knows which trial that is, and
    the beginning of its log says it: its entry, and its number.
    """

    pod: str
    run: int
    lane: int
    turn: int
    phase: str
    created: str
    entry: str | None = None
    number: int | None = None

    @property
    def who(self) -> str:
        """The trial as `logs` names it, where it is known, after its turn."""
        trial = "" if self.entry is None else f", trial {self.entry}/{self.number}"
        return f"run {self.run}, lane {self.lane}, turn {self.turn}{trial}"

    def said_by(self, line: str, job: BenchmarkJob) -> SearchPod:
        """The same pod, with the trial that this line of its log names, if it names one."""
        found = _BEGINS.match(line)
        if found is None:
            return self
        number = (int(found["seed"]) - search_seed(job, 0)) % LARGEST_SEED
        return replace(self, entry=found["entry"], number=number)

    def is_of(self, entry: str | None, number: int | None) -> bool:
        """Whether it runs that entry's trial, or the trial of that number; without both, any pod does."""
        return entry in (None, self.entry) and number in (None, self.number)

    @property
    def heading(self) -> str:
        """What stands above its log."""
        return self.who

    @property
    def facts(self) -> dict[str, Any]:
        """What stands with each line of its log in JSON."""
        known = {"run": self.run, "lane": str(self.lane), "turn": self.turn, "entry": self.entry, "trial": self.number}
        return {**known, "pod": self.pod, "phase": self.phase}


def attempts(plan: Plan, pods: Sequence[Raw]) -> list[TrialPod]:
    """The pods of a race, each with its trial, ordered by trial; the newest pod of a trial comes last.

    Pods of a search are left out (`turns`), because the plan has none of their trials.
    """
    found = []
    for pod, index, environment in _indexed(pods):
        if environment.get(ENV_SEARCH):
            continue
        nodes = int(environment.get(ENV_NODES) or 1)
        entries = tuple(int(part) for part in environment.get(ENV_ENTRIES, "").split(",") if part)
        indexes = plan.instructed(entries, environment.get(ENV_TAKEN_OVER, ""), environment.get(ENV_REPEATS, ""))
        trial = plan.trial(indexes[index // nodes])
        name, phase, created = _identity(pod)
        found.append(TrialPod(name, trial, index % nodes, phase, created))
    return sorted(found, key=lambda attempt: (attempt.trial.index, attempt.rank, attempt.created))


def turns(pods: Sequence[Raw]) -> list[SearchPod]:
    """The pods of a race's search, ordered by run, lane and turn; the newest pod of a turn comes last.

    A stretch that a raised search began at a turn counts on from there.
    """
    found = []
    for pod, index, environment in _indexed(pods):
        if environment.get(ENV_SEARCH):
            name, phase, created = _identity(pod)
            lane, _, start = environment.get(ENV_LANE, "").partition("-")
            run = run_of(race_uid(environment.get(ENV_JOB_UID, "")))
            found.append(SearchPod(name, run, _number(lane), _number(start) + index, phase, created))
    return sorted(found, key=lambda one: (one.run, one.lane, one.turn, one.created))


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() else 0


def _indexed(pods: Sequence[Raw]) -> Iterator[tuple[Raw, int, Mapping[str, str]]]:
    """Each pod that has a completion index, with it and with the variables of its container."""
    for pod in pods:
        metadata = pod["metadata"]
        index = metadata.get("labels", {}).get(_INDEX) or metadata.get("annotations", {}).get(_INDEX)
        if index is not None:
            variables = pod["spec"]["containers"][0].get("env", ())
            yield pod, int(index), {item["name"]: item.get("value", "") for item in variables}


def _identity(pod: Raw) -> tuple[str, str, str]:
    """A pod's name, its phase, and when it was made."""
    metadata = pod["metadata"]
    return metadata["name"], pod.get("status", {}).get("phase", "Pending"), metadata["creationTimestamp"]


def chosen(found: Sequence[TrialPod], entry: str | None, repeat: int | None) -> list[TrialPod]:
    """The attempts at an entry's trials, or at one of them; all attempts if neither is named."""
    return [
        attempt for attempt in found if entry in (None, attempt.trial.entry) and repeat in (None, attempt.trial.repeat)
    ]


Awaited = Literal["complete", "failed", "suspended", "running", "done"]


def has_come(awaited: Awaited, job: Raw) -> bool:
    """Whether a job has reached the awaited state; `done` is Complete or Failed."""
    now = state(job)
    return now in ("Complete", "Failed") if awaited == "done" else now.lower() == awaited


def will_never_come(awaited: Awaited, job: Raw) -> bool:
    """Whether a job has ended in another way than the awaited one."""
    return state(job) in ("Complete", "Failed") and not has_come(awaited, job)


def event_line(event: Raw, now: datetime) -> str:
    """One event of a race as a line."""
    when = event.get("eventTime") or event.get("lastTimestamp") or event["metadata"]["creationTimestamp"]
    message = event.get("note") or event.get("message") or ""
    return f"{age(when, now):>5} ago  {event.get('type', ''):7}  {event['reason']}: {message}"

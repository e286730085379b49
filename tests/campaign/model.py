"""A model of races, and the faults of a campaign's history that contradicts it. Pure.

A history is a sequence of events, each a JSON object with `at` (seconds since the campaign began) and `kind`:

| kind | meaning |
|---|---|
| `race` | a race was applied: `race` (its uid), `name`, `trials`, and `repeats` by entry |
| `stroke` | something was killed or disturbed: `number`, `part`, `way`, `target`, `kill` (or disturbance) |
| `over` | stroke `number` is over: the part runs again, or the network is whole |
| `kept` | what Redis has of a race, read in one transaction: `records` (index to digest), `counted`, `failed` |
| `status` | the API server's status of a race: `version`, `total`, `succeeded`, `failed`, `ended`, `message` |
| `ranked` | how many values rank each entry of a race that has ended: `samples` |
| `quiet` | the last disturbance is over: from here on nothing may take longer than `patience` |
| `strays` | what is left after all races were deleted: `objects`, `keys`, `users` |
| `finish` | the observation ended |
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Event = Mapping[str, Any]
FaultKind = Literal["Lost", "Doubled", "Replaced", "Backwards", "Failed", "Stuck", "Stray"]
FAULT_KINDS: tuple[FaultKind, ...] = ("Lost", "Doubled", "Replaced", "Backwards", "Failed", "Stuck", "Stray")


@dataclass(frozen=True, slots=True)
class Fault:
    """An event that must not occur in a history. `at` is its time, in seconds since the campaign began."""

    kind: FaultKind
    race: str
    at: float
    message: str


@dataclass(slots=True)
class _Race:
    """What the model knows about one race. It may only grow."""

    uid: str
    name: str
    trials: int
    repeats: Mapping[str, int]
    records: dict[str, str] = field(default_factory=dict)
    succeeded: int = 0
    failed: int = 0
    version: int = 0
    ended: str = ""
    ended_at: float = 0.0
    samples: Mapping[str, int] | None = None


def check(history: Iterable[Event], patience: float) -> list[Fault]:
    """The faults of a history, in the order of their appearance; none if all races followed the model.

    The model says:

    - Each trial is accepted once, and the first result stands.
    - Counts never go down, and a race that has ended stays ended.
    - Every race ends Complete with a result for each trial, within `patience` seconds of the last disturbance.
    - When all races are deleted, only their results remain.
    """
    checker = _Checker(patience)
    for event in history:
        checker.take(event)
    checker.end()
    return checker.faults


class _Checker:
    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._races: dict[str, _Race] = {}
        self._quiet: float | None = None
        self._finished: float | None = None
        self._looked = False
        self._last = 0.0
        self.faults: list[Fault] = []

    def take(self, event: Event) -> None:
        self._last = float(event["at"])
        match event["kind"]:
            case "race":
                self._races[event["race"]] = _Race(event["race"], event["name"], event["trials"], event["repeats"])
            case "kept" | "status" | "ranked" as kind:
                race = self._races[event["race"]]
                {"kept": self._kept, "status": self._status, "ranked": self._ranked}[kind](race, event)
            case "quiet":
                self._quiet = self._last
            case "strays":
                self._strays(event)
            case "finish":
                self._finished = self._last

    def end(self) -> None:
        """Checks what only the whole history can show."""
        if self._finished is None:
            self._fault("Stuck", "", "the history breaks off: nobody knows how the races ended")
        for race in self._races.values():
            self._ending(race)
        if self._finished is not None and not self._looked:
            self._fault("Stray", "", "nobody looked for what the races left behind")

    def _fault(self, kind: FaultKind, race: str, message: str) -> None:
        self.faults.append(Fault(kind, race, self._last, message))

    def _kept(self, race: _Race, event: Event) -> None:
        now: Mapping[str, str] = event["records"]
        for index, digest in race.records.items():
            if index not in now:
                self._fault("Lost", race.name, f"the record of trial {index} is gone")
            elif now[index] != digest:
                self._fault("Replaced", race.name, f"the record of trial {index} is another than it was")
        counted = event["counted"] + event["failed"]
        if counted > len(now):
            self._fault("Doubled", race.name, f"{counted} results are counted, and {len(now)} trials have a record")
        elif counted < len(now):
            self._fault("Lost", race.name, f"{len(now)} trials have a record, and {counted} results are counted")
        unplanned = [index for index in now if not 0 <= int(index) < race.trials]
        if unplanned:
            self._fault("Doubled", race.name, f"there are records of trials that were not planned: {unplanned}")
        race.records = dict(now)

    def _status(self, race: _Race, event: Event) -> None:
        if event["version"] < race.version:
            return  # a watch that begins again may first repeat what was already known
        race.version = event["version"]
        if event["total"] not in (0, race.trials):
            self._fault("Backwards", race.name, f"the status counts {event['total']} trials of {race.trials}")
        for count in ("succeeded", "failed"):
            before, now = getattr(race, count), event[count]
            if now < before:
                self._fault("Backwards", race.name, f"status.trials.{count} went from {before} to {now}")
            setattr(race, count, now)
        if race.succeeded + race.failed > race.trials:
            reported = race.succeeded + race.failed
            self._fault("Doubled", race.name, f"the status counts {reported} results of {race.trials} trials")
        if race.ended and event["ended"] != race.ended:
            self._fault("Backwards", race.name, f"it was {race.ended}, and is {event['ended'] or 'going on'} again")
        if event["ended"] and not race.ended:
            race.ended_at = self._last
            if event["ended"] == "Failed":
                self._fault("Failed", race.name, f"it ended Failed: {event['message']}")
        race.ended = event["ended"]

    def _ranked(self, race: _Race, event: Event) -> None:
        race.samples = event["samples"]
        for entry, repeats in race.repeats.items():
            found = race.samples.get(entry, 0)
            if found != repeats:
                kind: FaultKind = "Doubled" if found > repeats else "Lost"
                self._fault(kind, race.name, f"{found} values rank entry {entry}, which ran {repeats} times")

    def _ending(self, race: _Race) -> None:
        if not race.ended:
            self._fault("Stuck", race.name, f"it has not ended: {race.succeeded} of {race.trials} succeeded")
            return
        if self._quiet is not None and race.ended_at > self._quiet + self._patience:
            late = race.ended_at - self._quiet
            self._fault("Stuck", race.name, f"it ended {late:.0f} s after the last disturbance")
        if race.ended == "Complete" and len(race.records) != race.trials:
            self._fault("Lost", race.name, f"it is Complete with {len(race.records)} records of {race.trials} trials")
        if race.ended == "Complete" and race.samples is None:
            self._fault("Lost", race.name, "it is Complete, and nobody saw what ranks its entries")

    def _strays(self, event: Event) -> None:
        self._looked = True
        for what in ("objects", "keys", "users"):
            for name in event[what]:
                self._fault("Stray", "", f"{what[:-1]} {name} is left of a race that was deleted")


@dataclass(frozen=True, slots=True)
class Summary:
    """A campaign in figures. `recoveries` has, by part, the longest time from a stroke to the next accepted result."""

    races: int
    trials: int
    accepted: int
    kills: Mapping[str, int]
    disturbances: Mapping[str, int]
    missed: int
    recoveries: Mapping[str, float]
    faults: Mapping[FaultKind, int]


def summary(history: Sequence[Event], faults: Sequence[Fault]) -> Summary:
    """The figures of a history and its faults."""
    kills: dict[str, int] = {}
    disturbances: dict[str, int] = {}
    for event in history:
        if event["kind"] == "stroke" and event["target"]:
            counted, name = (kills, event["part"]) if event["kill"] else (disturbances, event["way"])
            counted[name] = counted.get(name, 0) + 1
    kept = {event["race"]: len(event["records"]) for event in history if event["kind"] == "kept"}
    races = [event for event in history if event["kind"] == "race"]
    return Summary(
        races=len(races),
        trials=sum(race["trials"] for race in races),
        accepted=sum(kept.values()),
        kills=kills,
        disturbances=disturbances,
        missed=sum(1 for event in history if event["kind"] == "stroke" and not event["target"]),
        recoveries=recoveries(history),
        faults={kind: sum(fault.kind == kind for fault in faults) for kind in FAULT_KINDS},
    )


def recoveries(history: Sequence[Event]) -> dict[str, float]:
    """By part: the longest time from a stroke to the next accepted result of any race."""
    found: dict[str, float] = {}
    waiting: list[tuple[str, float]] = []
    known: dict[str, int] = {}
    for event in history:
        if event["kind"] == "stroke" and event["target"]:
            waiting.append((event["part"], float(event["at"])))
        elif event["kind"] == "kept":
            before, now = known.get(event["race"], 0), len(event["records"])
            known[event["race"]] = now
            if now > before:
                for part, at in waiting:
                    found[part] = max(found.get(part, 0.0), float(event["at"]) - at)
                waiting = []
    return found

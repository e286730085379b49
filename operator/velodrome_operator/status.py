"""The whole status of a BenchmarkJob, from what a pass observed. Pure.

Conditions follow Kubernetes' Job and kstatus. Complete, Failed and Suspended are as those of a Job. Reconciling is True
while trials are still to come, and Stalled is True if a person must act. A condition's lastTransitionTime changes only
with its status. So a pass that finds nothing new makes the same status, and writes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from velodrome.results.rounds import named, stop_note, undecided
from velodrome.text import counted, listed
from velodrome_operator import texts
from velodrome_operator.outcome import Ending
from velodrome_operator.pass_input import Observation
from velodrome_operator.regressed import Regressed
from velodrome_operator.search_status import search_part, search_words

if TYPE_CHECKING:
    from velodrome.ranking.places import ObjectiveRanking

Condition = dict[str, Any]

# An object may have 1.5 MB in all, and a value (name, mean, interval, n) takes up to 200 bytes. The rest is left out.
MOST_VALUES = 2000


@dataclass(frozen=True, slots=True)
class ObjectiveStanding:
    """An objective of the job, with the ranking of the job's own entries."""

    objective: str
    ranking: ObjectiveRanking
    cohort: str


def status(
    seen: Observation,
    ending: Ending | None,
    standings: Sequence[ObjectiveStanding],
    image: str | None,
    regressed: Regressed | None = None,
) -> dict[str, Any]:
    """The status that the object should have now. `regressed` is None until the race has ended.

    Its `trials` counts those that rank. While a race searches, none of them has begun.
    """
    finished = {} if seen.search else seen.finished
    succeeded = sum(finished.values())
    failed = len(finished) - succeeded
    total = seen.total
    message = ending.message if ending else _message(seen)
    entries, omitted = _entries(seen, standings)
    result: dict[str, Any] = {
        "observedGeneration": seen.generation,
        "conditions": [
            *_conditions(seen, ending, message),
            *([_regressed(regressed, seen.generation, seen.status, seen.now)] if regressed else []),
        ],
        "trials": {
            "total": total,
            "active": 0 if ending else sum(1 for pod in seen.pods if not pod.ended),
            "succeeded": succeeded,
            "failed": failed,
            "disrupted": seen.lost,
            "done": f"{len(finished)}/{total}",
        },
        "entries": entries,
        "entriesOmitted": omitted or None,
        "leaders": {s.objective: listed(s.ranking.leaders) for s in standings if s.ranking.ranked},
        "takenOver": seen.status.get("takenOver"),
        "rounds": seen.status.get("rounds"),
        "search": search_part(seen) or seen.status.get("search"),
        "message": texts.summary(message),
        "image": image,
        "cohort": standings[0].cohort if standings else None,
        "startTime": seen.status.get("startTime")
        or (_text(min(job.created_at for job in seen.jobs.values())) if seen.jobs else None),
        "completionTime": seen.status.get("completionTime") or (_text(seen.now) if ending else None),
    }
    if standings and standings[0].ranking.ranked:
        result["leader"] = listed(standings[0].ranking.leaders)
    return {key: value for key, value in result.items() if value not in (None, [], {})}


def refused(generation: int, reason: str, message: str, before: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """The status of an object that the API server accepted and the operator refuses: no pod was made for it."""
    wanted = [("Complete", False), ("Failed", True), ("Suspended", False), ("Reconciling", False), ("Stalled", True)]
    conditions = [
        _condition(kind, holds=holds, reason=reason, message=message, generation=generation, before=before, now=now)
        for kind, holds in wanted
    ]
    return {"observedGeneration": generation, "conditions": conditions, "message": texts.summary(message)}


def stalled(before: Mapping[str, Any], reason: str, message: str, generation: int, now: datetime) -> dict[str, Any]:
    """The status with a condition Stalled that says what a person must do. Unchanged if it says so already."""
    rest = [condition for condition in before.get("conditions") or () if condition["type"] != "Stalled"]
    said = _condition(
        "Stalled", holds=True, reason=reason, message=message, generation=generation, before=before, now=now
    )
    return {**before, "conditions": [*rest, said], "message": message[:4096]}


def judged(before: Mapping[str, Any], regressed: Regressed, generation: int, now: datetime) -> dict[str, Any]:
    """The status of a job that ended before, with what is known about regressions now."""
    rest = [condition for condition in before.get("conditions") or () if condition["type"] != "Regressed"]
    return {**before, "conditions": [*rest, _regressed(regressed, generation, before, now)]}


def going_on(before: Mapping[str, Any], run: int, generation: int, now: datetime) -> dict[str, Any]:
    """The status of a race that had ended, and whose search goes on in this run."""
    wanted = [("Complete", False), ("Failed", False), ("Suspended", False), ("Reconciling", True), ("Stalled", False)]
    message = "its search goes on: spec.search.maxTrials was raised"
    conditions = [
        _condition(kind, holds=holds, reason="SearchRaised", message=message, generation=generation, before=before,
                   now=now)
        for kind, holds in wanted
    ]  # fmt: skip
    search = {**before.get("search", {}), **({"run": run} if run > 1 else {})}
    kept = {name: before[name] for name in ("startTime", "image") if name in before}
    return {"observedGeneration": generation, "conditions": conditions, "search": search, "message": message, **kept}


def seen_again(before: Mapping[str, Any], generation: int) -> dict[str, Any]:
    """The status of a race that had ended, and that a change of its spec leaves as it is. Who waits for a condition
    waits for one of the present generation.
    """
    conditions = [{**condition, "observedGeneration": generation} for condition in before.get("conditions") or ()]
    return {**before, "observedGeneration": generation, "conditions": conditions}


@dataclass(frozen=True, slots=True)
class News:
    """A transition that deserves an Event."""

    reason: str
    message: str
    warning: bool


def news(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[News]:
    """The conditions that became True. A change of counts alone is no news.

    News is also written at once, and does not wait for the next second.
    """
    held = {condition["type"] for condition in before.get("conditions") or () if condition["status"] == "True"}
    kinds = {"Complete": False, "Failed": True, "Suspended": False, "Reconciling": False, "Regressed": True}
    names = {"Reconciling": "Started", "Regressed": "Regressed"}
    return [
        News(
            reason=names.get(condition["type"], condition["reason"]),
            message=condition["message"],
            warning=kinds[condition["type"]],
        )
        for condition in after.get("conditions") or ()
        if condition["status"] == "True" and condition["type"] in kinds and condition["type"] not in held
    ]


def _message(seen: Observation) -> str:
    troubles = [
        (pod.created_at, f"pod {pod.name}: {pod.trouble}") for pod in seen.pods if pod.trouble and not pod.deleting
    ]
    if seen.suspended:
        return "suspended: set spec.suspend to false to carry on"
    if seen.trouble:
        return f"results wait: {seen.trouble}"
    if troubles:
        return min(troubles)[1]
    if seen.refused:
        return f"Job {min(seen.refused)} gets no pod: {seen.refused[min(seen.refused)]}"
    complaints = [job.message for job in seen.jobs.values() if job.message]
    if complaints:
        return complaints[0]
    active = sum(1 for pod in seen.pods if pod.phase == "Running")
    if seen.kueue and any(job.suspended for job in seen.jobs.values()):
        return "waiting for Kueue to admit the job"
    if seen.search is not None:
        return search_words(seen.search, seen.plan.job, active)
    said = f"{len(seen.finished)} of {counted(seen.total, 'trial')} finished, {active} running"
    if seen.rounds is not None:
        open_ = undecided(seen.rounds)
        entries = f"{counted(len(open_), 'entry', 'entries')} undecided ({named(open_)})"
        said = f"round {seen.rounds.looks + 1}, {entries}, {said}"
    return f"{said}, {seen.lost} of {seen.plan.job.spec.execution.max_disruptions} disruptions" if seen.lost else said


def _conditions(seen: Observation, ending: Ending | None, message: str) -> list[Condition]:
    kind = ending.type if ending else None
    reason = ending.reason if ending else ("Suspended" if seen.suspended else "TrialsRemain")
    stalled = kind == "Failed"
    wanted = [
        ("Complete", kind == "Complete"),
        ("Failed", kind == "Failed"),
        ("Suspended", seen.suspended and ending is None),
        ("Reconciling", ending is None and not seen.suspended),
        ("Stalled", stalled),
    ]
    return [
        _condition(
            name,
            holds=holds,
            reason=reason,
            message=message,
            generation=seen.generation,
            before=seen.status,
            now=seen.now,
        )
        for name, holds in wanted
    ]


def _condition(
    kind: str, *, holds: bool, reason: str, message: str, generation: int, before: Mapping[str, Any], now: datetime
) -> Condition:
    text = "True" if holds else "False"
    return {
        "type": kind,
        "status": text,
        "reason": reason,
        "message": texts.condition(message) if holds else "",
        "lastTransitionTime": _since(kind, text, before, now),
        "observedGeneration": generation,
    }


def _regressed(found: Regressed, generation: int, before: Mapping[str, Any], now: datetime) -> Condition:
    return {
        "type": "Regressed",
        "status": found.status,
        "reason": found.reason,
        "message": texts.condition(found.message),
        "lastTransitionTime": _since("Regressed", found.status, before, now),
        "observedGeneration": generation,
    }


def _since(kind: str, status: str, before: Mapping[str, Any], now: datetime) -> str:
    """When a condition last changed, or now if it changes now."""
    old = next((item for item in before.get("conditions") or () if item["type"] == kind), None)
    return str(old["lastTransitionTime"]) if old is not None and old["status"] == status else _text(now)


def _entries(seen: Observation, standings: Sequence[ObjectiveStanding]) -> tuple[list[dict[str, Any]], int]:
    """The entries with values, in the order of the spec, and the number left out for lack of room: never the best."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in seen.plan.configs}
    for standing in standings:
        for row in standing.ranking.ranked:
            interval = row.interval
            item: dict[str, Any] = {"name": standing.objective, "mean": interval.mean, "samples": interval.n}
            item["ranks"] = row.place
            if interval.low is not None and interval.high is not None:
                item |= {"low": interval.low, "high": interval.high}
            found[row.entry].append(item)
        for held in standing.ranking.unranked:
            if held.why == "OneTrial":
                (value,) = held.samples.values()
                found[held.entry].append({"name": standing.objective, "mean": value, "samples": 1})
    filled = [name for name, values in found.items() if values]
    best = [row.entry for row in standings[0].ranking.ranked] if standings else []
    kept, room = set(), MOST_VALUES
    for name in dict.fromkeys((*best, *filled)):
        room -= len(found[name])
        if room < 0:
            break
        kept.add(name)
    said = {name: texts.phrase(stop_note(seen.rounds, name)) for name in kept}
    written = [
        {"name": name, "objectives": found[name], **({"note": said[name]} if said[name] else {})}
        for name in filled
        if name in kept
    ]
    return written, len(filled) - len(kept)


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

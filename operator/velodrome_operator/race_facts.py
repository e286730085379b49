"""What is exposed about each BenchmarkJob, from what the operator remembers. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from velodrome.monitoring import telemetry
from velodrome_operator.races import Race
from velodrome_operator.rounds import count


@dataclass(frozen=True, slots=True)
class RaceFacts:
    """What is exposed about one BenchmarkJob. `trials` counts by state. `progress_at` is None unless it runs."""

    namespace: str
    name: str
    board: str
    state: str
    created_at: datetime
    trials: Mapping[str, int]
    progress_at: datetime | None = None
    waiting_since: datetime | None = None


def race_facts(race: Race) -> RaceFacts:
    """The facts of a race as the operator remembers it."""
    state = race.parent.state
    unfinished = [job for job in race.workload.jobs.values() if not job.finished]
    if state == "Running" and unfinished and all(job.suspended for job in unfinished):
        state = "Suspended"  # by Kueue, until there is room for the Jobs
    total, succeeded, failed = race.parent.counts
    total = total or count(race.rounds)
    active = 0
    progress_at = None
    if not race.parent.ended:
        nodes = race.plan.job.spec.runner.nodes if race.plan is not None else 1
        running = sum(1 for pod in race.workload.pods.values() if pod.phase == "Running")
        active = min(-(-running // nodes), max(0, total - succeeded - failed))
    if state == "Running":
        pods = (*race.workload.pods.values(), *race.workload.gone.values())
        moments = [moment for pod in pods for moment in (pod.started_at, pod.finished_at) if moment is not None]
        progress_at = max(
            [race.parent.created_at, *moments, *([race.logbook.reported_at] if race.logbook.reported_at else [])]
        )
    pending = 0 if race.parent.ended else max(0, total - succeeded - failed - active)
    return RaceFacts(
        namespace=race.namespace,
        name=race.name,
        board=race.parent.board,
        state=state,
        created_at=race.parent.created_at,
        trials=dict(zip(telemetry.TRIAL_STATES, (pending, active, succeeded, failed), strict=True)),
        progress_at=progress_at,
        waiting_since=None if race.parent.ended else race.logbook.troubled_at,
    )


class Facts:
    """Keeps the facts of every race, since they are asked for every second. If a race changed, makes them again."""

    def __init__(self) -> None:
        self._of: dict[str, tuple[Race, tuple[object, ...], RaceFacts]] = {}

    def of(self, races: Iterable[Race]) -> tuple[RaceFacts, ...]:
        """The facts of these races, in their order."""
        found = {}
        for race in races:
            seen = (race.logbook.news, race.logbook.troubled_at, race.logbook.reported_at, race.laid_out)
            known = self._of.get(race.uid)
            found[race.uid] = (
                known if known and known[0] is race and known[1] == seen else (race, seen, race_facts(race))
            )
        self._of = found
        return tuple(facts for _, _, facts in found.values())

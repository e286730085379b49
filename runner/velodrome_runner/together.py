"""Checkpoints of a trial that several pods train together: the first rank keeps them, and all go on from the same one.

No other rank looks at the folder. So it does not matter what a pod can see of it, and ranks can't disagree about which
checkpoint is the last, or whether it is whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from velodrome.canonical import digest
from velodrome.own_code import config_code
from velodrome.plan import Trial
from velodrome.results.records import DatasetFacts, Environment
from velodrome.spec.artifacts import Artifacts
from velodrome_runner.checkpoints import Checkpoints
from velodrome_runner.ranks import Ranks
from velodrome_runner.settings import Settings

# Ranks ask the first one whether to save about this often, in seconds of training, and a few times between two
# checkpoints. Each question makes all of them wait for the first one, and a GPU finish its queued work.
_ASK_SECONDS = 1.0
_ASKS_BETWEEN = 4
# How much more steps may be made until the next question than since the last one: the first steps tell little.
_MOST_GROWTH = 10


class SharedCheckpoints:
    """What `Checkpoints` are to one process, for all `ranks` together. Only those of the first rank have a folder.

    Every rank calls each method at the same step. Alone, a rank has its `Checkpoints` and nothing else.
    """

    def __init__(self, first: Checkpoints, ranks: Ranks) -> None:
        self._first = first
        self._ranks = ranks
        self._wanted = True
        self._asked, self._asked_at, self._next = 0, 0.0, 0

    def restored(self) -> dict[str, Any] | None:
        """What the last checkpoint holds, with this rank's part as `own`; None where training begins."""
        found = self._first.restored()
        self._wanted, found = self._ranks.agreed((self._first.folder is not None, found))
        return None if found is None else {**found, "own": found["own"][self._ranks.rank]}

    def due(self, steps: int, seconds: float) -> bool:
        """Whether all ranks are to save a checkpoint now. Call it after each step."""
        due = self._first.due(steps, seconds)
        if self._ranks.size == 1:
            return due
        if not self._wanted or steps < self._next:
            return False
        pace = min(_ASK_SECONDS, self._first.every / _ASKS_BETWEEN)
        following = steps + until_next(steps - self._asked, seconds - self._asked_at, pace)
        self._asked, self._asked_at = steps, seconds
        said = self._ranks.agreed((due, following, self._first.folder is not None))
        agreed, self._next, self._wanted = bool(said[0]), said[1], said[2]
        return agreed

    def save(self, steps: int, seconds: float, state: Callable[[], Mapping[str, Any]], own: Mapping[str, Any]) -> None:
        """Saves what all ranks have in common (`state`, which the first rank is asked for), and each rank's `own`.

        No rank goes on before that is done: work that it does meanwhile would be in no time of the trial.
        """
        parts = self._ranks.gathered(own)
        if parts is not None:
            self._first.save(steps, seconds, {**state(), "seconds": seconds, "own": parts})
        self._ranks.agreed(None)


def checkpoints_of(
    trial: Trial,
    settings: Settings,
    artifacts: Artifacts | None,
    facts: DatasetFacts,
    weights: str | None,
    environment: Environment,
) -> Checkpoints:
    """The checkpoints of this trial, if the job wants some. Those of a budget in seconds hold on one machine alone.

    `weights` is the digest of the initial ones. Every rank calls this. The first one has the checkpoints, and the
    machine is that of all.
    """
    every = None if artifacts is None else artifacts.checkpoint_seconds
    if every is None:
        return Checkpoints()
    mine = digest(environment.model_dump(mode="json", include={"hardware", "software", "resources"}), 16)
    machines = settings.ranks.gathered(mine)
    if machines is None:
        return Checkpoints()
    machine = mine if len(machines) == 1 else digest(machines, 16)
    software = environment.software
    identity = {
        "trial": trial.id,
        "code": config_code(trial.config) or "",
        "data set": facts.digest,
        "initial weights": weights or "",
        "version of torch": software.framework,
        "version of Velodrome": software.velodrome,
        "number of pods": str(settings.ranks.size),
        "machine": "" if trial.config.budget.max_seconds is None else machine,
    }
    return Checkpoints(settings.kept(trial.index), every, identity=identity, machine=machine, attempt=settings.attempt)


def until_next(steps: int, seconds: float, pace: float) -> int:
    """In how many steps that many seconds will have passed, if `steps` steps took `seconds`; one step at least."""
    most = _MOST_GROWTH * max(steps, 1)
    return max(1, min(most, int(steps * pace / seconds) if seconds > 0 else most))

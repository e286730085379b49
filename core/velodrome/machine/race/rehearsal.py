"""Before the first trial of a race: its data are read, each model is built and makes one step, each program is found.

A process that the warm starter forks does it, because it takes torch and runs the code of entries, which may end its
process (`velodrome_runner.rehearsal`). So a mistake costs a second, and is found before anything is stored.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from velodrome import keys
from velodrome.errors import LocalError, Problem, SpecError
from velodrome.kernel.limits import signal_name
from velodrome.machine.files import tail, write_private
from velodrome.machine.home import Home
from velodrome.machine.processes.lock import Track
from velodrome.machine.processes.starter import Event, Exited, Gone, Starter, StartRefused
from velodrome.machine.race.events import Note, Resumed, Waiting, Watch
from velodrome.plan import Plan
from velodrome.results.registration import stored_document
from velodrome.text import counted, line

WARMING_UP = "the runner is warming up (importing torch takes some seconds)"
_TICK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """What the rehearsal found of one entry. `message` is a sentence, and empty if there are `problems`."""

    entry: str
    message: str
    problems: tuple[Problem, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Stage:
    """Where a rehearsal happens. `folder` is for its files alone, data lie below `data`, `cpus` threads compute.

    `heed` is called all the time, and may raise to end the rehearsal.
    """

    starter: Starter
    folder: Path
    data: Path
    cpus: int
    heed: Callable[[], None] = lambda: None


def before_race(plan: Plan, positions: Iterable[int], home: Home, track: Track, stage: Stage, watch: Watch) -> None:
    """Rehearses entries on the track, which this race then has. Leaves no file.

    Raises:
        SpecError: what is wrong with the entries, all of it.
        LocalError: the runner can't be started on this machine.
        Whatever `stage.heed` raises.
    """
    positions = sorted(positions)
    if not positions:
        return
    waiting = False
    while not track.try_enter():
        if not waiting:
            waiting = True
            watch(Waiting(track.why_waiting()))
        stage.heed()
        time.sleep(_TICK_SECONDS)
    watch(Waiting(WARMING_UP))
    home.make(stage.folder)
    try:
        found = list(rehearse(plan, positions, stage, lambda: watch(Waiting("the entries are rehearsed"))))
    finally:
        shutil.rmtree(stage.folder, ignore_errors=True)
    watch(Resumed())
    problems = tuple(dict.fromkeys(_told(one.entry, problem) for one in found for problem in one.problems))
    if problems:
        name = plan.job.metadata.name
        raise SpecError(problems, f"{name} can't race, and nothing was run; its rehearsal found")
    took = sum(one.seconds for one in found)
    watch(Note(f"rehearsed {counted(len(found), 'entry', 'entries')} in {took:.1f} s"))


def rehearse(
    plan: Plan, positions: Iterable[int], stage: Stage, ready: Callable[[], None] = lambda: None
) -> Iterator[Rehearsed]:
    """What is found of the entry at each position, as it comes. Calls `ready` when the runner is warm.

    If an entry ends the process, another process goes on after that entry.

    Raises:
        LocalError: the runner can't be started on this machine.
        Whatever `stage.heed` raises.
    """
    spec = stage.folder / "spec.json"
    write_private(spec, json.dumps(stored_document(plan.job)).encode())
    left, names, number = list(positions), list(plan.configs), 0
    while left:
        while not stage.starter.ready():
            stage.heed()
            stage.starter.events(_TICK_SECONDS)
        ready()
        part = _Part(plan, f"rehearsal-{number}", stage, tuple(left))
        for found in part.run():
            left.remove(names.index(found.entry))
            yield found
        if not part.began:
            words = tail(part.log) or "it said nothing"
            raise LocalError(f"the entries can't be rehearsed ({part.ending()}): {words}")
        number += 1


@dataclass(slots=True)
class _Part:
    """One process that rehearses the entries at these positions, as far as it comes."""

    plan: Plan
    name: str
    stage: Stage
    positions: tuple[int, ...]
    began: list[str] = field(default_factory=list)
    running: str | None = None
    overdue: bool = False
    ended: Exited | Gone | None = None

    @property
    def log(self) -> Path:
        return self.stage.folder / f"{self.name}.log"

    def run(self) -> Iterator[Rehearsed]:
        said = self.stage.folder / f"{self.name}.jsonl"
        said.touch(mode=0o600)
        self.stage.starter.launch(self.name, self._environ(said), self.log)
        longest = self.plan.job.spec.execution.trial_deadline_seconds
        started = since = time.monotonic()
        with said.open(encoding="utf-8", errors="replace") as answers:
            while self.ended is None:
                self.stage.heed()
                for event in self.stage.starter.events(_TICK_SECONDS):
                    self._take(event)
                for found in self._answers(answers.readlines()):
                    since = time.monotonic()
                    yield found
                if time.monotonic() - since > longest and not self.overdue:
                    self.overdue = True
                    self.stage.starter.kill()
        if self.running is not None:
            at = list(self.plan.configs).index(self.running)
            longer = f"it took longer than execution.trialDeadlineSeconds ({longest} s)"
            why = longer if self.overdue else f"{self.ending()}: {_last_line(self.log)}"
            problem = Problem(f"spec.entries[{at}]", line(why))
            yield Rehearsed(self.running, "", (problem,), time.monotonic() - started)

    def ending(self) -> str:
        """How the process ended."""
        match self.ended:
            case Exited(code=code, signal=None):
                return f"its process ended with code {code}"
            case Exited(signal=int(number)):
                return f"its process was ended by {signal_name(number)}"
            case _:
                return "its process ended, and the runner's starter with it"

    def _environ(self, said: Path) -> Mapping[str, str]:
        return {
            keys.ENV_REHEARSAL: str(said),
            keys.ENV_SPEC: str(self.stage.folder / "spec.json"),
            keys.ENV_ENTRIES: ",".join(map(str, self.positions)),
            keys.ENV_DATA: str(self.stage.data),
            keys.ENV_CPUS: str(self.stage.cpus),
        }

    def _take(self, event: Event) -> None:
        match event:
            case Exited(id=self.name):
                self.ended = event
                self.stage.starter.finished_a_trial()
            case StartRefused(message=message):
                raise LocalError(f"a process for the rehearsal can't be started: {message}")
            case Gone():
                self.ended = event
            case _:
                pass

    def _answers(self, lines: Iterable[str]) -> Iterator[Rehearsed]:
        for text in lines:
            found = _parsed(text)
            entry = found.get("entry")
            if "seconds" in found and entry == self.running and entry is not None:
                self.running = None
                problems = [
                    Problem(one["path"], line(f"{one['reason']}: {one['message']}")) for one in found["problems"]
                ]
                yield Rehearsed(entry, found["message"], tuple(problems), found["seconds"])
            elif entry in self.plan.configs and entry not in self.began:
                self.running = str(entry)
                self.began.append(self.running)


def _told(entry: str, problem: Problem) -> Problem:
    """A problem with its entry's name, and how to race without that entry. One of the data is the same for all."""
    if not problem.path.startswith("spec.entries["):
        return problem
    hint = f"to race without it, take {entry} out of spec.entries"
    return Problem(problem.path, f"{entry}: {problem.message}", hint)


def _parsed(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _last_line(log: Path) -> str:
    return ([text.strip() for text in tail(log).splitlines() if text.strip()] or ["it said nothing"])[-1]

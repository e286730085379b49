"""Shows the progress of a race: drawn on a terminal, as lines of a log, as JSON for a program, or not at all."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self, TextIO

from velodrome.machine.race import events
from velodrome.machine.race.decisions import seconds_left
from velodrome.metrics.catalogue import MetricKey
from velodrome.plan import Plan, Trial, objective_keys
from velodrome.results.records import Progress, TrialResult
from velodrome.results.rounds import named, stop_note, undecided
from velodrome.search.trials import SearchPlan, search_of
from velodrome.text import counted, indented, line
from velodrome.units import duration, quantity

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

_REDRAW_SECONDS = 0.25
_MOST_ENTRIES = 8  # of a search that have a bar of their own
_MARKS = {"Succeeded": ("✓", "green"), "Failed": ("✗", "red"), "Pruned": ("–", "yellow")}


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Seen:
    """What the events have reported so far. Pure bookkeeping for all kinds of output."""

    clock: Callable[[], float] = time.monotonic
    plan: Plan | None = None
    parallel: int = 1
    done: int = 0
    total: int = 0
    waiting: set[int] = field(default_factory=set)
    running: dict[int, tuple[Trial, float]] = field(default_factory=dict)
    progress: dict[int, Progress] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def take(self, event: events.Event) -> None:
        """Notes what an event reports."""
        match event:
            case events.Opened():
                self.plan, self.parallel, self.waiting = event.plan, event.parallel, set(event.pending)
                self.total = event.total
                self.done = self.total - len(event.pending)
            case events.RoundBegun():
                self.total, self.waiting = event.total, set(event.pending)
            case events.TrialStarted():
                self.waiting.discard(event.trial.index)
                self.running[event.trial.index] = (event.trial, self.clock())
            case events.TrialProgressed():
                self.progress[event.trial.index] = event.progress
            case events.TrialFinished():
                _, began = self._end(event.trial)
                self.seconds.setdefault(event.trial.entry, []).append(self.clock() - began)
                self.done = event.done
            case events.TrialWithdrawn():
                self._end(event.trial)
                self.waiting.add(event.trial.index)
            case _:
                pass

    def left(self) -> float | None:
        """The estimated seconds to the end of the race; None if they can't be estimated."""
        if self.plan is None:
            return None
        now = self.clock()
        ahead = [self.plan.entry(index) for index in self.waiting]
        under_way = [(trial.entry, now - began) for trial, began in self.running.values()]
        return seconds_left(ahead, under_way, self.seconds, self.parallel)

    def is_timing(self) -> bool:
        """Whether a trial is being timed. Then nothing else should use a CPU."""
        return any(self.progress[index].phase == "Timing" for index in self.running if index in self.progress)

    def _end(self, trial: Trial) -> tuple[Trial, float]:
        self.progress.pop(trial.index, None)
        return self.running.pop(trial.index, (trial, self.clock()))


class Lines:
    """Writes one line for each important event, for a log."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._seen = Seen()
        self._waits: set[str] = set()

    def __call__(self, event: events.Event) -> None:
        self._seen.take(event)
        for sentence in self._sentences(event):
            self._write(sentence)

    def _sentences(self, event: events.Event) -> Iterable[str]:
        match event:
            case events.Opened():
                yield opening(event)
            case events.RoundBegun():
                yield from round_words(event)
            case events.TrialFinished():
                left = self._seen.left()
                eta = f", about {duration(left)} left" if left and event.done < event.total else ""
                yield f"[{event.done}/{event.total}{eta}] {outcome(event, self._seen.plan)}"
            case events.TrialWithdrawn():
                yield f"{name(event.trial)}: its process had to end; it has to run again"
            case events.Waiting() if event.why not in self._waits:
                self._waits.add(event.why)
                yield f"waiting: {indented(event.why)}"
            case events.Note():
                yield from note_words(event)
            case _:
                pass


class Live:
    """Draws a bar for the race and one for each running trial. As a context manager, it clears the bars at its end.

    It draws only when an event comes, at most four times a second, and never while a trial is being timed: drawing
    would use CPU time that the measurement needs.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        from rich.progress import BarColumn, TextColumn
        from rich.table import Column

        from velodrome.cli.console import output
        from velodrome.cli.screen import meters

        self._seen = Seen(clock)
        self._console = output(stream)
        self._bars: Bars = meters(
            self._console,
            TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[words]}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis")),
        )
        self._race: TaskID | None = None
        self._trials: dict[int, TaskID] = {}
        self._entries: dict[str, TaskID] = {}
        self._drawn = 0.0

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def __call__(self, event: events.Event) -> None:
        self._seen.take(event)
        match event:
            case events.Opened():
                self._console.print(opening(event), markup=False)
                self._open(event.plan)
            case events.Waiting() if self._race is None:
                self._race = self._bars.add_task("before the race", total=1, words="")
            case events.TrialStarted():
                task = self._bars.add_task(f"  {name(event.trial)}", total=1.0, words="starting")
                self._trials[event.trial.index] = task
            case events.TrialFinished():
                self._drop(event.trial)
                self._end(event)
            case events.TrialWithdrawn():
                self._drop(event.trial)
            case events.Note() | events.RoundBegun():
                for sentence in round_words(event) if isinstance(event, events.RoundBegun) else note_words(event):
                    self._console.print(sentence, markup=False, style="yellow")
            case _:
                pass
        self._draw(event)

    def _open(self, plan: Plan) -> None:
        """A bar for the race, and in a search one for each of the first entries that it tunes."""
        for task in (*self._entries.values(), *([] if self._race is None else [self._race])):
            self._bars.remove_task(task)
        self._race = self._bars.add_task(plan.job.metadata.name, total=self._seen.total, words="")
        self._entries, ahead = {}, Counter(plan.entry(index) for index in self._seen.waiting)
        if isinstance(plan, SearchPlan):
            most = search_of(plan.job).max_trials
            tuned = [entry for entry in plan.configs if search_of(plan.job).of(entry)]
            for entry in tuned[:_MOST_ENTRIES]:
                self._entries[entry] = self._bars.add_task(
                    f" {entry}", total=most, words="", completed=most - ahead[entry]
                )

    def _end(self, event: events.TrialFinished) -> None:
        """A line for a trial that finished; of a search trial, also its entry's best so far."""
        task = self._entries.get(event.trial.entry)
        if task is not None:
            self._bars.update(task, advance=1, words=event.best)
        mark, style = _MARKS["Pruned" if event.result.reason == "Pruned" else event.result.outcome]
        # One print for all of it: the bars are drawn after each.
        self._console.marked(mark, style, outcome(event, self._seen.plan, self._console.width - 2))

    def _drop(self, trial: Trial) -> None:
        task = self._trials.pop(trial.index, None)
        if task is not None:
            self._bars.remove_task(task)

    def _draw(self, event: events.Event) -> None:
        often = isinstance(event, events.TrialProgressed) and event.progress.phase == "Training"
        now = self._seen.clock()
        if often and (now - self._drawn < _REDRAW_SECONDS or self._seen.is_timing()):
            return
        self._drawn = now
        for index, task in self._trials.items():
            progress = self._seen.progress.get(index)
            if progress is not None:
                self._bars.update(task, completed=progress.fraction, words=progress_words(progress))
        if self._race is not None:
            words = event.why if isinstance(event, events.Waiting) else self._race_words()
            self._bars.update(self._race, total=self._seen.total or 1, completed=self._seen.done, words=words)
        self._bars.refresh()

    def _race_words(self) -> str:
        left = self._seen.left()
        eta = "" if left is None else f", about {duration(left)} left"
        return f"{self._seen.done} of {counted(self._seen.total, 'trial')}{eta}"


class JsonLines:
    """Writes each event as a document, with the time at which it came."""

    def __init__(self, write: Callable[[Mapping[str, object]], None], now: Callable[[], datetime] = _now) -> None:
        self._write, self._now = write, now

    def __call__(self, event: events.Event) -> None:
        self._write({"at": self._now().isoformat(), **event_document(event)})


def silence(event: events.Event) -> None:
    """Shows only what a person must know."""


def opening(event: events.Opened) -> str:
    """The first line: how many trials there are to run."""
    job, total = event.plan.job.metadata.name, event.total
    if isinstance(event.plan, SearchPlan):
        job = f"{job}, search"
    remaining = len(event.pending)
    finished = total - remaining
    if remaining == 0:
        what = "the trial is" if total == 1 else f"all {total} trials are"
        return f"{job}: {what} finished already (run {'it' if total == 1 else 'them'} again with --fresh)"
    carried = f", {finished} {'is' if finished == 1 else 'are'} finished already" if finished else ""
    threads = f"{event.cpus} CPU{'' if event.cpus == 1 else 's'}"
    share = f"{event.parallel} at a time with {threads} each" if event.parallel > 1 else f"one at a time, {threads}"
    until = event.plan.job.spec.trials.until
    more = "" if until is None else f"; more seeds follow until {', '.join(until.decided)} is decided"
    return f"{job}: {remaining} of {counted(total, 'trial')} to run{carried}; {share}{more}"


def note_words(event: events.Note) -> Iterable[str]:
    """What the person should know, in a line or several."""
    yield f"note: {indented(event.text)}"


def round_words(event: events.RoundBegun) -> Iterable[str]:
    """Why entries stopped, and what is run next; the end of the race says the same of the race."""
    for entry in event.stopped:
        yield f"{entry} {stop_note(event.rounds, entry)}"
    if event.pending:
        open_ = undecided(event.rounds)
        yield (
            f"round {event.rounds.looks + 1}: {counted(len(event.pending), 'more trial')}, "
            f"{counted(len(open_), 'entry', 'entries')} undecided ({named(open_)})"
        )


def name(trial: Trial) -> str:
    """`cnn seed 3`, or `cnn trial 12` of a search."""
    return f"{trial.entry} {_which(trial)}"


def _which(trial: Trial) -> str:
    """`seed 3`; of a search trial, whose seed says little, `trial 12`."""
    return f"seed {trial.seed}" if trial.config.searched is None else f"trial {trial.repeat}"


def outcome(event: events.TrialFinished, plan: Plan | None, width: int | None = None) -> str:
    """How a trial ended: with its objectives' values, or why it failed and where its log is.

    In a `width`, it shows as many values as fit into one line, at least one, and how many more there are.
    """
    result = event.result
    longest = max((len(entry) for entry in plan.configs), default=0) if plan else 0
    took = duration((result.finished_at - result.started_at).total_seconds())
    start = f"{event.trial.entry:{longest}} {_which(event.trial)}"
    if event.said and (result.outcome == "Succeeded" or result.reason == "Pruned"):
        return fitting(f"{start}  {took:>8}  ", event.said.split("; "), width)
    if result.outcome == "Failed":
        why = f"{line(result.reason)}: {indented(result.message or '')}"
        return f"{start}  failed after {took}: {why}\n    its log: {line(event.log)}"
    return fitting(f"{start}  {took:>8}  ", objective_values(result, plan), width)


def fitting(start: str, values: Sequence[str], width: int | None) -> str:
    """A line with as many values as fit into `width`, at least one, and the number of the others. Pure."""
    for shown in range(len(values), 0, -1):
        more = f" and {len(values) - shown} more" if shown < len(values) else ""
        made = f"{start}{', '.join(values[:shown])}{more}"
        if width is None or len(made) <= width or shown == 1:
            return made
    return start.rstrip()


def objective_values(result: TrialResult, plan: Plan | None) -> list[str]:
    """`accuracy 97.42 %` for each objective that was measured."""
    if plan is None:
        return []
    keys = [(name, str(key)) for name, key in objective_keys(plan.job).items()]
    return [
        f"{label} {quantity(MetricKey.parse(key).metric.unit, result.metrics[key])}"
        for label, key in keys
        if key in result.metrics
    ]


def progress_words(progress: Progress) -> str:
    """The phase, epoch, loss and speed of a running trial."""
    if progress.phase != "Training":
        return progress.phase.lower()
    words = [f"epoch {progress.epoch}/{progress.epochs}"]
    if progress.loss is not None:
        words.append(f"loss {progress.loss:.4f}")
    if progress.samples_per_second is not None:
        words.append(f"{progress.samples_per_second:,.0f} samples/s")
    return ", ".join(words)


def event_document(event: events.Event) -> dict[str, Any]:
    """An event as a JSON object for programs."""
    match event:
        case events.Opened():
            return {"event": "opened", "job": event.plan.job.metadata.name, "uid": event.uid,
                    "trials": event.total, "remaining": len(event.pending)}  # fmt: skip
        case events.RoundBegun():
            return {"event": "round", "round": event.rounds.looks + 1, "trials": event.total,
                    "remaining": len(event.pending), "undecided": list(undecided(event.rounds)),
                    "stopped": {entry: event.rounds.stopped[entry].model_dump(mode="json")
                                for entry in event.stopped}}  # fmt: skip
        case events.TrialStarted():
            return {"event": "started", **_trial(event.trial), "log": event.log, "pid": event.pid}
        case events.TrialProgressed():
            progress = event.progress.model_dump(mode="json", exclude={"job_uid", "index", "point"})
            return {"event": "progress", **_trial(event.trial), **progress}
        case events.TrialFinished():
            result = event.result
            return {"event": "finished", **_trial(event.trial), "outcome": result.outcome, "reason": result.reason,
                    "message": result.message, "metrics": dict(result.metrics),
                    "done": event.done, "trials": event.total,
                    **({"search": event.said} if event.said else {})}  # fmt: skip
        case events.TrialWithdrawn():
            return {"event": "withdrawn", **_trial(event.trial)}
        case events.Waiting():
            return {"event": "waiting", "why": event.why}
        case events.Resumed():
            return {"event": "resumed"}
        case events.Note():
            return {"event": "note", "text": event.text}


def _trial(trial: Trial) -> dict[str, Any]:
    return {"index": trial.index, "entry": trial.entry, "repeat": trial.repeat, "seed": trial.seed}

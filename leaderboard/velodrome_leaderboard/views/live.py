"""Live parts: pages that redraw themselves, and the trials that run now."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

import streamlit as st

from velodrome.errors import StoreUnavailable, VelodromeError
from velodrome.results.records import JobInfo, Progress
from velodrome.store import Counts
from velodrome.store.markers import Marker
from velodrome.text import counted
from velodrome_leaderboard import links, markup
from velodrome_leaderboard.access.people import ANYBODY, SignInNeeded
from velodrome_leaderboard.data import ResultSource
from velodrome_leaderboard.memory import LastAnswers, store_of
from velodrome_leaderboard.viewer import now, zone
from velodrome_leaderboard.watching import join

# A trial that has fallen silent is shown as such, although nothing reports that.
_SILENCE_SECONDS = 30.0

# A runner reports every few seconds. A runner that is silent for longer than this has ended or can't reach Redis.
_SILENT = timedelta(seconds=90)
_SHOWN_TRIALS = 8


@st.fragment
def watch(source: ResultSource, markers: Sequence[Marker], read: Callable[[], object], seen: object) -> None:
    """Draws the page again when `read` returns something other than `seen`, from which the page was drawn. It reads
    again only when one of the markers has changed.

    While Redis is away, it says so here, and the page stays as it is.
    """
    join(source.url, markers, source.person, away=source.memory.error is not None)
    try:
        changed = read() != seen
    except (SignInNeeded, StoreUnavailable):
        changed = True  # the page itself reports it
    if changed:
        st.rerun()
    if source.memory.error is not None:
        _away(source.memory)


def _away(memory: LastAnswers) -> None:
    when: list[markup.Part] = []
    if memory.answered_at is not None:
        when = [" These are the last results that were read, ", markup.moment(memory.answered_at, now(), zone()), "."]
    text = str(memory.error).rstrip(".") + "."
    st.html(markup.alert("Redis does not answer right now.", [text, *when], "busy"))


@dataclass(frozen=True, slots=True)
class RunningJob:
    """An unfinished job: its progress, and the trials that reported lately, the most advanced first."""

    job: JobInfo
    counts: Counts
    trials: tuple[Progress, ...]
    last_at: datetime | None

    @property
    def done(self) -> int:
        """The number of trials that have a result."""
        return self.counts.succeeded + self.counts.failed

    @property
    def words(self) -> str:
        """What the job does now, in a few words."""
        return f"{'running' if self.trials else 'unfinished'}, {self.done} of {counted(self.job.asked, 'trial')} done"

    @property
    def share(self) -> float:
        """How much of the job is done. A running trial counts by its own share."""
        return min(1.0, (self.done + sum(trial.fraction for trial in self.trials)) / self.job.asked)


def unfinished(source: ResultSource, jobs: Sequence[JobInfo]) -> list[RunningJob]:
    """The jobs among these that still lack results."""
    found = []
    for job in jobs:
        counts = source.outcomes(job)
        if not job.is_over(counts.succeeded + counts.failed):
            reported = source.progress(job.uid)
            fresh = [trial for trial in reported.values() if now() - trial.at < _SILENT and trial.phase != "Finished"]
            fresh.sort(key=lambda trial: (-trial.fraction, trial.index))
            last = max((trial.at for trial in reported.values()), default=None)
            found.append(RunningJob(job, counts, tuple(fresh), last))
    return found


def progress(source: ResultSource, jobs: Sequence[JobInfo]) -> None:
    """Shows the unfinished jobs among these, and keeps them up to date. Without any, nothing is looked for."""
    if unfinished(source, jobs):
        _progress(source, jobs)


@st.fragment
def _progress(source: ResultSource, jobs: Sequence[JobInfo]) -> None:
    join(source.url, source.markers(jobs=jobs), source.person, _SILENCE_SECONDS, away=source.memory.error is not None)
    try:
        for running in unfinished(source, jobs):
            _show(running)
    except StoreUnavailable:
        st.rerun()


@st.fragment
def wait(url: str) -> None:
    """Draws the page again as soon as Redis answers."""
    if not join(url, (), ANYBODY, away=True):
        with suppress(VelodromeError):
            store_of(url).ping()
            st.rerun()
    st.caption("This page looks again every second and comes back by itself.")


def _show(running: RunningJob) -> None:
    job = running.job
    parts: list[markup.Part] = [markup.Cell(job.name, links.job(job.uid)), markup.Cell(running.words, tone="busy")]
    with st.container(border=True):
        if running.trials:
            st.html(markup.lines(("meta", [*parts, f"{len(running.trials)} at work"])))
            st.progress(running.share)
            st.html(_table(running))
            return
        if running.last_at is not None:
            parts.append(markup.moment(running.last_at, now(), zone()))
        again = markup.Cell("velodrome run", tone="code")
        waits: list[markup.Part] = ["It waits for its turn or was stopped: the same ", again, " carries on with it."]
        st.html(markup.lines(("meta", parts), ("note", waits)))
        st.progress(running.share)


def _table(running: RunningJob) -> str:
    columns = [
        markup.Column("Trial"),
        markup.Column("Phase"),
        markup.Column("Epoch", numeric=True),
        markup.Column("Loss", numeric=True),
        markup.Column("Samples/s", numeric=True, minor=True),
    ]
    names = running.job.entries
    rows = []
    for trial in running.trials[:_SHOWN_TRIALS]:
        repeat, position = divmod(trial.index, len(names))
        rows.append(
            [
                markup.Cell(names[position], links.run(running.job.uid, trial.index), detail=f"repeat {repeat + 1}"),
                markup.Cell(trial.phase),
                markup.Cell(f"{trial.epoch} / {trial.epochs}" if trial.epochs else ""),
                markup.Cell("" if trial.loss is None else f"{trial.loss:.4f}"),
                markup.Cell("" if trial.samples_per_second is None else f"{trial.samples_per_second:,.0f}"),
            ]
        )
    return markup.table(columns, rows, f"Running trials of {running.job.name}")

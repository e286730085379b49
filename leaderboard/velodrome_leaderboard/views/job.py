"""One job: its trials, the file to run it again, and its results to download; or one entry's part of this."""

from __future__ import annotations

import re
from collections.abc import Iterator

import streamlit as st

from velodrome.plan import write_spans
from velodrome.ranking.places import failed_text
from velodrome.results.confusion import confusion_of
from velodrome.results.records import JobInfo, TrialRecord
from velodrome.results.rounds import stop_note
from velodrome.store import EntryState, TrialSummary
from velodrome.store.markers import of_job
from velodrome.text import command, counted, line
from velodrome.units import duration, quantity
from velodrome_leaderboard import documents, links, markup
from velodrome_leaderboard.data import ResultSource
from velodrome_leaderboard.viewer import now, zone
from velodrome_leaderboard.views import confusion, live
from velodrome_leaderboard.views.board import job_state

_SQUARES = 1500
_RUNS = 25
_MATRICES = 100  # confusion matrices of one entry that are added up
_SYMBOLS: dict[str, tuple[str, markup.Tone]] = {"Succeeded": ("✓", "good"), "Failed": ("✕", "bad")}


def render(source: ResultSource) -> None:
    """Shows the page of the job that the URL names, or of one entry in it."""
    uid, entry = st.query_params.get("uid", ""), st.query_params.get("entry")
    job = source.job(uid)
    if job is None:
        unknown_job(source, uid)
        return
    if entry is not None and entry not in job.entries:
        st.html(markup.heading(entry, _steps(job)))
        every = markup.Cell("all its entries", links.job(uid))
        st.html(markup.alert("There is no such entry.", [f"Job {job.name} has none of this name: see ", every, "."]))
        return
    st.set_page_config(page_title=line(f"{entry or job.name} · Velodrome"))
    live.watch(source, source.markers(jobs=[job]), lambda: source.counts(uid), source.counts(uid))
    if entry is None:
        _whole(source, job)
    else:
        _one_entry(source, job, entry)


def unknown_job(source: ResultSource, uid: str) -> None:
    """Shows that this Redis does not have the job of the link, and the page as soon as it has."""
    st.html(markup.heading(uid or "Which job?", [("Leaderboards", links.HOME)]))
    text = f"No job {uid} is registered in this Redis." if uid else "The address names no job."
    st.html(markup.alert("There is no such job.", [text]))
    live.watch(source, [of_job(uid, "")], lambda: source.job(uid) is not None, seen=False)


def _steps(job: JobInfo) -> list[tuple[str, str]]:
    return [*board_steps(job), (f"job {job.name}", links.job(job.uid))]


def board_steps(job: JobInfo) -> list[tuple[str, str]]:
    """The links to the pages above the job, the last one to its board."""
    return [("Leaderboards", links.HOME), (job.board, links.board(job.board))]


def _whole(source: ResultSource, job: JobInfo) -> None:
    facts: list[markup.Part] = [
        f"{counted(len(job.entries), 'entry', 'entries')} × {_seeds(job)}",
        job_state(job, source.counts(job.uid)),
        markup.moment(job.created_at, now(), zone()),
        markup.Cell(job.uid, tone="code"),
    ]
    st.html(markup.heading(f"Job {job.name}", board_steps(job), facts))
    if job.document.get("spec", {}).get("search"):
        st.html(
            markup.note("A search chose the parameters: ", markup.Cell("see the search", links.searching(job.uid)), ".")
        )
    live.progress(source, [job])
    _notices(source, job)
    st.header("Trials", anchor=False)
    _grid(source, job)
    _again(source, job, None)
    _downloads(source, job)


def _seeds(job: JobInfo) -> str:
    """How many seeds the entries have: of a race until decided, from the fewest to the most so far."""
    planned = sorted({job.planned(entry) for entry in job.entries})
    few = "" if len(planned) == 1 else f"{planned[0]} to "
    return f"{few}{counted(planned[-1], 'seed')}" + ("" if job.rounds is None else ", until decided")


def _notices(source: ResultSource, job: JobInfo) -> None:
    counts = source.counts(job.uid)
    if counts.conflicts:
        places = sorted({record.result.index for record in source.conflicts(job.uid)})[:_RUNS]
        trials = [part for index in places for part in (" ", markup.Cell(f"trial {index}", links.run(job.uid, index)))]
        text = "The first result counts, the other is kept beside it:"
        st.html(markup.alert("Some trials reported two results that differ.", [text, *trials], "busy"))
    if counts.rejected:
        with st.expander(f"{sum(counts.rejected.values()):,} reports were rejected", icon=":material/block:"):
            st.html(markup.facts((reason, f"{count:,}") for reason, count in counts.rejected.items()))
            st.code(
                "\n".join(line(f"{found.reason}: {found.message}") for found in source.rejections(job.uid)[:_RUNS]),
                None,
            )


def _grid(source: ResultSource, job: JobInfo) -> None:
    """Shows a row for each entry and a square for each repeat, in the order of the job."""
    most = max(map(job.planned, job.entries))
    each = max(1, _SQUARES // most)
    pages = -(-len(job.entries) // each)
    page, bound = links.page_number(pages, "entries")
    trials, running, states = source.trials(job.uid), source.progress(job.uid), source.entries(job.uid)
    rows = []
    for position, name in list(enumerate(job.entries))[(page - 1) * each : page * each]:
        squares = []
        for repeat in range(min(job.planned(name), _SQUARES)):
            index = repeat * len(job.entries) + position
            at = running.get(index)
            squares.append(_square(job, index, repeat, trials.get(index), None if at is None else at.phase))
        words = "; ".join(filter(None, (_entry_words(states.get(name)), stop_note(job.rounds, name))))
        rows.append((markup.Cell(name, links.job(job.uid, name), detail=words), squares))
    st.html(markup.grid(rows, "Trials by entry and repeat"))
    if most > _SQUARES:
        st.html(markup.note(f"The first {_SQUARES:,} of {most:,} repeats are shown."))
    if pages > 1:
        st.pagination(pages, **bound)
    st.html(markup.legend(_LEGEND))


_LEGEND = (
    markup.Square("✓", "succeeded", "good"),
    markup.Square("✕", "failed", "bad"),
    markup.Square("►", "running", "busy"),
    markup.Square("·", "not yet", ""),
)


def _entry_words(state: EntryState | None) -> str:
    if state is None or not state.failed:
        return ""
    return f"{state.failed} failed"


def _square(job: JobInfo, index: int, repeat: int, trial: TrialSummary | None, phase: str | None) -> markup.Square:
    href = links.run(job.uid, index)
    if trial is not None:
        symbol, tone = _SYMBOLS[trial.outcome]
        outcome_words = trial.reason or trial.outcome.lower()
        return markup.Square(symbol, f"seed {trial.seed}: {outcome_words}, {duration(trial.run_seconds)}", tone, href)
    if phase is not None:
        return markup.Square("►", f"repeat {repeat + 1}: {phase.lower()}", "busy", href)
    return markup.Square("·", f"repeat {repeat + 1}: not yet", "")


def _identity(source: ResultSource, job: JobInfo, entry: str) -> None:
    """What the same trials have in common: data, seeds, code and software, as they were observed."""
    record = next(_first_records(source, job, entry), None)
    if record is None:
        return
    result, observed, seeds = record.result, record.observed, {one.seed for one in source.trials(job.uid).values()}
    pairs: list[tuple[str, markup.Part]] = [("seeds", write_spans(seeds))]
    if result.dataset is not None:
        pairs.append(("data", markup.Cell(f"{result.dataset.name} {result.dataset.digest}", tone="code")))
    pairs.append(("own code", markup.Cell(result.code or "none", tone="code" if result.code else "")))
    if result.environment is not None:
        software = result.environment.software
        pairs.append(("software", f"Velodrome {software.velodrome}, {software.framework}, Python {software.python}"))
    if observed.image_id:
        pairs.append(("image", markup.Cell(observed.image_id, tone="code")))
    st.html(markup.facts(pairs))


def _again(source: ResultSource, job: JobInfo, entry: str | None) -> None:
    st.header("Run this again", anchor=False)
    name = _file_name(f"{job.name}{f'-{entry}' if entry is not None else ''}", "yaml")
    text = documents.job_yaml(job, entry)
    st.html(markup.note("Save this file and, on a machine that has Velodrome, run:"))
    with st.container(horizontal=True, vertical_alignment="center"):
        st.code(command("velodrome", "run", name), language=None, width=520)
        st.download_button(
            "Save the file", text, name, "application/yaml", icon=":material/download:", on_click="ignore"
        )
    if entry is not None:
        _identity(source, job, entry)
    with st.expander("The file", expanded=entry is not None):
        st.code(text, language="yaml")


def _file_name(name: str, ending: str) -> str:
    """A name that is one plain word for a shell and a file system, because people paste it into a command."""
    return f"{re.sub(r'[^A-Za-z0-9._-]+', '_', name).lstrip('-.')[:100] or 'job'}.{ending}"


def _downloads(source: ResultSource, job: JobInfo) -> None:
    st.header("Take the results away", anchor=False)
    with st.container(horizontal=True):
        st.download_button(
            "CSV, a line for each trial",
            lambda: documents.trials_csv(source.records(job)),
            _file_name(job.name, "csv"),
            "text/csv",
            icon=":material/table:",
            on_click="ignore",
        )
        st.download_button(
            "JSON lines, everything",
            lambda: source.export(job.uid),
            _file_name(job.name, "jsonl"),
            "application/jsonl",
            icon=":material/data_object:",
            on_click="ignore",
        )
    back = markup.Cell("velodrome import", tone="code")
    st.html(markup.note("JSON lines hold curves and environments too; ", back, " takes them back."))


def _one_entry(source: ResultSource, job: JobInfo, entry: str) -> None:
    state = source.entries(job.uid).get(entry)
    facts: list[markup.Part] = [f"entry of job {job.name}"]
    if state is not None:
        facts.append(f"{state.succeeded} of {counted(state.planned, 'trial', 'trials')} succeeded")
        facts += [markup.Cell(failed_text(state), tone="bad")] if state.failed else []
        facts += [markup.Cell(state.hidden, tone="busy")] if state.hidden else []
    facts += list(filter(None, [stop_note(job.rounds, entry)]))
    st.html(markup.heading(entry, _steps(job), facts))
    again_first = st.query_params.get(links.FIRST) == links.AGAIN
    if again_first:
        _again(source, job, entry)
    st.header("Runs", anchor=False)
    _runs(source, job, entry)
    confusion.show(confusion_of(_first_records(source, job, entry)))
    if not again_first:
        _again(source, job, entry)


def _first_records(source: ResultSource, job: JobInfo, entry: str) -> Iterator[TrialRecord]:
    """What the entry's first repeats measured, as far as they are finished."""
    position, finished, hidden = job.entries.index(entry), source.trials(job.uid), source.hidden(job.uid)
    for repeat in range(min(job.planned(entry), _MATRICES)):
        index = repeat * len(job.entries) + position
        record = source.trial(job.uid, index) if index in finished and index not in hidden else None
        if record is not None:
            yield record


def _runs(source: ResultSource, job: JobInfo, entry: str) -> None:
    pages = -(-job.planned(entry) // _RUNS)
    page, bound = links.page_number(pages)
    objectives = source.objectives(job.board)
    columns = [
        markup.Column("Run"),
        markup.Column("State"),
        *(markup.Column(objective.name, numeric=True, hint=objective.key.label) for objective in objectives),
        markup.Column("Run time", numeric=True, minor=True),
        markup.Column("Finished", minor=True),
    ]
    trials, running, hidden = source.trials(job.uid), source.progress(job.uid), source.hidden(job.uid)
    position = job.entries.index(entry)
    rows = []
    for repeat in range((page - 1) * _RUNS, min(page * _RUNS, job.planned(entry))):
        index = repeat * len(job.entries) + position
        summary = trials.get(index)
        record = source.trial(job.uid, index) if summary is not None else None
        if summary is None or record is None:
            words = (
                markup.Cell(running[index].phase, tone="busy")
                if index in running
                else markup.Cell("not yet", tone="quiet")
            )
            href = links.run(job.uid, index) if index in running else None
            blank = [markup.Cell("")] * (len(objectives) + 2)
            rows.append([markup.Cell(f"repeat {repeat + 1}", href), words, *blank])
            continue
        metrics = record.result.metrics
        rows.append(
            [
                markup.Cell(f"seed {summary.seed}", links.run(job.uid, index)),
                markup.Cell("hidden", tone="busy", hint=hidden[index].note) if index in hidden else outcome(summary),
                *(
                    markup.Cell(quantity(o.key.metric.unit, metrics[str(o.key)]) if str(o.key) in metrics else "")
                    for o in objectives
                ),
                markup.Cell(duration(summary.run_seconds)),
                markup.moment(record.result.finished_at, now(), zone()),
            ]
        )
    st.html(markup.table(columns, rows, f"Runs of {entry}"))
    if pages > 1:
        st.pagination(pages, **bound)


def outcome(trial: TrialSummary) -> markup.Cell:
    """How a trial ended."""
    if trial.outcome == "Succeeded":
        return markup.Cell("succeeded", tone="good")
    return markup.Cell(trial.reason or "failed", tone="bad")

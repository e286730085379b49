"""Everything that a board knows of one entry: where it stands, its parameters, its jobs, its curves and its time."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from velodrome.board.details import EntryDetails, times
from velodrome.board.naming import told_apart
from velodrome.board.parameters import parameters_of
from velodrome.ranking.places import RankedRow, UnrankedRow, failed_text
from velodrome.results.records import JobInfo
from velodrome.spec.wording import close_match
from velodrome.text import counted, line
from velodrome.units import column_scale, duration
from velodrome_leaderboard import links, markup
from velodrome_leaderboard.data import ResultSource
from velodrome_leaderboard.faults import part_of_page
from velodrome_leaderboard.viewer import now, zone
from velodrome_leaderboard.views import confusion, live
from velodrome_leaderboard.views.compare import curves, setting_words

_JOBS = 10


def render(source: ResultSource) -> None:
    """Shows the page of the board and the entry that the URL names."""
    board, name = st.query_params.get("board", ""), st.query_params.get("name", "")
    jobs = source.entry_jobs(board, name)
    steps = [("Leaderboards", links.HOME), (board, links.board(board))]
    live.watch(source, source.markers([board]), lambda: source.version(board), source.version(board))
    if not jobs:
        st.html(markup.heading(name or "Which entry?", steps))
        close = close_match(name, source.entry_names(board))
        hint: list[markup.Part] = []
        if close is not None:
            hint = ["Did you mean ", markup.Cell(close, links.entry(board, close)), "?"]
        st.html(markup.alert("There is no such entry.", [f'No job of the board "{board}" has it. ', *hint]))
        return
    st.set_page_config(page_title=line(f"{name} · {board} · Velodrome"))
    newest = jobs[0]
    facts: list[markup.Part] = [
        counted(len(jobs), "job"),
        markup.Cell("run again", links.again(newest.uid, name)),
    ]
    st.html(markup.heading(name, steps, facts))
    with part_of_page():
        _standing(source, board, name)
    details = source.details(newest, name)
    with part_of_page():
        curves([details])
    left, right = st.columns(2, gap="large")
    with left, part_of_page():
        st.header("Parameters", anchor=False)
        settings = parameters_of(newest).get(name, {})
        st.html(markup.facts((one, setting_words(value)) for one, value in settings.items()))
    with right, part_of_page():
        _times(details)
        _jobs(source, name, jobs)
    with part_of_page():
        confusion.show(details.confusion)


def _standing(source: ResultSource, board: str, name: str) -> None:
    columns = [
        markup.Column("Objective"),
        markup.Column("Rank", numeric=True, short=True),
        markup.Column("Mean", numeric=True),
        markup.Column("n", numeric=True),
        markup.Column("Of", hint="How many entries are ranked"),
        markup.Column("Past"),
    ]
    cells = []
    for objective in source.objectives(board):
        ranking = source.objective(board, objective).ranking
        rows: list[RankedRow | UnrankedRow] = [*ranking.ranked, *ranking.unranked]
        row = next((one for one in rows if one.entry == name), None)
        if row is None:
            continue
        where = markup.Cell(objective.name, links.board(board, objective=objective.name))
        past = markup.Cell("history", links.history(board, name, objective.name), tone="quiet")
        if isinstance(row, RankedRow):
            mean = column_scale(ranking.unit, [row.interval]).interval(row.interval)
            numbers = (markup.Cell(row.place), markup.Cell(mean), markup.Cell(str(row.interval.n)))
        else:
            numbers = (markup.Cell("–"), markup.Cell(f"not ranked: {row.reason}"), markup.Cell(str(len(row.samples))))
        cells.append([where, *numbers, markup.Cell(counted(len(ranking.ranked), "entry", "entries")), past])
    if cells:
        st.html(markup.table(columns, cells, f"Where {name} stands"))


def _jobs(source: ResultSource, name: str, jobs: Sequence[JobInfo]) -> None:
    st.header("Jobs", anchor=False)
    pages = -(-len(jobs) // _JOBS)
    page, bound = links.page_number(pages, "jobs")
    shown = jobs[(page - 1) * _JOBS : page * _JOBS]
    apart = told_apart(shown, zone())
    columns = [markup.Column("Job"), markup.Column("Trials"), markup.Column("Registered")]
    cells = []
    for job in shown:
        state = source.entries(job.uid).get(name)
        words = markup.Cell("")
        if state is not None:
            done = f"{state.succeeded} of {state.planned} succeeded"
            words = markup.Cell(failed_text(state) if state.failed else done, tone="bad" if state.failed else "")
        where = markup.Cell(job.name, links.job(job.uid, name), detail=apart[job.uid])
        cells.append([where, words, markup.moment(job.created_at, now(), zone())])
    st.html(markup.table(columns, cells, f"Jobs of {name}"))
    if pages > 1:
        st.pagination(pages, **bound)


def _times(details: EntryDetails) -> None:
    st.header("Where its time goes", anchor=False)
    found = times(details.records)
    if not found:
        st.html(markup.note("No trial has reported its times yet."))
        return
    whole = sum(one.seconds for one in found) or 1.0
    pairs = [(one.what, f"{duration(one.seconds)}, {100 * one.seconds / whole:.0f} %") for one in found]
    st.html(markup.facts(pairs))
    st.html(markup.note(f"Means over {counted(len(details.records), 'trial')} of job {details.job.name}."))

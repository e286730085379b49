"""One board: a ranking for each objective, the trade-offs between them, and the jobs of the board."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from velodrome.board.naming import told_apart
from velodrome.results.records import JobInfo
from velodrome.spec.wording import close_match
from velodrome.store import Board, Counts
from velodrome.text import line
from velodrome_leaderboard import links, markup
from velodrome_leaderboard.data import ResultSource
from velodrome_leaderboard.faults import part_of_page
from velodrome_leaderboard.viewer import now, zone
from velodrome_leaderboard.views import administration, live
from velodrome_leaderboard.views.boards import board_facts
from velodrome_leaderboard.views.noise import noise_tab
from velodrome_leaderboard.views.objective import objective_tab
from velodrome_leaderboard.views.samples import samples_tab
from velodrome_leaderboard.views.trade_offs import trade_off_tab

_JOBS = 10
# No objective can have these names, because their names are lower case.
_TRADE_OFF = "Trade-offs"
_NOISE = "Noise floor"
_SAMPLES = "Samples"


def render(source: ResultSource) -> None:
    """Shows the page of the board that the URL names."""
    name = st.query_params.get("name", "")
    boards = {board.name: board for board in source.boards()}
    board = boards.get(name)
    if board is None:
        _unknown(name, list(boards))
        there = source.markers([name])
        live.watch(source, there, lambda: any(other.name == name for other in source.boards()), seen=False)
        return
    st.set_page_config(page_title=f"{line(name)} · Velodrome")
    st.html(markup.heading(name, [("Leaderboards", links.HOME)], board_facts(board)))
    live.watch(source, source.markers([name]), lambda: _seen(source, name), _seen(source, name))
    with part_of_page():
        live.progress(source, source.jobs(name, _JOBS))
    _objectives(source, board)
    st.header("Jobs", anchor=False)
    with part_of_page():
        _jobs(source, board)
    with part_of_page():
        administration.log(source, name)


def _seen(source: ResultSource, name: str) -> object:
    """A value that changes whenever the board, its results or its marks change."""
    return next((board for board in source.boards() if board.name == name), None), source.version(name)


def _unknown(name: str, known: Sequence[str]) -> None:
    st.html(markup.heading(name or "Which board?", [("Leaderboards", links.HOME)]))
    close = close_match(name, known)
    hint: list[markup.Part] = [] if close is None else [" Did you mean ", markup.Cell(close, links.board(close)), "?"]
    text = f'No job has reported to a board called "{name}".' if name else "The address names no board."
    st.html(markup.alert("There is no such board.", [text, *hint]))


def _objectives(source: ResultSource, board: Board) -> None:
    objectives = {objective.name: objective for objective in source.objectives(board.name)}
    if not objectives:
        st.text("The jobs of this board name no objective that this version of Velodrome knows.")
        return
    scored = source.paired_entries(board.name)
    samples = [_SAMPLES] if len(scored) > 1 else []
    names = [*objectives, *([_TRADE_OFF] if len(objectives) > 1 else []), *samples, _NOISE]
    _, bound = links.choice("objective", names, names[0], markup.plain, ("page", "unranked", "lost"))
    for name, tab in zip(names, st.tabs([markup.plain(name) for name in names], **bound), strict=True):
        if tab.open:
            with tab, part_of_page():
                if name in objectives:
                    objective_tab(source, board, objectives[name])
                elif name == _NOISE:
                    noise_tab(source, board)
                elif name == _SAMPLES:
                    samples_tab(source, board, scored)
                else:
                    trade_off_tab(source, board, list(objectives.values()))


def _jobs(source: ResultSource, board: Board) -> None:
    pages = -(-board.jobs // _JOBS)
    page, bound = links.page_number(pages, "jobs")
    columns = [
        markup.Column("Job"),
        markup.Column("Entries", numeric=True),
        markup.Column("Trials", numeric=True),
        markup.Column("State"),
        markup.Column("Registered", minor=True),
    ]
    shown = source.jobs(board.name, _JOBS, (page - 1) * _JOBS)
    apart = told_apart(shown, zone())
    rows = [
        [
            markup.Cell(job.name, links.job(job.uid), hint=job.uid, detail=apart[job.uid]),
            markup.Cell(f"{len(job.entries):,}"),
            markup.Cell(f"{job.asked:,}"),
            job_state(job, source.outcomes(job)),
            markup.moment(job.created_at, now(), zone()),
        ]
        for job in shown
    ]
    st.html(markup.table(columns, rows, f"Jobs of {board.name}"))
    if pages > 1:
        st.pagination(pages, **bound)


def job_state(job: JobInfo, counts: Counts) -> markup.Cell:
    """The state of a job, in words."""
    done = counts.succeeded + counts.failed
    failed = f", {counts.failed} failed" if counts.failed else ""
    if not job.is_over(done):
        more = "" if job.rounds is None else ", until decided"
        return markup.Cell(f"{done} of {job.asked} done{more}{failed}", tone="busy")
    if counts.failed:
        return markup.Cell(f"{counts.failed} of {job.asked} failed", tone="bad")
    return markup.Cell("all succeeded", tone="good")

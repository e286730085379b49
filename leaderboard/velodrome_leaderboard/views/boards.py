"""All boards: their jobs, and which entries lead."""

from __future__ import annotations

import streamlit as st

from velodrome.board.cohorts import chosen_cohort
from velodrome.board.page import ObjectivePage
from velodrome.results.objectives import BoardObjective
from velodrome.store import Board
from velodrome.text import counted, listed
from velodrome.units import column_scale
from velodrome_leaderboard import links, markup
from velodrome_leaderboard.data import ResultSource
from velodrome_leaderboard.viewer import now, zone
from velodrome_leaderboard.views import live

_PAGE = 12
_SHOWN_OBJECTIVES = 4

# It would take too long to rank more entries for an overview. Then only the board's own page says who leads.
_RANKED_AT_MOST = 250


def render(source: ResultSource) -> None:
    """Shows the page of all boards."""
    boards = source.boards()
    live.watch(source, source.boards, boards)
    if not boards:
        _empty()
        return
    st.html(markup.heading("Leaderboards"))
    pages = -(-len(boards) // _PAGE)
    page, bound = links.page_number(pages)
    shown = boards[(page - 1) * _PAGE : page * _PAGE]
    st.html(markup.cards([_card(source, board) for board in shown]))
    if pages > 1:
        st.pagination(pages, **bound)


def _empty() -> None:
    st.html(
        markup.heading("Leaderboards")
        + markup.lines(
            ("lead", ["No results yet. Race some models, and they appear here while they train."]),
            (
                "note",
                ["Small networks on handwritten digits, five seeds each, about two minutes, from the repository:"],
            ),
        )
    )
    st.code("velodrome run deploy/examples/digits.yaml", language=None)
    st.html(markup.note("This page shows results as soon as there are any."))


def _card(source: ResultSource, board: Board) -> markup.Card:
    objectives = source.objectives(board.name)
    leaders = {objective.name: _leader(source, board, objective) for objective in objectives[:_SHOWN_OBJECTIVES]}
    if len(objectives) > _SHOWN_OBJECTIVES:
        leaders[f"and {len(objectives) - _SHOWN_OBJECTIVES} more"] = markup.Cell("")
    running = live.unfinished(source, source.jobs(board.name, 1))
    states = [markup.Cell(job.words, links.job(job.job.uid), tone="busy") for job in running]
    return markup.Card(board.name, links.board(board.name), [*board_facts(board), *states], leaders)


def board_facts(board: Board) -> list[markup.Part]:
    """How large a board is, and when it last changed."""
    return [
        counted(board.entries, "entry", "entries"),
        counted(board.jobs, "job", "jobs"),
        markup.moment(board.last_at, now(), zone()),
    ]


def _leader(source: ResultSource, board: Board, objective: BoardObjective) -> markup.Cell:
    key = str(objective.key)
    href = links.board(board.name, objective=objective.name)
    cohort = chosen_cohort(source.cohorts(board.name, key))
    if cohort is None:
        return markup.Cell("no result yet", tone="quiet")
    if cohort.entries > _RANKED_AT_MOST:
        return markup.Cell(counted(cohort.entries, "entry", "entries"), href)
    return _leader_of(source.page(board.name, objective), href)


def _leader_of(page: ObjectivePage, href: str) -> markup.Cell:
    """Who leads an objective: all entries that may have rank 1, and the best of their means."""
    if not page.ranked:
        alone = any(row.why == "OneTrial" for row in page.unranked)
        return markup.Cell("one trial is no ranking" if alone else "nothing ranked yet", href, tone="quiet")
    best, leaders = page.ranked[0].interval, page.head.leaders
    shared = "" if len(leaders) == 1 else "best mean "
    text = listed(leaders, most=2)
    unit = page.head.objective.key.metric.unit
    return markup.Cell(text, href, detail=f"{shared}{column_scale(unit, [best]).interval(best)}")

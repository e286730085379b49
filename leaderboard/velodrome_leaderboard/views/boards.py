"""All boards: their jobs, and which entries lead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from velodrome.board.cohorts import chosen_cohort
from velodrome.board.page import ObjectivePage
from velodrome.results.objectives import BoardObjective
from velodrome.results.records import JobInfo
from velodrome.spec.wording import close_match
from velodrome.store import Board
from velodrome.store.markers import of_boards
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


ORDERS: Mapping[str, str] = {
    "newest": "Newest result first",
    "name": "By name",
    "entries": "Most entries first",
    "jobs": "Most jobs first",
}
_RESETS = ("page",)


def render(source: ResultSource) -> None:
    """Shows the page of all boards, or of those that the URL asks for, in its order."""
    boards = source.boards()
    wanted, bound_search = links.search("find", _RESETS, older="filter")
    order, bound_order = links.choice("order", list(ORDERS), "newest", ORDERS.__getitem__, _RESETS)
    found = arranged(boards, wanted, order)
    pages = max(1, -(-len(found) // _PAGE))
    page, bound = links.page_number(pages)
    shown = found[(page - 1) * _PAGE : page * _PAGE]
    names = [board.name for board in shown]
    markers = (of_boards(), *source.markers(names))
    live.watch(source, markers, lambda: _seen(source, names), _seen(source, names))
    if not boards:
        _empty()
        return
    st.html(markup.heading("Leaderboards", (), [counted(len(boards), "board")]))
    if len(boards) > 1:
        with st.container(horizontal=True, vertical_alignment="bottom"):
            st.text_input("Find boards", placeholder="a part of the name", width=320, **bound_search)
            st.selectbox("Order", list(ORDERS.values()), width=240, **bound_order)
    if not found:
        _no_hit(wanted, boards)
        return
    if len(found) < len(boards):
        st.html(markup.note(f"{len(found):,} of {counted(len(boards), 'board')}."))
    st.html(markup.cards([_card(source, board) for board in shown]))
    if pages > 1:
        st.pagination(pages, **bound)


def arranged(boards: Sequence[Board], wanted: str, order: str) -> list[Board]:
    """The boards whose names hold each of the wanted words, in this order. `boards` come newest first."""
    words = wanted.casefold().split()
    found = [board for board in boards if all(word in board.name.casefold() for word in words)]
    match order:
        case "name":
            return sorted(found, key=lambda board: board.name)
        case "entries":
            return sorted(found, key=lambda board: -board.entries)
        case "jobs":
            return sorted(found, key=lambda board: -board.jobs)
        case _:
            return found


def _no_hit(wanted: str, boards: Sequence[Board]) -> None:
    close = close_match(wanted, [board.name for board in boards])
    hint: list[markup.Part] = [] if close is None else ["Did you mean ", markup.Cell(close, links.board(close)), "?"]
    st.html(markup.alert(f'No board has "{wanted}" in its name.', hint, "busy"))


def _seen(source: ResultSource, names: Sequence[str]) -> object:
    """A value that changes whenever a board comes or goes, or one of these changes."""
    return source.boards(), [source.version(name) for name in names]


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
    newest = source.jobs(board.name, 1)
    states = [markup.Cell(job.words, links.job(job.job.uid), tone="busy") for job in live.unfinished(source, newest)]
    worse = [_regressions(source, board, job) for job in newest]
    facts: list[markup.Part] = [*board_facts(board), *states, *(one for one in worse if one is not None)]
    return markup.Card(board.name, links.board(board.name), facts, leaders)


def _regressions(source: ResultSource, board: Board, job: JobInfo) -> markup.Cell | None:
    """How many values of the newest job got worse, if nobody accepted that: a link to the first one's history."""
    if len(job.entries) > _RANKED_AT_MOST:
        return None
    names = {str(objective.key): objective.name for objective in source.objectives(board.name)}
    found = [
        one
        for one in source.verdicts(job.uid)
        if one.verdict == "Regressed" and not one.acknowledged and one.metric_key in names
    ]
    if not found:
        return None
    first = found[0]
    where = links.history(board.name, first.entry, names[first.metric_key])
    said = "; ".join(dict.fromkeys(f"{one.entry} by {names[one.metric_key]}" for one in found[:5]))
    return markup.Cell(counted(len(found), "open regression"), where, hint=said, tone="bad")


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

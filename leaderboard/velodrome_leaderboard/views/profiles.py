"""One model over several boards: the interquartile mean of its scores, and how it stands to others."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st
from pydantic import ValidationError

from velodrome.board.declaration import Declaration, DeclaredBoard
from velodrome.board.profile import Profile
from velodrome.stats.profile import Bounded
from velodrome.text import line
from velodrome_leaderboard import links, markup, profile_chart
from velodrome_leaderboard.data import ResultSource
from velodrome_leaderboard.viewer import palette

_MOST_BOARDS = 100


def render(source: ResultSource) -> None:
    """Shows the page of the entry, boards, objective and reference that the URL names."""
    known = [board.name for board in source.boards()]
    model, bound_model = links.search("entry", ())
    st.html(markup.heading(f"{model or 'Which entry?'} · over several boards", [("Leaderboards", links.HOME)]))
    chosen, bound_boards = links.several("boards", known, known[:1])
    wanted = list(dict.fromkeys(st.query_params.get_all("boards")))[:_MOST_BOARDS] or chosen
    objectives = list(dict.fromkeys(one.name for name in chosen for one in source.objectives(name)))
    if not objectives:
        st.html(markup.note("No board has an objective yet."))
        return
    st.multiselect("Boards that count", known, format_func=line, **bound_boards)
    objective, bound_objective = links.choice("objective", objectives, objectives[0])
    reference, bound_reference = links.search("reference", ())
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.text_input("Entry or model", width=260, **bound_model)
        st.selectbox("Objective", objectives, format_func=line, width=260, **bound_objective)
        hint = "Scores are relative to this entry's mean on the same board. Empty: the value itself is the score."
        st.text_input("Relative to", placeholder="an entry", help=hint, width=260, **bound_reference)
    if not model:
        st.html(markup.note("Name an entry, or a model that one entry of each board races."))
        return
    try:
        boards = tuple(DeclaredBoard(name=name) for name in wanted)
        declaration = Declaration(objective=objective, boards=boards, reference=reference or None)
        _show(source.profile(model, declaration))
    except ValidationError as error:
        st.html(markup.alert("This is no profile.", [str(one["msg"]) for one in error.errors()], "busy"))
    except ValueError as error:
        st.html(markup.alert("These values are no scores yet.", [f"{error}."], "busy"))


def _show(found: Profile) -> None:
    if not found.complete:
        st.html(markup.alert("The profile is incomplete.", [" ".join(found.gaps)], "busy"))
    st.html(markup.lines(*(("meta", [sentence]) for sentence in found.findings)))
    if not found.entries:
        return
    st.html(_table(found))
    first, *others = found.entries
    words = f"Share of runs above each score, of {first.entry} and {len(others)} others; the table has their means"
    st.altair_chart(profile_chart.shares(found, palette()), width="stretch", alt=line(words))
    held = [f"{name}: {conditions}. " for name, conditions in found.boards.items()]
    st.html(markup.note(_EXPLANATION, *held))


_EXPLANATION = (
    "The interquartile mean is the mean of the middle half of all runs. Its 95 % interval comes from drawing the runs "
    "of each board again and again. The chart shows, for each score, the share of runs above it: a line further to the "
    "right is better. The shaded band is the 95 % interval of the entry that the page is about. Measured under: "
)


def _table(found: Profile) -> str:
    columns = [
        markup.Column("Entry"),
        markup.Column("Interquartile mean", numeric=True),
        markup.Column("95 %", numeric=True),
        markup.Column("Runs", numeric=True, hint="On each board, in their order"),
        markup.Column(f"{found.model} is better with probability", numeric=True),
        markup.Column("95 %", numeric=True, minor=True),
    ]
    rows = [
        [
            markup.Cell(one.entry),
            *_cells(one.mean),
            markup.Cell(" + ".join(map(str, one.runs)), tone="quiet"),
            *([markup.Cell(""), markup.Cell("")] if one.improvement is None else _cells(one.improvement)),
        ]
        for one in found.entries
    ]
    return markup.table(columns, rows, f"Profile of {found.model}")


def _cells(one: Bounded) -> Sequence[markup.Cell]:
    return markup.Cell(f"{one.value:.4g}"), markup.Cell(f"{one.low:.4g} to {one.high:.4g}", tone="quiet")

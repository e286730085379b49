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
from velodrome_leaderboard.views import live
from velodrome_leaderboard.views.drawing import draw

_MOST_BOARDS = 100


def render(source: ResultSource) -> None:
    """Shows the page of the entry, boards, objective and reference that the URL names."""
    known = [board.name for board in source.boards()]
    chosen, bound_boards = links.several("boards", known, known[:1])
    wanted = list(dict.fromkeys(st.query_params.get_all("boards")))[:_MOST_BOARDS] or chosen
    objectives = {one.name: one for name in chosen for one in source.objectives(name)}
    objective, bound_objective = links.choice("objective", list(objectives), next(iter(objectives), ""))
    entries = _ranked(source, chosen, objective)
    model, bound_model = _entry("entry", entries, entries[0] if entries else "")
    reference, bound_reference = _entry("reference", ["", *entries], "")
    st.html(markup.heading(f"{model or 'Which entry?'} · over several boards", [("Leaderboards", links.HOME)]))
    live.watch(source, source.markers(wanted), lambda: _versions(source, wanted), _versions(source, wanted))
    if known:
        st.multiselect("Boards that count", known, format_func=line, **bound_boards)
    if not model:
        st.html(markup.note("Nothing is ranked on these boards yet."))
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.selectbox("Entry", _with(entries, model), format_func=line, width=260, **bound_model)
        st.selectbox("Objective", list(objectives) or [objective], format_func=line, width=260, **bound_objective)
        hint = "Scores are relative to this entry's mean on the same board."
        options = _with(["", *entries], reference)
        st.selectbox("Score", options, format_func=_score, help=hint, width=260, **bound_reference)
    try:
        boards = tuple(DeclaredBoard(name=name) for name in wanted)
        declaration = Declaration(objective=objective, boards=boards, reference=reference or None)
        _show(source.profile(model, declaration))
    except ValidationError as error:
        st.html(markup.alert("This is no profile.", [str(one["msg"]) for one in error.errors()], "busy"))
    except ValueError as error:
        st.html(markup.alert("These values are no scores yet.", [f"{error}."], "busy"))


def _versions(source: ResultSource, boards: Sequence[str]) -> tuple[str, ...]:
    """A value that changes whenever one of the boards changes."""
    return tuple(map(source.version, boards))


def _score(reference: str) -> str:
    return f"relative to {line(reference)}" if reference else "the value itself"


def _ranked(source: ResultSource, boards: Sequence[str], objective: str) -> list[str]:
    """The entries that are ranked for the objective on any of the boards, by name."""
    found = ((name, one) for name in boards for one in source.objectives(name) if one.name == objective)
    return sorted({entry for name, one in found for entry in source.page(name, one).head.names})


def _entry(name: str, entries: Sequence[str], default: str) -> tuple[str, links.Bound]:
    """The entry that the URL names, whether the boards have it or not, and the arguments of its widget."""
    return links.choice(name, _with(entries, st.query_params.get(name, default)), default)


def _with(entries: Sequence[str], one: str) -> list[str]:
    return list(dict.fromkeys([*entries, one]))


def _show(found: Profile) -> None:
    if not found.complete:
        st.html(markup.alert("The profile is incomplete.", [" ".join(found.gaps)], "busy"))
    st.html(markup.lines(*(("meta", [sentence]) for sentence in found.findings)))
    if not found.entries:
        return
    st.html(_table(found))
    first, *others = found.entries
    words = f"Share of runs above each score, of {first.entry} and {len(others)} others; the table has their means"
    draw(profile_chart.shares(found, palette()), words)
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

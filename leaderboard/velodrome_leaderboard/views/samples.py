"""Two entries of a board, compared sample by sample: three answers, classes, and the samples that one of them loses."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from velodrome.board.pairing import NotPaired, PairedEntries, missing_words
from velodrome.ranking.pairs import Pairing, SampleRow, lost_words, of_seeds, question, score, verdict
from velodrome.store import Board
from velodrome.text import counted, line
from velodrome_leaderboard import charts, links, markup
from velodrome_leaderboard.data import ResultSource
from velodrome_leaderboard.viewer import palette
from velodrome_leaderboard.views.drawing import draw

_PAGE = 25
# With more classes than that, the chart has those in which both differ most.
_CLASSES = 40


def samples_tab(source: ResultSource, board: Board, entries: Sequence[str]) -> None:
    """Shows the tab that compares two of these entries, which the URL names."""
    a, bound_a = links.choice("a", entries, entries[0], resets=("lost",))
    b, bound_b = links.choice("b", entries, entries[1], resets=("lost",))
    with st.container(horizontal=True):
        st.selectbox("What does this entry have", entries, format_func=line, width=320, **bound_a)
        st.selectbox("that this one loses", entries, format_func=line, width=320, **bound_b)
    if a == b:
        st.html(markup.note("Choose two entries."))
        return
    try:
        found = source.pairing(board.name, a, b)
    except NotPaired as error:
        st.html(markup.alert("They can't be compared sample by sample.", [str(error)], "busy"))
        return
    _answers(found)
    _lost(found.pairing)
    _classes(found.pairing)


def _answers(found: PairedEntries) -> None:
    pairing, answers = found.pairing, found.pairing.answers
    groups = "" if answers.groups is None else f" in {counted(answers.groups, 'group')}"
    facts = [
        f"{counted(answers.samples, 'test sample')}{groups}",
        f"{pairing.a} {score(pairing, pairing.mean_a)}, {counted(len(answers.seeds_a), 'seed')}",
        f"{pairing.b} {score(pairing, pairing.mean_b)}, {counted(len(answers.seeds_b), 'seed')}",
    ]
    missing = [words for words in map(missing_words, (found.a, found.b)) if words]
    st.html(markup.lines(("lead", [lost_words(pairing)]), ("meta", facts), *(("note", [words]) for words in missing)))
    columns = [markup.Column("Question"), markup.Column("Answer")]
    rows = [
        [markup.Cell(question(pairing, answer.question)), markup.Cell(verdict(pairing, answer))]
        for answer in (answers.weights, answers.recipe, answers.test_set)
    ]
    st.html(markup.table(columns, rows, "Three questions"))
    st.html(markup.note(_EXPLANATION))


_EXPLANATION = (
    "The questions differ in what another experiment would draw again: the test samples, the seeds, or both. A ranking "
    "answers the last one. A difference counts as shown where p is at most 0.05, for this pair alone."
)


def _lost(found: Pairing) -> None:
    if not found.lost:
        return
    st.header(f"What {markup.plain(found.b)} loses", anchor=False)
    pages = -(-len(found.lost) // _PAGE)
    page, bound = links.page_number(pages, "lost")
    st.html(_table(found, found.lost[(page - 1) * _PAGE : page * _PAGE]))
    if pages > 1:
        st.pagination(pages, **bound)


def _table(found: Pairing, rows: Sequence[SampleRow]) -> str:
    seeds_a, seeds_b = len(found.answers.seeds_a), len(found.answers.seeds_b)
    of_classes = bool(found.classes)
    columns = [
        markup.Column("Sample", numeric=True, hint="Its place in the test split, from 0"),
        *([markup.Column("Class")] if of_classes else []),
        markup.Column(found.a, numeric=True, hint="Trials that were right" if found.percent else ""),
        markup.Column(found.b, numeric=True, hint="Trials that were right" if found.percent else ""),
    ]
    cells = [
        [
            markup.Cell(f"{row.sample}"),
            *([markup.Cell(row.label)] if of_classes else []),
            markup.Cell(of_seeds(found, row.a, seeds_a)),
            markup.Cell(of_seeds(found, row.b, seeds_b)),
        ]
        for row in rows
    ]
    return markup.table(columns, cells, "Samples that are lost")


def _classes(found: Pairing) -> None:
    rows = sorted(found.classes, key=lambda row: -max(row.a_better, row.b_better))[:_CLASSES]
    if not rows:
        return
    st.header("By class", anchor=False)
    kept = [row for row in found.classes if row in rows]
    chart = charts.wins(kept, found.a, found.b, palette())
    draw(chart, f"Samples of each class on which {found.a} or {found.b} is better")

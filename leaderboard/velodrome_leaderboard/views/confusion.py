"""The part of a page that shows which classes an entry takes for which."""

from __future__ import annotations

import streamlit as st

from velodrome.results.confusion import Confusion
from velodrome.text import counted
from velodrome_leaderboard import charts, markup
from velodrome_leaderboard.viewer import palette
from velodrome_leaderboard.views.drawing import draw

# With more classes than that, a cell is too small to point at, so a table has the pairs that matter.
_FEW_CLASSES = 30
_PAIRS = 20


def show(found: Confusion | None) -> None:
    """Shows the matrix as a map, and the most confused pairs of many classes. Shows nothing if there is none."""
    if found is None:
        return
    st.header("Confusion", anchor=False)
    samples = sum(map(sum, found.counts))
    over = f" over {counted(found.trials, 'seed')}" if found.trials > 1 else ""
    st.html(
        markup.note(
            f"{counted(samples, 'test sample')}{over}: each row is a right class, each column a predicted one, "
            "and the colour is the share of the row."
        )
    )
    if len(found.classes) > _FEW_CLASSES:
        _table(found)
    chart = charts.confusion(found, palette())
    draw(chart, "Test samples by right and by predicted class", "content")


def _table(found: Confusion) -> None:
    columns = [
        markup.Column("Right class"),
        markup.Column("Predicted class"),
        markup.Column("Samples", numeric=True),
        markup.Column("Of the right class", numeric=True),
    ]
    rows = [
        [
            markup.Cell(pair.right),
            markup.Cell(pair.predicted),
            markup.Cell(f"{pair.count:,}"),
            markup.Cell(f"{100 * pair.share:.1f} %"),
        ]
        for pair in found.most_confused(_PAIRS)
    ]
    if rows:
        st.html(markup.table(columns, rows, "Most confused classes"))

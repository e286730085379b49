"""The noise floor of a board: by how much results differ although nothing changed, and which changes it can see."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from velodrome.board.noise import ObjectiveNoise
from velodrome.board.noise_words import called, estimate, sentences, visible
from velodrome.store import Board
from velodrome.text import line
from velodrome_leaderboard import links, markup, noise_chart
from velodrome_leaderboard.data import ResultSource
from velodrome_leaderboard.viewer import palette
from velodrome_leaderboard.views.drawing import draw


def noise_tab(source: ResultSource, board: Board) -> None:
    """Shows the tab of a board's noise floor: all objectives in a table, and the differences of the one in the URL."""
    found = {one.objective.name: one for one in source.noise(board.name)}
    if not found:
        return
    st.html(_table(board.name, list(found.values())))
    names = list(found)
    name, bound = links.choice("noise", names, names[0])
    if len(names) > 1:
        st.selectbox("Objective", names, format_func=line, width=360, **bound)
    noise = found[name]
    st.html(markup.lines(*(("meta", [sentence]) for sentence in sentences(noise))))
    if noise.in_job.pairs or noise.job_to_job.pairs:
        chart = noise_chart.differences(noise, name, palette())
        draw(chart, noise_chart.described(noise, name))
    st.html(markup.note(_EXPLANATION, f" Measured under: {noise.cohort}" if noise.cohort else ""))


_EXPLANATION = (
    "An A/A comparison compares an entry with itself: under two names in one job, or in two jobs under the same "
    "conditions with the same code. What differs is chance. The spread over seeds is that of one job, and the spread "
    "between jobs is what a node, a temperature or other load adds. The smallest visible change is found in 80 of 100 "
    "cases, by one comparison alone."
)


def _table(board: str, found: Sequence[ObjectiveNoise]) -> str:
    seeds = next((" and ".join(str(one.seeds) for one in noise.smallest) for noise in found if noise.smallest), "")
    unit = f"{seeds} seeds" if seeds else ""
    columns = [
        markup.Column("Objective"),
        markup.Column("Over seeds", hint="Standard deviation between the seeds of one job, with its 95 % interval"),
        markup.Column("Between jobs", hint="Standard deviation that jobs add to that, with its 95 % interval"),
        markup.Column("Called different", "in one job", minor=True, hint="A/A comparisons of two names of one entry"),
        markup.Column("Called different", "two jobs", minor=True, hint="A/A comparisons of two jobs of one entry"),
        markup.Column("Smallest seen in a job", unit, hint="Between two entries of one job, in 80 of 100 cases"),
        markup.Column("Smallest seen job to job", unit, hint="Between two jobs of one entry, in 80 of 100 cases"),
    ]
    rows = [
        [
            markup.Cell(noise.objective.name),
            markup.Cell(estimate(noise, noise.over_seeds)),
            markup.Cell(estimate(noise, noise.between_jobs)),
            markup.Cell(called(noise.in_job.tested.called)),
            markup.Cell(called(noise.job_to_job.tested.called)),
            markup.Cell(visible(noise, "in_job")),
            markup.Cell(visible(noise, "job_to_job")),
        ]
        for noise in found
    ]
    return markup.table(columns, rows, f"Noise floor of {board}")

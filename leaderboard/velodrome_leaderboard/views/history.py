"""One entry's metric over time: its level, what changed it, and from where on conditions were others."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from velodrome.comparability import cohort_labels
from velodrome.store import CohortSummary
from velodrome.timeline import Moment, Timeline
from velodrome.units import column_scale
from velodrome_leaderboard import links, markup, trend_chart
from velodrome_leaderboard.data import Source
from velodrome_leaderboard.viewer import now, palette, zone
from velodrome_leaderboard.views.trend import TREND_TONES, trend_words

_ROWS = 25


def render(source: Source) -> None:
    """The page of the board, entry and objective that the URL names."""
    board, entry = st.query_params.get("board", ""), st.query_params.get("entry", "")
    name = st.query_params.get("objective", "")
    objective = next((one for one in source.objectives(board) if one.name == name), None)
    steps = [("Leaderboards", links.HOME), (board, links.board(board, objective=name))]
    if objective is None:
        st.html(markup.heading("Which history?", steps[:1]))
        st.html(
            markup.alert("There is no such objective.", [f'No job of the board "{board}" has one called "{name}".'])
        )
        return
    st.set_page_config(page_title=f"{entry}, {name} · Velodrome")
    found = source.timeline(board, entry, str(objective.key))
    facts: list[markup.Part] = [
        markup.Cell(str(objective.key), tone="code"),
        f"{objective.key.metric.direction} is better",
    ]
    st.html(markup.heading(f"{entry} · {name} over time", steps, facts))
    if not found.moments:
        st.html(
            markup.alert(
                "There is nothing to show.", [f"No job of {board} has values of {entry}'s {name} yet."], "busy"
            )
        )
        return
    _newest(source, found, name)
    labels = _labels(source.cohorts(board, str(objective.key)), found)
    st.altair_chart(
        trend_chart.history(found, labels, name, palette()), width="stretch", alt=f"{entry}'s {name} by job"
    )
    st.html(markup.note(_EXPLANATION))
    st.html(_table(found, labels))


_EXPLANATION = (
    "A point is the mean of one job's trials, with its 95 % interval. A dashed line marks a job from which on the "
    "level of its conditions is another, found in the whole history; a triangle, a job that was worse than its "
    "baseline. Lines never join points that were measured under different conditions: those start a baseline of "
    "their own. An accepted change is a hollow triangle."
)


def _newest(source: Source, found: Timeline, name: str) -> None:
    newest = found.moments[-1].point
    for one in source.verdicts(newest.job_uid):
        if (one.entry, one.metric_key) == (newest.entry, str(found.key)):
            if one.verdict == "Regressed" and not one.acknowledged:
                st.html(markup.alert(f"{newest.entry} regressed by {name}.", [one.sentence]))
            else:
                st.html(markup.lines(("lead", [one.sentence])))


def _labels(known: Sequence[CohortSummary], found: Timeline) -> dict[str, str]:
    """A text for each cohort of the history: what tells it from the others."""
    labels = cohort_labels([cohort for cohort in known if cohort.cohort_id in found.cohorts])
    return {cohort_id: labels.get(cohort_id, cohort_id) for cohort_id in found.cohorts}


def _table(found: Timeline, labels: dict[str, str]) -> str:
    scale = column_scale(found.key.metric.unit, [moment.interval for moment in found.moments])
    columns = [
        markup.Column("Job"),
        markup.Column("Mean", scale.symbol, numeric=True),
        markup.Column("95 %", numeric=True, minor=True),
        markup.Column("n", numeric=True),
        markup.Column("Against its baseline"),
        markup.Column("Conditions", minor=True),
        markup.Column("When", minor=True, short=True),
    ]
    rows = [_row(found, moment, labels, scale.number(moment.interval.mean), scale.margin(moment.interval))
            for moment in reversed(found.moments[-_ROWS:])]  # fmt: skip
    return markup.table(columns, rows, "Jobs, newest first")


def _row(found: Timeline, moment: Moment, labels: dict[str, str], mean: str, margin: str) -> list[markup.Cell]:
    point = moment.point
    words = trend_words(moment.verdict, moment.reason, acknowledged=moment.acknowledged)
    change = found.changes.get(point.job_uid)
    level = ""
    if change is not None and change.relative is not None:
        level = f"a new level from here on: {100 * change.relative:+.2g} %"
    return [
        markup.Cell(point.job_name, links.job(point.job_uid, point.entry), hint=point.job_uid),
        markup.Cell(mean),
        markup.Cell(margin, tone="quiet"),
        markup.Cell(f"{len(point.values)} / {point.planned}"),
        markup.Cell(words, tone=TREND_TONES.get(words, "quiet"), detail=level),
        markup.Cell(labels[point.cohort_id], tone="quiet"),
        markup.moment(point.at, now(), zone()),
    ]

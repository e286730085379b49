"""One entry's metric over time: its level, what changed it, and where the conditions changed."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from velodrome.board.cohorts import cohort_labels
from velodrome.store import CohortSummary
from velodrome.text import line
from velodrome.trends.timeline import Moment, Timeline
from velodrome.units import column_scale
from velodrome_leaderboard import links, markup, trend_chart
from velodrome_leaderboard.data import ResultSource
from velodrome_leaderboard.viewer import now, palette, zone
from velodrome_leaderboard.views import administration, live
from velodrome_leaderboard.views.drawing import draw
from velodrome_leaderboard.views.trend import TREND_TONES, trend_words

_ROWS = 25


def render(source: ResultSource) -> None:
    """Shows the page of the board, entry and objective that the URL names."""
    board, entry = st.query_params.get("board", ""), st.query_params.get("entry", "")
    name = st.query_params.get("objective", "")
    objective = next((one for one in source.objectives(board) if one.name == name), None)
    steps = [("Leaderboards", links.HOME), (board, links.board(board, objective=name))]
    live.watch(source, source.markers([board]), lambda: source.version(board), source.version(board))
    if objective is None:
        st.html(markup.heading("Which history?", steps[:1]))
        st.html(
            markup.alert("There is no such objective.", [f'No job of the board "{board}" has one called "{name}".'])
        )
        return
    st.set_page_config(page_title=line(f"{entry}, {name} · Velodrome"))
    found = source.timeline(board, entry, str(objective.key))
    facts: list[markup.Part] = [
        markup.Cell(objective.key.label, tone="code", hint=str(objective.key)),
        f"{objective.key.metric.direction} is better",
        markup.Cell("profile over several boards", links.profile(entry, [board], name)),
    ]
    st.html(markup.heading(f"{entry} · {name} over time", steps, facts))
    if not found.moments:
        st.html(
            markup.alert(
                "There is nothing to show.", [f"No job of {board} has values of {entry}'s {name} yet."], "busy"
            )
        )
        return
    labels = _labels(source.cohorts(board, str(objective.key)), found)
    at = links.instant("at")
    if at is None:
        _verdict(source, found, found.moments[-1], name)
    else:
        _at(source, found, at, name, labels)
    draw(trend_chart.history(found, labels, name, palette()), f"{entry}'s {name} by job")
    st.html(markup.note(_EXPLANATION))
    administration.history(source, board, found, at)
    st.html(_table(found, labels))


_EXPLANATION = (
    "A point is the mean of one job's trials, with its 95 % interval. A dashed line marks a job from which on the "
    "level of its conditions is another, found in the whole history; a triangle, a job that was worse than the level "
    "of the good jobs before it; a ring, the newest of those. Lines never join points that were measured under "
    "different conditions: those start a baseline of their own. An accepted change is a hollow triangle."
)


def _verdict(source: ResultSource, found: Timeline, moment: Moment, name: str) -> None:
    """Shows the verdict on one job's values. It is an alert if they regressed and nobody accepted that."""
    point = moment.point
    for one in source.verdicts(point.job_uid):
        if (one.entry, one.metric_key) == (point.entry, str(found.key)):
            if one.verdict == "Regressed" and not one.acknowledged:
                said = [one.sentence, *([one.together] if one.together else [])]
                st.html(markup.alert(f"{point.entry} regressed by {name}.", said))
            else:
                st.html(markup.lines(("lead", [one.sentence])))


def _at(source: ResultSource, found: Timeline, at: int, name: str, labels: dict[str, str]) -> None:
    """Shows the comparison of the job that was created at `at`, with links to both runs. Alerts link to it."""
    moment = min(found.moments, key=lambda one: abs(one.point.at.timestamp() - at))
    if abs(moment.point.at.timestamp() - at) > 1:
        st.html(markup.alert("That job is not here any more.", ["No job in this history is of that time."], "busy"))
        _verdict(source, found, found.moments[-1], name)
        return
    _verdict(source, found, moment, name)
    baseline = next((one for one in found.moments if one.point.job_uid == moment.baseline_uid), None)
    runs = [("This run", moment), *([("The newest of its level", baseline)] if baseline is not None else [])]
    scale = column_scale(found.key.metric.unit, [one.interval for _, one in runs])
    columns = [
        markup.Column("Run"),
        markup.Column("Job"),
        markup.Column("Mean", scale.symbol, numeric=True),
        markup.Column("95 %", numeric=True),
        markup.Column("n", numeric=True),
        markup.Column("When"),
    ]
    rows = [
        [
            markup.Cell(role),
            markup.Cell(one.point.job_name, links.job(one.point.job_uid, one.point.entry), hint=one.point.job_uid),
            markup.Cell(scale.number(one.interval.mean)),
            markup.Cell(scale.margin(one.interval), tone="quiet"),
            markup.Cell(f"{len(one.point.values)} / {one.point.planned}"),
            markup.moment(one.point.at, now(), zone()),
        ]
        for role, one in runs
    ]
    st.html(markup.table(columns, rows, "The runs compared"))
    st.html(markup.note(f"Measured under: {labels[moment.point.cohort_id]}."))
    if moment is not found.moments[-1]:
        newer = markup.Cell("the newest one", links.history(st.query_params.get("board", ""), moment.point.entry, name))
        st.html(markup.note("There are newer jobs: see ", newer, "."))


def _labels(known: Sequence[CohortSummary], found: Timeline) -> dict[str, str]:
    """A text for each cohort of the history: how it differs from the others."""
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
        level = f"a new level from here on: {100 * change.relative:+.2g} %" + (
            " of the range" if change.span is not None else ""
        )
    code = "new code from here on" if point.job_uid in found.new_code else ""
    return [
        markup.Cell(point.job_name, links.job(point.job_uid, point.entry), hint=point.job_uid, detail=code),
        markup.Cell(mean),
        markup.Cell(margin, tone="quiet"),
        markup.Cell(f"{len(point.values)} / {point.planned}"),
        markup.Cell(words, tone=TREND_TONES.get(words, "quiet"), detail=level),
        markup.Cell(labels[point.cohort_id], tone="quiet"),
        markup.moment(point.at, now(), zone()),
    ]

"""Makes the chart of a history. Pure: a timeline goes in, an Altair specification comes out."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC

import altair as alt
import pandas as pd

from velodrome.text import line
from velodrome.trends.timeline import Timeline
from velodrome.units import clock_time, column_scale
from velodrome_leaderboard.charts import Chart, Palette
from velodrome_leaderboard.views.trend import trend_words


def history(found: Timeline, labels: Mapping[str, str], title: str, palette: Palette) -> Chart:
    """The means by job with their intervals, with a line within each cohort. Marks regressions and changes of level."""
    labels = {cohort_id: line(words) for cohort_id, words in labels.items()}
    scale = column_scale(found.key.metric.unit, [moment.interval for moment in found.moments])
    baselines = {moment.baseline_uid for moment in found.moments[-1:]}
    frame = pd.DataFrame(
        {
            "order": order,
            "job": line(moment.point.job_name),
            "when": clock_time(moment.point.at, "%Y-%m-%d %H:%M", UTC),
            "mean": moment.interval.mean / scale.size,
            "low": (moment.interval.mean if moment.interval.low is None else moment.interval.low) / scale.size,
            "high": (moment.interval.mean if moment.interval.high is None else moment.interval.high) / scale.size,
            "text": scale.interval(moment.interval),
            "conditions": labels[moment.point.cohort_id],
            "verdict": trend_words(moment.verdict, moment.reason, acknowledged=moment.acknowledged),
            "baseline": moment.point.job_uid in baselines,
            "changed": moment.point.job_uid in found.changes,
        }
        for order, moment in enumerate(found.moments, start=1)
    )
    label = f"{line(title)}, {scale.symbol}".removesuffix(", ")
    axis = alt.Axis(tickMinStep=1, format="d", grid=False, title="jobs, oldest first")
    span = alt.Scale(domain=[0.5, len(frame) + 0.5], nice=False)
    x = alt.X("order:Q", axis=axis, scale=span)
    y = alt.Y("mean:Q", title=label, scale=alt.Scale(zero=False))
    colours = [palette.strong, palette.second, palette.quiet]
    domain = [labels[cohort_id] for cohort_id in reversed(found.cohorts)]  # the newest stands out
    legend = alt.Legend(title="conditions", orient="bottom", columns=1) if len(domain) > 1 else None
    colour = alt.Color("conditions:N", scale=alt.Scale(domain=domain, range=colours), legend=legend)
    value = alt.Tooltip("text:N", title="mean ± 95 %")
    tooltip: list[str | alt.Tooltip] = ["job:N", "when:N", value, "verdict:N", "conditions:N"]
    base = alt.Chart(frame).encode(x=x, color=colour, tooltip=tooltip)
    lines = base.mark_line(strokeWidth=1.6, opacity=0.6).encode(y=y, detail="conditions:N")
    margins = base.mark_rule(strokeWidth=2.5, opacity=0.35).encode(y=alt.Y("low:Q", title=label), y2="high:Q")
    points = base.mark_point(filled=True, size=60, opacity=1).encode(y=y)
    regressed = alt.FieldOneOfPredicate(field="verdict", oneOf=["regressed", "to be confirmed"])
    accepted = alt.FieldEqualPredicate(field="verdict", equal="accepted")
    marks = base.encode(y=y, color=alt.value(palette.second))
    worse = marks.mark_point(shape="triangle-down", filled=True, size=190, opacity=1).transform_filter(regressed)
    known = marks.mark_point(shape="triangle-down", filled=False, size=190, strokeWidth=2).transform_filter(accepted)
    levels = alt.Chart(frame).mark_rule(strokeDash=[5, 4], strokeWidth=1.8, color=palette.second)
    changes = levels.encode(x=alt.X("edge:Q"), tooltip=tooltip).transform_calculate(edge="datum.order - 0.5")
    pinned = marks.mark_point(shape="circle", filled=False, size=260, strokeWidth=2).transform_filter("datum.baseline")
    ring = pinned.encode(color=alt.value(palette.quiet))
    layers = [changes.transform_filter("datum.changed"), lines, margins, points, ring, worse, known]
    return alt.layer(*layers).properties(height=340)

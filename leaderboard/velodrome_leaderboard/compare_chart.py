"""Makes the chart of several entries' curves, each a mean with a band that holds all seeds. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import altair as alt
import pandas as pd

from velodrome.board.details import BandPoint, CurveAxis
from velodrome.metrics.catalogue import label_of, metric_of
from velodrome.text import line
from velodrome_leaderboard.charts import Chart, Palette

_AXES: Mapping[CurveAxis, str] = {
    "epoch": "epoch",
    "seconds": "training time, s (mean of the seeds)",
    "samples": "training samples",
}
# As many as can be told apart by hue, lightness and dash together.
_MORE = ("#0e8a6a", "#a04fbf", "#b58900", "#6b7280", "#d33682", "#2aa198")
_DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [1, 0], [6, 3], [2, 2], [8, 3, 2, 3])


def bands(
    found: Mapping[str, Sequence[BandPoint]], series: str, axis: CurveAxis, palette: Palette, *, legend: bool = True
) -> Chart:
    """One line with its band for each entry. Ratios are in percent."""
    metric = metric_of(series)
    size = 100 if metric is not None and metric.unit == "ratio" else 1
    names = [line(name) for name in found]
    frame = pd.DataFrame(
        [
            {
                "entry": name,
                "at": point.at,
                "mean": size * point.mean,
                "low": size * point.low,
                "high": size * point.high,
                "seeds": point.seeds,
            }
            for name, points in zip(names, found.values(), strict=True)
            for point in points
        ],
        columns=["entry", "at", "mean", "low", "high", "seeds"],
    )
    colours = [palette.strong, palette.second, *_MORE][: len(names)]
    shown = alt.Legend(
        title=None, orient="top", columns=4, symbolType="stroke", symbolStrokeWidth=2.5, symbolSize=500, symbolOpacity=1
    )
    colour = alt.Color("entry:N", scale=alt.Scale(domain=names, range=colours), legend=shown if legend else None)
    dash = alt.StrokeDash(
        "entry:N", scale=alt.Scale(domain=names, range=list(_DASHES[: len(names)])), legend=shown if legend else None
    )
    title = f"{line(label_of(series).replace('_', ' '))}{', %' if size == 100 else ''}"
    x = alt.X("at:Q", title=_AXES[axis], scale=alt.Scale(zero=False, nice=False), axis=alt.Axis(grid=False))
    base = alt.Chart(frame, title=alt.Title(title, anchor="start", fontSize=13)).encode(x=x, color=colour)
    tooltip: list[str | alt.Tooltip] = [
        "entry:N",
        alt.Tooltip("at:Q", title=_AXES[axis], format=",.6~g"),
        alt.Tooltip("mean:Q", format=".5g"),
        alt.Tooltip("low:Q", title="least", format=".5g"),
        alt.Tooltip("high:Q", title="largest", format=".5g"),
        "seeds:Q",
    ]
    y = alt.Y("mean:Q", title=None, scale=alt.Scale(zero=False))
    area = base.mark_area(opacity=0.16).encode(y=alt.Y("low:Q", title=None, scale=alt.Scale(zero=False)), y2="high:Q")
    lines = base.mark_line(strokeWidth=2.2).encode(y=y, strokeDash=dash, tooltip=tooltip)
    return alt.layer(area, lines).properties(height=290)

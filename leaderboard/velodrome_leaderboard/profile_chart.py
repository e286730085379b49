"""Makes the chart of a profile. Pure: a profile goes in, an Altair specification comes out."""

from __future__ import annotations

import altair as alt
import pandas as pd

from velodrome.board.profile import Profile
from velodrome.text import line
from velodrome_leaderboard.charts import Chart, Palette


def shares(found: Profile, palette: Palette) -> Chart:
    """The performance profile: for each score, the share of an entry's runs above it. The model has its 95 % band."""
    names = [line(one.entry) for one in found.entries]
    frame = pd.DataFrame(
        {
            "entry": name,
            "score": level,
            "share": 100 * share.value,
            "low": 100 * share.low,
            "high": 100 * share.high,
            "model": place == 0,
        }
        for place, (name, one) in enumerate(zip(names, found.entries, strict=True))
        for level, share in zip(found.levels, one.shares, strict=True)
    )
    colours = [palette.strong, palette.second, *[palette.quiet] * len(names)][: len(names)]
    legend = alt.Legend(title=None, orient="top", columns=5, symbolType="stroke", symbolStrokeWidth=2)
    colour = alt.Color("entry:N", scale=alt.Scale(domain=names, range=colours), legend=legend)
    dash = alt.StrokeDash("entry:N", scale=alt.Scale(domain=names), legend=legend)
    x = alt.X("score:Q", title="score", scale=alt.Scale(zero=False, nice=False))
    y = alt.Y("share:Q", title="share of runs above, %", scale=alt.Scale(domain=[0, 100]))
    tooltip: list[str | alt.Tooltip] = [
        "entry:N",
        alt.Tooltip("score:Q", format=".4g"),
        alt.Tooltip("share:Q", format=".0f"),
    ]
    base = alt.Chart(frame).encode(x=x)
    band = base.mark_area(opacity=0.18, color=palette.strong, interpolate="step-after").transform_filter("datum.model")
    lines = base.mark_line(interpolate="step-after", strokeWidth=2).encode(
        y=y, color=colour, strokeDash=dash, tooltip=tooltip
    )
    band = band.encode(y=alt.Y("low:Q", title="share of runs above, %"), y2="high:Q")
    return alt.layer(band, lines).properties(height=320)

"""Makes the chart of A/A differences. Pure: a noise floor goes in, an Altair specification comes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import altair as alt
import numpy as np
import pandas as pd

from velodrome.board.noise import NoiseComparison, ObjectiveNoise
from velodrome.board.noise_words import amount, worse
from velodrome.stats.noise import shown
from velodrome.text import counted, line
from velodrome_leaderboard.charts import Chart, Palette

_BINS = 24
_KINDS = ("two names in one job", "two jobs")


def differences(noise: ObjectiveNoise, title: str, palette: Palette) -> Chart:
    """A histogram of the A/A differences. Dashed lines mark the smallest change that is seen from job to job."""
    values = {kind: _values(noise, found) for kind, found in zip(_KINDS, _compared(noise), strict=True)}
    visible = _visible(noise)
    farthest = max([abs(value) for found in values.values() for value in found] + [visible or 0.0]) or 1.0
    frame = _bars(values, np.linspace(-farthest, farthest, _BINS + 1))
    label = f"difference of {line(title)}{_unit(noise)}"
    x = alt.X("from:Q", title=label, scale=alt.Scale(domain=[-farthest, farthest], nice=False))
    colour = alt.Color(
        "kind:N",
        scale=alt.Scale(domain=list(_KINDS), range=[palette.second, palette.strong]),
        legend=alt.Legend(title=None, orient="top"),
    )
    y = alt.Y("base:Q", title="A/A comparisons", axis=alt.Axis(tickMinStep=1, format="d"))
    tooltip: list[str | alt.Tooltip] = [
        "kind:N",
        alt.Tooltip("from:Q", format=".3g"),
        alt.Tooltip("to:Q", format=".3g"),
        "count:Q",
    ]
    bars = (
        alt.Chart(frame).mark_rect(opacity=0.85).encode(x=x, x2="to:Q", y=y, y2="top:Q", color=colour, tooltip=tooltip)
    )
    if visible is None:
        return alt.layer(bars).properties(height=260)
    says = f"{noise.smallest[0].seeds} seeds see this from job to job"
    ends = pd.DataFrame({"from": [-visible, visible], "says": says})
    rules = alt.Chart(ends).mark_rule(strokeDash=[5, 4], strokeWidth=1.8, color=palette.quiet)
    return alt.layer(bars, rules.encode(x=x, tooltip="says:N")).properties(height=260)


def _bars(values: Mapping[str, Sequence[float]], edges: np.ndarray) -> pd.DataFrame:
    """A row for each bar, from `base` to `top`: the kinds stand on each other."""
    base = np.zeros(len(edges) - 1, dtype=int)
    rows = []
    for kind, found in values.items():
        counts = np.histogram(found, edges)[0]
        rows += [
            {"kind": kind, "from": low, "to": high, "count": count, "base": below, "top": below + count}
            for low, high, count, below in zip(
                edges[:-1].tolist(), edges[1:].tolist(), counts.tolist(), base.tolist(), strict=True
            )
            if count
        ]
        base += counts
    return pd.DataFrame(rows)


def described(noise: ObjectiveNoise, title: str) -> str:
    """The chart in words, for those who can't see it."""
    parts = []
    for kind, found in zip(_KINDS, _compared(noise), strict=True):
        if found.pairs:
            sizes = [abs(one.value) for one in found.tested.each]
            most, typical = amount(noise, max(sizes)), amount(noise, float(np.median(sizes)))
            count = counted(len(sizes), "A/A difference")
            parts.append(f"{count} of {title} between {kind}: half are {typical} or less, the largest is {most}.")
    if noise.smallest and noise.smallest[0].job_to_job is not None:
        parts.append(f"The smallest change that is seen is {worse(noise, noise.smallest[0].job_to_job)}.")
    return " ".join(parts)


def _compared(noise: ObjectiveNoise) -> tuple[NoiseComparison, NoiseComparison]:
    return noise.in_job, noise.job_to_job


def _values(noise: ObjectiveNoise, found: NoiseComparison) -> list[float]:
    return [_size(noise) * shown(one.value, noise.scale) for one in found.tested.each]


def _visible(noise: ObjectiveNoise) -> float | None:
    first = noise.smallest[0].job_to_job if noise.smallest else None
    return None if first is None else _size(noise) * shown(first, noise.scale)


def _size(noise: ObjectiveNoise) -> float:
    return 100.0 if noise.scale == "relative" or noise.key.metric.unit == "ratio" else 1.0


def _unit(noise: ObjectiveNoise) -> str:
    if noise.scale == "relative":
        return ", %"
    unit = noise.key.metric.unit
    return ", points" if unit in ("ratio", "percent") else f", {unit}"

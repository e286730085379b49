"""Charts from plain values. Pure: values in, Altair specifications out; colours for a light or a dark page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import altair as alt
import pandas as pd

from velodrome.metrics import CATALOGUE, Direction
from velodrome.ranking import RankedRow, TradeOff
from velodrome.results import EpochPoint
from velodrome.stats import Interval
from velodrome.units import Scale, column_scale

Chart = alt.LayerChart | alt.FacetChart

# Points up to which each gets its name beside it; of more, those of the front.
_FEW_POINTS = 20

# Points from which a symbol on each epoch helps more than it hides.
_FEW_EPOCHS = 40
_ROW_HEIGHT = 40


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours that differ in lightness too, so that they hold for people who see no red or green."""

    strong: str
    quiet: str
    second: str


LIGHT = Palette(strong="#1d5fc4", quiet="#8a94a3", second="#c2560c")
DARK = Palette(strong="#7fb0ff", quiet="#8792a2", second="#f2a057")


def intervals(rows: Sequence[RankedRow], scale: Scale, title: str, direction: Direction, palette: Palette) -> Chart:
    """Mean and interval of each entry, in rank order from the top, with a dot for each seed's value.

    A row is as high as one of the table beside it.
    """
    names = [row.entry for row in rows]
    frame = pd.DataFrame(
        {
            "entry": row.entry,
            "place": row.place,
            "mean": row.interval.mean / scale.size,
            "low": (row.interval.mean if row.interval.low is None else row.interval.low) / scale.size,
            "high": (row.interval.mean if row.interval.high is None else row.interval.high) / scale.size,
            "value": scale.interval(row.interval),
            "n": row.interval.n,
            "first": row.rank == 1,
        }
        for row in rows
    )
    seeds = pd.DataFrame(
        {"entry": row.entry, "seed": seed, "value": value / scale.size, "first": row.rank == 1}
        for row in rows
        for seed, value in row.samples.items()
    )
    better = "higher is better →" if direction == "higher" else "← lower is better"
    y = alt.Y(
        "entry:N",
        sort=names,
        title=None,
        axis=alt.Axis(labelLimit=150, labelFlush=False, ticks=False, domain=False, grid=True),
    )
    x_title = f"{title} ({better})"
    colour = alt.condition("datum.first", alt.value(palette.strong), alt.value(palette.quiet))
    tooltip = [
        alt.Tooltip("entry:N"),
        alt.Tooltip("place:N"),
        alt.Tooltip("value:N", title="mean ± 95 %"),
        alt.Tooltip("n:Q"),
    ]
    base = alt.Chart(frame).encode(y=y, tooltip=tooltip, color=colour)
    x = alt.X("low:Q", title=x_title, scale=alt.Scale(zero=False, nice=True), axis=alt.Axis(orient="top"))
    bars = base.mark_rule(strokeWidth=4, strokeCap="round", opacity=0.55).encode(x=x, x2="high:Q")
    means = base.mark_point(filled=True, size=110, opacity=1).encode(x=alt.X("mean:Q"))
    dots = (
        alt.Chart(seeds)
        .mark_tick(thickness=1.5, size=14, opacity=0.75)
        .encode(
            x="value:Q",
            y=y,
            color=colour,
            tooltip=[alt.Tooltip("entry:N"), alt.Tooltip("seed:Q"), alt.Tooltip("value:Q", title=title)],
        )
    )
    return alt.layer(bars, dots, means).properties(height=alt.Step(_ROW_HEIGHT))


def trade_off(found: TradeOff, titles: Sequence[str], palette: Palette) -> Chart:
    """Entries by two objectives, the third as the size of the point; the front in colour, joined and named."""
    scales = [
        column_scale(key.metric.unit, [point.intervals[axis] for point in found.points])
        for axis, key in enumerate(found.keys)
    ]
    frame = pd.DataFrame(
        {"entry": point.entry, "front": point.on_front}
        | {
            f"{name}{axis}": value / scale.size
            for axis, (interval, scale) in enumerate(zip(point.intervals, scales, strict=True))
            for name, value in _ends(interval).items()
        }
        | {
            f"text{axis}": scale.interval(interval)
            for axis, (interval, scale) in enumerate(zip(point.intervals, scales, strict=True))
        }
        for point in found.points
    )
    labels = [
        f"{title}, {scale.symbol}" if scale.symbol else title for title, scale in zip(titles, scales, strict=True)
    ]
    arrows = [
        {"higher": "higher is better →", "lower": "← lower is better"}[key.metric.direction] for key in found.keys
    ]
    axes = [f"{label} ({arrow})" for label, arrow in zip(labels, arrows, strict=True)]
    x = alt.X("mean0:Q", title=axes[0], scale=alt.Scale(zero=False, padding=24), axis=alt.Axis(tickCount=8))
    y = alt.Y("mean1:Q", title=axes[1], scale=alt.Scale(zero=False, padding=24))
    colour = alt.condition("datum.front", alt.value(palette.strong), alt.value(palette.quiet))
    tooltip = [alt.Tooltip("entry:N")] + [
        alt.Tooltip(f"text{axis}:N", title=title) for axis, title in enumerate(titles)
    ]
    base = alt.Chart(frame).encode(color=colour, tooltip=tooltip)
    layers = [
        base.mark_rule(strokeWidth=2, opacity=0.35).encode(x=alt.X("low0:Q", title=axes[0]), x2="high0:Q", y=y),
        base.mark_rule(strokeWidth=2, opacity=0.35).encode(x=x, y=alt.Y("low1:Q", title=axes[1]), y2="high1:Q"),
    ]
    points = base.mark_point(filled=True, opacity=0.95, size=130).encode(x=x, y=y)
    if len(found.keys) == 3:
        size = alt.Size("mean2:Q", title=labels[2], scale=alt.Scale(range=[60, 600], zero=False))
        points = points.encode(size=size)
    front = frame[frame["front"]]
    if len(found.keys) == 2:
        steps: Literal["step-before", "step-after"] = (
            "step-before" if found.keys[0].metric.direction == "higher" else "step-after"
        )
        line = alt.Chart(front).mark_line(color=palette.strong, strokeDash=[5, 4], opacity=0.7, interpolate=steps)
        layers.append(line.encode(x=x, y=y, order="mean0:Q"))
    named = frame if len(frame) <= _FEW_POINTS else front
    text = alt.Chart(named).mark_text(align="left", dx=12, dy=-10, fontSize=13, fontWeight=600)
    names = text.encode(x=x, y=y, text="entry:N", color=colour, tooltip=tooltip)
    return alt.layer(*layers, points, names).properties(height=420)


def _ends(interval: Interval) -> Mapping[str, float]:
    low = interval.mean if interval.low is None else interval.low
    high = interval.mean if interval.high is None else interval.high
    return {"mean": interval.mean, "low": low, "high": high}


TRAINING_LOSS = "training loss"
LEARNING_RATE = "learning rate"


def is_loss(name: str) -> bool:
    """Whether a validation metric belongs into the chart of losses."""
    return name in CATALOGUE and CATALOGUE[name].unit == "nats"


def curve_frame(points: Sequence[EpochPoint]) -> pd.DataFrame:
    """One row for each epoch; a column for each thing measured, ratios in percent."""
    return pd.DataFrame(
        {
            "epoch": point.epoch,
            "seconds": point.seconds,
            TRAINING_LOSS: point.train_loss,
            LEARNING_RATE: point.learning_rate,
            **{name: value * (100 if _is_ratio(name) else 1) for name, value in point.validation.items()},
        }
        for point in points
    )


def _is_ratio(name: str) -> bool:
    return name in CATALOGUE and CATALOGUE[name].unit == "ratio"


def curve(frame: pd.DataFrame, series: Sequence[str], palette: Palette, best_epoch: int | None = None) -> Chart:
    """One or two columns of the frame over epochs; a dashed line marks the epoch whose weights were kept."""
    names = {column: column.replace("_", " ") for column in series}
    long = frame.rename(columns=names).melt(["epoch", "seconds"], list(names.values()), "series", "value")
    title = "loss, nats" if TRAINING_LOSS in series else names[series[0]] + (", %" if _is_ratio(series[0]) else "")
    colours = [palette.strong, palette.second, palette.quiet][: len(series)]
    legend = alt.Legend(title=None, orient="top-right", symbolType="stroke", offset=4) if len(series) > 1 else None
    epochs = alt.Scale(domain=[int(frame["epoch"].min()), max(2, int(frame["epoch"].max()))], nice=False, zero=False)
    x = alt.X("epoch:Q", title="epoch", axis=alt.Axis(tickMinStep=1, format="d", grid=False), scale=epochs)
    lines = (
        alt.Chart(long, title=alt.Title(title, anchor="start", fontSize=13))
        .mark_line(strokeWidth=2.2, point=alt.OverlayMarkDef(size=26) if len(frame) <= _FEW_EPOCHS else False)
        .encode(
            x=x,
            y=alt.Y("value:Q", title=None, scale=alt.Scale(zero=False)),
            color=alt.Color("series:N", scale=alt.Scale(domain=list(names.values()), range=colours), legend=legend),
            strokeDash=alt.StrokeDash("series:N", sort=list(names.values()), legend=None),
            tooltip=[
                alt.Tooltip("epoch:Q"),
                alt.Tooltip("series:N"),
                alt.Tooltip("value:Q", format=".5g"),
                alt.Tooltip("seconds:Q", format=".1f", title="training time, s"),
            ],
        )
    )
    if best_epoch is None:
        return alt.layer(lines).properties(height=270)
    mark = alt.Chart(pd.DataFrame({"epoch": [best_epoch]})).mark_rule(color=palette.quiet, strokeDash=[4, 4])
    kept = mark.encode(x=x, tooltip=alt.value(f"the weights of epoch {best_epoch} were kept"))
    return alt.layer(kept, lines).properties(height=270)

"""Makes charts from plain values, as Altair specifications, in colours for a light or a dark page. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import altair as alt
import pandas as pd

from velodrome.metrics.catalogue import CATALOGUE, Direction, label_of, metric_of
from velodrome.ranking.pairs import ClassRow
from velodrome.ranking.places import RankedRow
from velodrome.ranking.trade_offs import Standing, TradeOff
from velodrome.results.confusion import Confusion
from velodrome.results.records import EpochPoint
from velodrome.stats import Interval
from velodrome.text import line
from velodrome.units import Scale, column_scale

Chart = alt.LayerChart | alt.FacetChart

# Up to this number of points, each has its name beside it. With more points, only those on the front do.
_FEW_POINTS = 20

# Up to this number of classes, each cell of a confusion matrix has its number of samples in it.
_FEW_CLASSES = 12
# From this share of a row on, the text of a cell is on the strong colour. The colour grows with the root of the share.
_STRONG_SHARE = 0.3

# Up to this number of epochs, each epoch has a symbol. With more epochs, symbols would hide the line.
_FEW_EPOCHS = 40
_ROW_HEIGHT = 40

# A name takes no more of a chart than this, so that a phone shows more than names.
_LABEL_PIXELS = 130
_LEGEND_PIXELS = 260


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours that also differ in lightness, so that people who can't tell red from green can tell them apart."""

    strong: str
    quiet: str
    second: str
    faint: str  # hardly stands out from the page
    on_faint: str  # text
    on_strong: str
    text: str  # on the page


LIGHT = Palette(
    "#1d5fc4", "#8a94a3", "#c2560c", faint="#eef3fa", on_faint="#1f2937", on_strong="#ffffff", text="#4b5563"
)
DARK = Palette(
    "#7fb0ff", "#8792a2", "#f2a057", faint="#1c2432", on_faint="#e5e9f0", on_strong="#0b1220", text="#b4bdca"
)


def dressed(chart: Chart, palette: Palette) -> Chart:
    """The chart with texts that stand out from the page. Its parts are no news to a screen reader, which is told the
    whole in words.
    """
    words = {"labelColor": palette.text, "titleColor": palette.text}
    found: Chart = (
        chart.configure_mark(aria=False)
        .configure_axis(**words, labelLimit=_LABEL_PIXELS, labelOverlap=True, aria=False)
        .configure_legend(**words, labelLimit=_LEGEND_PIXELS, aria=False)
        .configure_title(color=palette.text)
    )
    return found


def intervals(rows: Sequence[RankedRow], scale: Scale, title: str, direction: Direction, palette: Palette) -> Chart:
    """The mean and interval of each entry, in rank order from the top, with a tick for each seed's value.

    A row is as high as a row of the table beside the chart.
    """
    frame = pd.DataFrame(
        {
            "entry": line(row.entry),
            "place": row.place,
            "value": scale.interval(row.interval),
            "n": row.interval.n,
            "first": row.rank == 1,
            **_ends(row.interval, scale),
        }
        for row in rows
    )
    seeds = pd.DataFrame(
        {"entry": line(row.entry), "seed": seed, "value": value / scale.size, "first": row.rank == 1}
        for row in rows
        for seed, value in row.samples.items()
    )
    names = alt.Axis(labelFlush=False, ticks=False, domain=False, grid=True)
    y = alt.Y("entry:N", sort=[line(row.entry) for row in rows], title=None, axis=names)
    span = alt.Scale(domain=_span(frame, seeds), nice=True)
    x = alt.X("low:Q", title=f"{line(title)} ({_BETTER[direction]})", scale=span, axis=alt.Axis(orient="top"))
    colour = alt.condition("datum.first", alt.value(palette.strong), alt.value(palette.quiet))
    mean_tooltip: list[str | alt.Tooltip] = ["entry:N", "place:N", alt.Tooltip("value:N", title="mean ± 95 %"), "n:Q"]
    seed_tooltip: list[str | alt.Tooltip] = ["entry:N", "seed:Q", alt.Tooltip("value:Q", title=line(title))]
    base = alt.Chart(frame).encode(y=y, tooltip=mean_tooltip, color=colour)
    bars = base.mark_rule(strokeWidth=4, strokeCap="round", opacity=0.55, clip=True).encode(x=x, x2="high:Q")
    means = base.mark_point(filled=True, size=110, opacity=1).encode(x="mean:Q")
    ticks = alt.Chart(seeds).mark_tick(thickness=1.5, size=14, opacity=0.75)
    values = ticks.encode(x="value:Q", y=y, color=colour, tooltip=seed_tooltip)
    return alt.layer(bars, values, means).properties(height=alt.Step(_ROW_HEIGHT))


def span_of(rows: Sequence[RankedRow]) -> tuple[float, float]:
    """The range that a drawing of these rows shows, in the metric's unit, as the chart of intervals has it."""
    ends = pd.DataFrame(
        {
            "low": row.interval.mean if row.interval.low is None else row.interval.low,
            "high": row.interval.mean if row.interval.high is None else row.interval.high,
        }
        for row in rows
    )
    values = pd.DataFrame({"value": value} for row in rows for value in row.samples.values())
    low, high = _span(ends, values)
    return low, high


def _span(frame: pd.DataFrame, seeds: pd.DataFrame) -> list[float]:
    """The range that the chart shows: all values and intervals, but the latter only as far as ten times the values.

    With two trials, an interval of factors can reach very far.
    """
    low, high = float(frame["low"].min()), float(frame["high"].max())
    least, most = float(seeds["value"].min()), float(seeds["value"].max())
    reach = 10 * (most - least or abs(most))
    return [min(max(low, least - reach), least), max(min(high, most + reach), most)]


_BETTER: Mapping[Direction, str] = {"higher": "higher is better →", "lower": "← lower is better"}


def _ends(interval: Interval, scale: Scale, axis: int | str = "") -> Mapping[str, float]:
    """The mean and both ends of the interval, in the scale. For a single value, both ends are the mean."""
    low, high = (interval.mean if end is None else end for end in (interval.low, interval.high))
    return {
        f"mean{axis}": interval.mean / scale.size,
        f"low{axis}": low / scale.size,
        f"high{axis}": high / scale.size,
    }


def trade_off(found: TradeOff, titles: Sequence[str], palette: Palette) -> Chart:
    """Entries by two objectives. A point's size shows a third one, its colour and shape where the entry stands."""
    keys = range(len(found.keys))
    scales = [column_scale(found.keys[k].metric.unit, [point.intervals[k] for point in found.points]) for k in keys]
    titles = [line(title) for title in titles]
    labels = [f"{titles[k]}, {scales[k].symbol}".removesuffix(", ") for k in keys]
    x_title, y_title, *_ = (f"{labels[k]} ({_BETTER[found.keys[k].metric.direction]})" for k in keys)
    frame = _trade_off_frame(found, scales)
    front = frame[frame["standing"] == "front"]
    standings = list(_SHAPES)
    colours = alt.Scale(domain=standings, range=[palette.strong, palette.second, palette.quiet])
    legend = alt.Legend(title=None, orient="top")
    spans = [reach(found, axis, scales[axis]) for axis in (0, 1)]
    frame = frame.join(_names(frame, spans))
    x = alt.X(
        "mean0:Q", title=x_title, scale=alt.Scale(domain=spans[0], nice=False, zero=False), axis=alt.Axis(tickCount=8)
    )
    y = alt.Y("mean1:Q", title=y_title, scale=alt.Scale(domain=spans[1], nice=False, zero=False))
    base = alt.Chart(frame).encode(
        color=alt.Color("standing:N", scale=colours, legend=legend),
        tooltip=["entry:N", "standing:N", *(alt.Tooltip(f"text{k}:N", title=titles[k]) for k in keys)],
    )
    margins = base.mark_rule(strokeWidth=2, opacity=0.35, clip=True)
    shapes = alt.Shape("standing:N", scale=alt.Scale(domain=standings, range=[*_SHAPES.values()]), legend=legend)
    points = base.mark_point(filled=True, opacity=0.95, size=130).encode(x=x, y=y, shape=shapes)
    names = [
        base.mark_text(
            align="left", dx=_BESIDE, dy=alt.expr(f"datum.{size}"), limit=_NAME_PIXELS, fontSize=13, fontWeight=600
        )
        .encode(x=x, y=y, text="entry:N", color=alt.value(palette.text))
        .transform_filter(f"isValid(datum.{size}) && {when}")
        for size, when in (("wide", f"width >= {_WIDE}"), ("narrow", f"width < {_WIDE}"))
    ]
    layers: list[alt.Chart] = [
        margins.encode(x=alt.X("low0:Q", title=x_title), x2="high0:Q", y=y),
        margins.encode(x=x, y=alt.Y("low1:Q", title=y_title), y2="high1:Q"),
    ]
    if len(keys) == 3:
        points = points.encode(size=alt.Size("mean2:Q", title=labels[2], scale=alt.Scale(range=[60, 600], zero=False)))
    else:
        # Between two entries of the front, the line has the y value of the entry that is good enough in x.
        steps = _STEPS[found.keys[0].metric.direction]
        reached = alt.Chart(front).mark_line(color=palette.strong, strokeDash=[5, 4], opacity=0.7, interpolate=steps)
        layers.append(reached.encode(x=x, y=y, order="mean0:Q"))
    return alt.layer(*layers, points, *names).properties(height=_PLOT_HEIGHT)


def reach(found: TradeOff, axis: int, scale: Scale) -> list[float]:
    """The values that the axis spans: all intervals with some room beside them, and none that the metric can't have."""
    ends = [(one.mean, one.low, one.high) for one in (point.intervals[axis] for point in found.points)]
    values = [value / scale.size for each in ends for value in each if value is not None]
    low, high = min(values), max(values)
    least, most = (end / scale.size for end in found.keys[axis].metric.range)
    room = _ROOM * (high / 2 - low / 2) * 2 or _ROOM * abs(high) or 1.0
    return [min(low, max(low - room, least)), max(high, min(high + room, most))]


def _names(frame: pd.DataFrame, spans: Sequence[Sequence[float]]) -> pd.DataFrame:
    """How far above its point each name stands, on a wide and on a narrow page; None where it would be on another.

    Entries on the front come first. With many points, only these have names.
    """
    shown = sorted(range(len(frame)), key=lambda place: (frame["standing"][place] != "front", place))
    if len(frame) > _FEW_POINTS:
        shown = [place for place in shown if frame["standing"][place] == "front"]
    found: dict[str, list[float | None]] = {}
    for name, width in (("wide", _WIDE), ("narrow", _NARROW)):
        taken: list[tuple[float, float, float]] = []
        heights: list[float | None] = [None] * len(frame)
        for place in shown:
            at_x, at_y = (_share(frame[f"mean{axis}"][place], spans[axis]) for axis in (0, 1))
            left, middle = at_x * width + _BESIDE, (1 - at_y) * _PLOT_HEIGHT
            right = left + min(_NAME_PIXELS, _LETTER * len(frame["entry"][place]))
            for height in _HEIGHTS:
                box = (left, right, middle + height)
                if not any(_overlap(box, other) for other in taken):
                    taken.append(box)
                    heights[place] = float(height)
                    break
        found[name] = heights
    return pd.DataFrame(found, dtype=float)


def _overlap(one: tuple[float, float, float], other: tuple[float, float, float]) -> bool:
    """Whether two lines of text overlap, each by its left and right end and its middle."""
    return one[0] < other[1] and other[0] < one[1] and abs(one[2] - other[2]) < _LINE


def _share(value: float, span: Sequence[float]) -> float:
    return (value / 2 - span[0] / 2) / ((span[1] / 2 - span[0] / 2) or 1.0)


_PLOT_HEIGHT, _WIDE, _NARROW = 420, 560, 270
_ROOM = 0.07
# Names: pixels from their point, of a letter, of a line, and of the longest; and the heights that are tried in turn.
_BESIDE, _LETTER, _LINE, _NAME_PIXELS = 12, 7.5, 15, 150
_HEIGHTS = (-10, 10, -26, 26, -42, 42)

_SHAPES: Mapping[Standing, str] = {"front": "circle", "maybe": "diamond", "dominated": "square"}
_STEPS: Mapping[Direction, Literal["step-before", "step-after"]] = {"higher": "step-before", "lower": "step-after"}


def _trade_off_frame(found: TradeOff, scales: Sequence[Scale]) -> pd.DataFrame:
    """One row for each entry, with the mean, the ends and the text of each objective."""
    rows = []
    for point in found.points:
        row: dict[str, object] = {"entry": line(point.entry), "standing": point.standing}
        for axis, (interval, scale) in enumerate(zip(point.intervals, scales, strict=True)):
            row |= {f"text{axis}": scale.interval(interval), **_ends(interval, scale, axis)}
        rows.append(row)
    return pd.DataFrame(rows)


TRAINING_LOSS = "training loss"
LEARNING_RATE = "learning rate"


def is_loss(name: str) -> bool:
    """Whether a validation metric belongs in the chart of losses."""
    return _unit(name) == "nats" and name in CATALOGUE


def curve_frame(points: Sequence[EpochPoint]) -> pd.DataFrame:
    """One row for each epoch, and one column for each measured quantity. Ratios are in percent."""
    return pd.DataFrame(
        {
            "epoch": min(point.epoch, _LAST_EPOCH),
            "seconds": point.seconds,
            TRAINING_LOSS: point.train_loss,
            LEARNING_RATE: point.learning_rate,
            **{name: value * (100 if _is_ratio(name) else 1) for name, value in point.validation.items()},
        }
        for point in points
    )


_LAST_EPOCH = 2**53  # the last that a chart can hold; a store may hold any number


def _is_ratio(name: str) -> bool:
    return _unit(name) == "ratio"


def _unit(name: str) -> str:
    metric = metric_of(name)
    return "" if metric is None else metric.unit


def unit_words(name: str) -> str:
    """What stands behind a curve's name: the unit of its values."""
    metric = metric_of(name)
    if metric is None or (metric.limits is None and metric.unit != "ratio"):
        return ""
    symbol = column_scale(metric.unit, []).symbol
    return f", {symbol}" if symbol else ""


def curve(frame: pd.DataFrame, series: Sequence[str], palette: Palette, best_epoch: int | None = None) -> Chart:
    """One or two columns of the frame over epochs; a dashed line marks the epoch whose weights were kept."""
    names = {column: line(label_of(column).replace("_", " ")) for column in series}
    long = frame.rename(columns=names).melt(["epoch", "seconds"], list(names.values()), "series", "value")
    title = "loss, nats" if TRAINING_LOSS in series else names[series[0]] + unit_words(series[0])
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
    if best_epoch is None or best_epoch > int(frame["epoch"].max()):
        return alt.layer(lines).properties(height=270)
    mark = alt.Chart(pd.DataFrame({"epoch": [best_epoch]})).mark_rule(color=palette.quiet, strokeDash=[4, 4])
    kept = mark.encode(x=x, tooltip=alt.value(f"the weights of epoch {best_epoch} were kept"))
    return alt.layer(kept, lines).properties(height=270)


def confusion(found: Confusion, palette: Palette) -> Chart:
    """A cell for each pair of a right class (row) and a predicted class (column), coloured by its share of the row."""
    names = _distinct(found.classes)
    size = len(names)
    cells = zip(((right, predicted) for right in names for predicted in names), found.pairs, strict=True)
    frame = pd.DataFrame(
        {"right": right, "predicted": predicted, "count": pair.count, "share": pair.share}
        for (right, predicted), pair in cells
    )
    step = alt.Step(46 if size <= _FEW_CLASSES else max(6, 640 // size))
    axis = alt.Axis(ticks=False, domain=False, grid=False)
    wide = alt.Axis(**axis.to_dict(), orient="top", labelAngle=0 if max(map(len, names)) <= 4 else -45)
    root = alt.Scale(type="sqrt", domain=[0, 1], range=[palette.faint, palette.strong])
    legend = None if size <= _FEW_CLASSES else alt.Legend(title="share", format=".0%", values=[0, 0.1, 0.5, 1])
    base = alt.Chart(frame).encode(
        x=alt.X("predicted:N", sort=names, title="predicted class", axis=wide),
        y=alt.Y("right:N", sort=names, title="right class", axis=axis),
        tooltip=[
            alt.Tooltip("right:N", title="right class"),
            alt.Tooltip("predicted:N", title="predicted class"),
            alt.Tooltip("count:Q", title="samples", format=","),
            alt.Tooltip("share:Q", title="of the right class", format=".1%"),
        ],
    )
    layers = [base.mark_rect().encode(color=alt.Color("share:Q", scale=root, legend=legend))]
    if size <= _FEW_CLASSES:
        on_cell = alt.condition(
            f"datum.share > {_STRONG_SHARE}", alt.value(palette.on_strong), alt.value(palette.on_faint)
        )
        layers.append(base.mark_text(fontSize=13).encode(text=alt.Text("count:Q", format=","), color=on_cell))
    return alt.layer(*layers).properties(width=step, height=step)


def wins(rows: Sequence[ClassRow], a: str, b: str, palette: Palette) -> Chart:
    """A bar to the right for the samples of each class on which `a` is better, and one to the left for `b`."""
    names = _distinct([row.label for row in rows])
    sides = (f"{line(a)} is better", f"{line(b)} is better ")  # two names, also where a and b look alike
    frame = pd.DataFrame(
        {"class": name, "samples": sign * count, "count": count, "of": row.samples, "side": side}
        for name, row in zip(names, rows, strict=True)
        for side, sign, count in ((sides[0], 1, row.a_better), (sides[1], -1, row.b_better))
    )
    colours = alt.Scale(domain=list(sides), range=[palette.strong, palette.second])
    bars = (
        alt.Chart(frame)
        .mark_bar()
        .encode(
            x=alt.X("samples:Q", title="samples on which one is better", axis=alt.Axis(format="d", tickMinStep=1)),
            y=alt.Y("class:N", sort=names, title="class", axis=alt.Axis(ticks=False)),
            color=alt.Color("side:N", scale=colours, legend=alt.Legend(title=None, orient="top")),
            tooltip=[
                alt.Tooltip("class:N"),
                alt.Tooltip("side:N", title="side"),
                alt.Tooltip("count:Q", title="samples", format=","),
                alt.Tooltip("of:Q", title="of the class", format=","),
            ],
        )
    )
    return alt.layer(bars).properties(height=alt.Step(22))


def _distinct(names: Sequence[str]) -> list[str]:
    """The names on one line each. A second one of the same name has its place behind it: a chart would merge them."""
    shown: list[str] = []
    for place, name in enumerate(map(line, names)):
        shown.append(name if name not in shown else f"{name} ({place})")
    return shown

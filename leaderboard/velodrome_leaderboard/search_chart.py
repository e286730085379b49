"""Makes the charts of a search. Pure: trials go in, Altair specifications come out."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from velodrome.board.search_details import TriedTrial
from velodrome.board.searches import EntrySearch
from velodrome.metrics.catalogue import MetricKey
from velodrome.search.sentences import called, value_words
from velodrome.spec import SearchParameter
from velodrome.text import line
from velodrome_leaderboard.charts import Chart, Palette

COMPLETE, EARLY, BEST, RANDOM = "ran to its end", "ended early", "best so far", "random search, expected"
_LINES = 200  # of trials over epochs: the newest ones
_CELLS = 24  # of a contour, in each direction
_HEIGHT = 300


def course(key: MetricKey, found: EntrySearch, trials: Sequence[TriedTrial], palette: Palette) -> Chart:
    """Each trial's value in their order, the best so far, and what random search is expected to find by then."""
    points = pd.DataFrame(
        {
            "ran": one.number + 1,
            "trial": one.number,
            "value": one.value,
            "kind": _kind(one),
            "words": value_words(key, one.value),
        }
        for one in trials
        if one.value is not None
    )
    ran = max([one.number + 1 for one in trials], default=1)
    best = [*found.course, (ran, found.course[-1][1])] if found.course else []
    lines = pd.DataFrame(
        [{"ran": trial, "value": value, "kind": BEST} for trial, value in best]
        + [{"ran": drawn, "value": value, "kind": RANDOM} for drawn, value in enumerate(found.reference, start=1)]
    )
    kinds = [COMPLETE, EARLY, BEST, RANDOM]
    colours = alt.Scale(domain=kinds, range=[palette.quiet, palette.faint, palette.strong, palette.second])
    colour = alt.Color("kind:N", scale=colours, legend=alt.Legend(title=None, orient="top"))
    x = alt.X("ran:Q", title="trials", axis=alt.Axis(tickMinStep=1, format="d"), scale=alt.Scale(domain=[0, ran + 1]))
    y = alt.Y("value:Q", title=_title(key), scale=_scale(key, [one.value for one in trials if one.value is not None]))
    marks = (
        alt.Chart(points)
        .mark_point(filled=True, size=55, opacity=0.9, stroke=palette.quiet, strokeWidth=1)
        .encode(x=x, y=y, color=colour, tooltip=["trial:Q", "kind:N", alt.Tooltip("words:N", title=line(key.label))])
    )
    if lines.empty:
        return alt.layer(marks).properties(height=_HEIGHT)
    base = alt.Chart(lines).encode(
        x=x,
        y=y,
        color=colour,
        tooltip=[alt.Tooltip("ran:Q", title="trials"), "kind:N", alt.Tooltip("value:Q", format=".4g")],
    )
    steps = base.transform_filter(alt.datum.kind == BEST).mark_line(interpolate="step-after", strokeWidth=2.4)
    expected = base.transform_filter(alt.datum.kind == RANDOM).mark_line(strokeDash=[5, 4], strokeWidth=1.8)
    return alt.layer(marks, expected, steps).properties(height=_HEIGHT)


def epochs(key: MetricKey, trials: Sequence[TriedTrial], palette: Palette) -> Chart:
    """The value of each trial after each epoch, in the colour of how it ended."""
    shown = [one for one in trials if one.steps][-_LINES:]
    frame = pd.DataFrame(
        {"trial": one.number, "epoch": epoch, "value": value, "kind": _kind(one)}
        for one in shown
        for epoch, value in sorted(one.steps.items())
    )
    colours = alt.Scale(domain=[COMPLETE, EARLY], range=[palette.strong, palette.second])
    values = [value for one in shown for value in one.steps.values()]
    base = alt.Chart(frame).encode(
        x=alt.X("epoch:Q", axis=alt.Axis(tickMinStep=1, format="d")),
        y=alt.Y("value:Q", title=_title(key), scale=_scale(key, values)),
        color=alt.Color("kind:N", scale=colours, legend=alt.Legend(title=None, orient="top")),
        tooltip=["trial:Q", "epoch:Q", alt.Tooltip("value:Q", format=".4g"), "kind:N"],
    )
    lines = base.mark_line(strokeWidth=1.4, opacity=0.6).encode(detail="trial:N")
    ends = base.transform_filter(alt.datum.kind == EARLY).transform_joinaggregate(last="max(epoch)", groupby=["trial"])
    crosses = ends.transform_filter("datum.epoch == datum.last").mark_point(shape="cross", angle=45, size=70)
    return alt.layer(lines, crosses).properties(height=_HEIGHT)


def parallel(
    key: MetricKey, parameters: Sequence[SearchParameter], trials: Sequence[TriedTrial], palette: Palette
) -> Chart:
    """A line for each trial through its parameters to its value; the better it is, the stronger its colour."""
    known = [one for one in trials if one.value is not None]
    places = [(called(one.name), placed(one)) for one in parameters]
    names = _distinct([name for name, _ in places])
    shares = _shares(key, [one.value for one in known if one.value is not None])
    rows = []
    for one, share in zip(known, shares, strict=True):
        for axis, parameter, (_, place) in zip(names, parameters, places, strict=True):
            if parameter.name in one.setting:
                value = one.setting[parameter.name]
                rows.append((one.number, axis, place(value), _words(value), share))
        rows.append((one.number, line(key.label), share, value_words(key, one.value or 0.0), share))
    frame = pd.DataFrame(rows, columns=["trial", "axis", "place", "words", "better"])
    return alt.layer(
        alt.Chart(frame)
        .mark_line(opacity=0.7, point=alt.OverlayMarkDef(size=22))
        .encode(
            x=alt.X("axis:N", sort=[*names, line(key.label)], title=None, axis=alt.Axis(labelAngle=0, grid=True)),
            y=alt.Y("place:Q", title="lowest to highest; the value: worst to best", axis=alt.Axis(labels=False)),
            detail="trial:N",
            color=_better(palette),
            strokeWidth=alt.StrokeWidth("better:Q", scale=alt.Scale(range=[0.6, 2.6]), legend=None),
            tooltip=["trial:Q", "axis:N", alt.Tooltip("words:N", title="value")],
        )
    ).properties(height=_HEIGHT)


def importance(found: Mapping[str, float], palette: Palette) -> Chart:
    """A bar for the share of each parameter."""
    names = _distinct([called(name) for name in found])
    frame = pd.DataFrame({"parameter": names, "share": list(found.values())})
    bars = (
        alt.Chart(frame)
        .mark_bar(color=palette.strong)
        .encode(
            x=alt.X("share:Q", axis=alt.Axis(format=".0%"), title="share in what made trials good"),
            y=alt.Y("parameter:N", sort=names, title=None, axis=alt.Axis(labelLimit=220)),
            tooltip=["parameter:N", alt.Tooltip("share:Q", format=".1%")],
        )
    )
    return alt.layer(bars).properties(height=alt.Step(30))


def slices(key: MetricKey, parameter: SearchParameter, trials: Sequence[TriedTrial], palette: Palette) -> Chart:
    """The value of each trial over one parameter."""
    known = [one for one in trials if one.value is not None and parameter.name in one.setting]
    frame = pd.DataFrame(
        {
            "x": _shown(parameter, one.setting[parameter.name]),
            "value": one.value,
            "trial": one.number,
            "kind": _kind(one),
            "words": _words(one.setting[parameter.name]),
        }
        for one in known
    )
    colours = alt.Scale(domain=[COMPLETE, EARLY], range=[palette.strong, palette.second])
    marks = alt.Chart(frame).mark_point(filled=True, size=60, opacity=0.8)
    chart = marks.encode(
        x=_axis(parameter, "x"),
        y=alt.Y("value:Q", title=_title(key), scale=_scale(key, [one.value for one in known if one.value is not None])),
        color=alt.Color("kind:N", scale=colours, legend=alt.Legend(title=None, orient="top")),
        tooltip=["trial:Q", alt.Tooltip("words:N", title=line(called(parameter.name))), "value:Q", "kind:N"],
    )
    return alt.layer(chart).properties(height=_HEIGHT)


def contour(
    key: MetricKey, across: SearchParameter, up: SearchParameter, trials: Sequence[TriedTrial], palette: Palette
) -> Chart:
    """Trials by two parameters, on a ground whose colour is interpolated from them: the better, the stronger."""
    known = [one for one in trials if one.value is not None and {across.name, up.name} <= one.setting.keys()]
    shares = _shares(key, [one.value for one in known if one.value is not None])
    x, y = placed(across), placed(up)
    spots = np.array([(x(one.setting[across.name]), y(one.setting[up.name])) for one in known]).reshape(-1, 2)
    ground = _ground(spots, np.array(shares))
    frame = pd.DataFrame(
        {
            "x": spots[:, 0],
            "y": spots[:, 1],
            "better": shares,
            "trial": [one.number for one in known],
            "first": [_words(one.setting[across.name]) for one in known],
            "second": [_words(one.setting[up.name]) for one in known],
            "value": [value_words(key, one.value or 0.0) for one in known],
        }
    )
    ends = [f"{line(called(one.name))}: {low_words(one)} to {high_words(one)}" for one in (across, up)]
    quiet = alt.Axis(labels=False, ticks=False, grid=False)
    unit = alt.Scale(domain=[0, 1], nice=False)
    cells = (
        alt.Chart(ground)
        .mark_rect()
        .encode(
            x=alt.X("x:Q", title=ends[0], axis=quiet, scale=unit),
            x2="x2:Q",
            y=alt.Y("y:Q", title=ends[1], axis=quiet, scale=unit),
            y2="y2:Q",
            color=_better(palette),
        )
    )
    marks = (
        alt.Chart(frame)
        .mark_point(filled=True, size=60, stroke=palette.on_strong, strokeWidth=1)
        .encode(
            x="x:Q",
            y="y:Q",
            color=_better(palette),
            tooltip=[
                "trial:Q",
                alt.Tooltip("first:N", title=line(called(across.name))),
                alt.Tooltip("second:N", title=line(called(up.name))),
                "value:N",
            ],
        )
    )
    return alt.layer(cells, marks).properties(height=380)


def front(keys: Sequence[MetricKey], found: EntrySearch, trials: Sequence[TriedTrial], palette: Palette) -> Chart:
    """Trials by the first two objectives; those that no other one beats in all objectives stand out."""
    kinds = ["front", "beaten"]
    frame = pd.DataFrame(
        {
            "trial": one.number,
            "x": one.objectives[0],
            "y": one.objectives[1],
            "kind": kinds[one.number not in found.front],
            **{f"words{at}": value_words(keys[at], value) for at, value in enumerate(one.objectives)},
        }
        for one in trials
        if len(one.objectives) > 1
    )
    colours = alt.Scale(domain=kinds, range=[palette.strong, palette.quiet])
    marks = alt.Chart(frame).mark_point(filled=True, size=90)
    chart = marks.encode(
        x=alt.X("x:Q", title=_title(keys[0]), scale=alt.Scale(zero=False, padding=16)),
        y=alt.Y("y:Q", title=_title(keys[1]), scale=alt.Scale(zero=False, padding=16)),
        color=alt.Color("kind:N", scale=colours, legend=alt.Legend(title=None, orient="top")),
        shape=alt.Shape("kind:N", scale=alt.Scale(domain=kinds, range=["circle", "square"]), legend=None),
        tooltip=["trial:Q", "kind:N", *(alt.Tooltip(f"words{at}:N", title=key.label) for at, key in enumerate(keys))],
    )
    return alt.layer(chart).properties(height=_HEIGHT)


def placed(one: SearchParameter) -> Callable[[Any], float]:
    """Where a value stands between the lowest and the highest one, from 0 to 1."""
    if one.choices is not None:
        choices = [json.dumps(choice, sort_keys=True) for choice in one.choices]
        last = max(1, len(choices) - 1)
        return lambda value: choices.index(json.dumps(value, sort_keys=True)) / last
    low, high = one.low or 0.0, one.high or 0.0
    if one.type.startswith("Log"):
        return lambda value: math.log(value / low) / math.log(high / low)
    return lambda value: (value - low) / (high - low)


def low_words(one: SearchParameter) -> str:
    """The lowest value, or the first choice."""
    return _words(one.low if one.choices is None else one.choices[0])


def high_words(one: SearchParameter) -> str:
    """The highest value, or the last choice."""
    return _words(one.high if one.choices is None else one.choices[-1])


def _ground(spots: np.ndarray, shares: np.ndarray) -> pd.DataFrame:
    """Cells with the mean of the trials, weighted by the inverse square of their distance."""
    edges = np.linspace(0, 1, _CELLS + 1)
    middle = (edges[:-1] + edges[1:]) / 2
    rows = []
    for column, x in enumerate(middle):
        for row, y in enumerate(middle):
            weights = 1 / (((spots - (x, y)) ** 2).sum(axis=1) + 1e-3)
            better = float((weights * shares).sum() / weights.sum()) if len(spots) else 0.0
            ends = {"x2": edges[column + 1], "y2": edges[row + 1]}
            rows.append({"x": edges[column], "y": edges[row], **ends, "better": better})
    return pd.DataFrame(rows)


def _shares(key: MetricKey, values: Sequence[float]) -> list[float]:
    """How many of the others each value is better than or equal to, from 0 to 1."""
    sign = 1 if key.metric.direction == "higher" else -1
    ordered = sorted(sign * value for value in values)
    last = max(1, len(values) - 1)
    return [float(np.searchsorted(ordered, sign * value, side="left")) / last for value in values]


def _better(palette: Palette) -> alt.Color:
    scale = alt.Scale(domain=[0, 1], range=[palette.faint, palette.strong])
    return alt.Color("better:Q", scale=scale, legend=None)


def _axis(one: SearchParameter, field: str) -> alt.X:
    title = line(called(one.name))
    if one.choices is not None:
        return alt.X(f"{field}:N", title=title, sort=[_words(choice) for choice in one.choices])
    log = one.type.startswith("Log")
    scale = alt.Scale(type="log" if log else "linear", domain=[one.low, one.high], nice=False)
    return alt.X(f"{field}:Q", title=title, scale=scale, axis=alt.Axis(format="~g", tickCount=6))


def _shown(one: SearchParameter, value: Any) -> Any:
    return value if one.choices is None else _words(value)


def _words(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return line(value if isinstance(value, str) else json.dumps(value))


def _title(key: MetricKey) -> str:
    return line(f"{key.label} ({key.metric.direction} is better)")


def _scale(key: MetricKey, values: Sequence[float]) -> alt.Scale:
    """By factors, where entries differ by factors and no value forbids it."""
    factors = key.metric.scale == "ratio" and min(values, default=0.0) > 0
    return alt.Scale(type="log", nice=False, padding=12) if factors else alt.Scale(zero=False)


def _kind(one: TriedTrial) -> str:
    return COMPLETE if one.state == "Complete" else EARLY


def _distinct(names: Sequence[str]) -> list[str]:
    """The names, each with its number where it is there twice."""
    return [line(name if names.count(name) == 1 else f"{name} {at + 1}") for at, name in enumerate(names)]

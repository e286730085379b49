"""Draws intervals and trade-offs as SVG, for files that stand alone: without scripts, fonts or anything from elsewhere.

Pure. Colours are custom properties of the page (`--strong`, `--quiet`), so that a drawing suits light and dark.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from velodrome.ranking.places import RankedRow
from velodrome.ranking.trade_offs import TradeOff
from velodrome.text import line
from velodrome.units import Scale, column_scale

_WIDTH, _NAMES, _ROW, _EDGE = 900, 220, 26, 32
_MOST_LETTERS = 30


def forest(rows: Sequence[RankedRow], scale: Scale, label: str) -> str:
    """The mean and the interval of each row, with a tick for each seed. Entries that may have rank 1 stand out.

    An interval is cut off where it leaves the values by more than ten times their range.
    """
    values = [value for row in rows for value in row.samples.values()]
    least, most = min(values), max(values)
    reach = 10 * (most - least or abs(most) or 1.0)
    ends = [end for row in rows for end in (row.interval.low, row.interval.high) if end is not None]
    low = max(min([least, *ends]), least - reach)
    high = min(max([most, *ends]), most + reach)
    place = _Axis(low, high, _NAMES, _WIDTH - _EDGE)
    height = _ROW * len(rows) + 34
    parts = [_grid(place, scale, height - 20)]
    for number, row in enumerate(rows):
        y = _ROW * number + _ROW / 2 + 4
        colour = "var(--strong)" if row.rank == 1 else "var(--quiet)"
        parts.append(_text(_NAMES - 10, y + 4, _short(row.entry), "end"))
        start, end = place(row.interval.low), place(row.interval.high)
        if row.interval.low is not None:
            parts.append(_line(start, y, end, y, colour, 4, 0.5))
        parts += [_line(at, y - 6, at, y + 6, colour, 1.4, 0.7) for at in map(place, row.samples.values())]
        words = escape(line(f"{row.entry}: {scale.interval(row.interval)}, n = {row.interval.n}"))
        at = place(row.interval.mean)
        parts.append(f'<circle cx="{at:.1f}" cy="{y:.1f}" r="5" fill="{colour}"><title>{words}</title></circle>')
    return _picture(height, label, parts)


def scatter(found: TradeOff, titles: Sequence[str], label: str) -> str:
    """The entries by two objectives, with their intervals. Filled points are on the front, grey ones dominated."""
    scales = [
        column_scale(key.metric.unit, [point.intervals[axis] for point in found.points])
        for axis, key in enumerate(found.keys[:2])
    ]
    means = [[point.intervals[axis].mean for point in found.points] for axis in (0, 1)]
    height = 380
    x, y = _padded(means[0], 70, _WIDTH - 120), _padded(means[1], height - 50, 20)
    parts = [_grid(x, scales[0], height - 50)]
    parts += [_text(62, y(value) + 4, scales[1].number(value), "end") for value in y.ticks()]
    names = [f"{title}, {scale.symbol}".removesuffix(", ") for title, scale in zip(titles, scales, strict=False)]
    parts += [_text(_WIDTH / 2, height - 4, names[0], "middle"), _text(70, 12, names[1], "start")]
    for point in found.points:
        at = x(point.intervals[0].mean), y(point.intervals[1].mean)
        for axis, interval in enumerate(point.intervals[:2]):
            if interval.low is not None:
                ends = (x if axis == 0 else y)(interval.low), (x if axis == 0 else y)(interval.high)
                across = (ends[0], at[1], ends[1], at[1]) if axis == 0 else (at[0], ends[0], at[0], ends[1])
                parts.append(_line(*across, "var(--quiet)", 1.5, 0.5))
        fill = "var(--strong)" if point.standing == "front" else "var(--paper)"
        edge = "var(--quiet)" if point.standing == "dominated" else "var(--strong)"
        parts.append(
            f'<circle cx="{at[0]:.1f}" cy="{at[1]:.1f}" r="5.5" fill="{fill}" stroke="{edge}" stroke-width="2"/>'
        )
        parts.append(_text(at[0] + 10, at[1] - 7, _short(point.entry), "start"))
    return _picture(height, label, parts)


class _Axis:
    """From values to places on the picture. Halves keep the largest doubles finite."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self._low, self._wide = low, (high / 2 - low / 2) or 1.0
        self._high, self._start, self._end = high, start, end

    def __call__(self, value: float | None) -> float:
        share = 0.0 if value is None else (value / 2 - self._low / 2) / self._wide
        return self._start + min(max(share, 0.0), 1.0) * (self._end - self._start)

    def ticks(self) -> list[float]:
        """Five values from end to end."""
        return [self._low + (self._high / 4 - self._low / 4) * step for step in range(5)]


def _padded(values: Sequence[float], start: float, end: float) -> _Axis:
    low, high = min(values), max(values)
    edge = 0.12 * (high - low) or 0.1 * abs(high) or 1.0
    return _Axis(low - edge, high + edge, start, end)


def _grid(place: _Axis, scale: Scale, bottom: float) -> str:
    lines = [_line(place(value), 4, place(value), bottom, "var(--edge)", 1, 1) for value in place.ticks()]
    texts = [_text(place(value), bottom + 15, scale.number(value), "middle") for value in place.ticks()]
    return "".join([*lines, *texts])


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, width: float, opacity: float) -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width}"'
        f' stroke-opacity="{opacity}"/>'
    )


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(line(text))}</text>'


def _short(text: str) -> str:
    return text if len(text) <= _MOST_LETTERS else f"{text[: _MOST_LETTERS - 1]}…"


def _picture(height: float, label: str, parts: Sequence[str]) -> str:
    words = escape(line(label))
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height:.0f}" role="img" aria-label="{words}" xmlns="http://www.w3.org/2000/svg">'
        f"<title>{words}</title>{''.join(parts)}</svg>"
    )

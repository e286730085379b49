"""A small plot as SVG text: axes, lines, points, bars and words, the same bytes for the same values. Pure.

A plot has a light ground of its own, so that it reads on light and on dark pages. Coordinates have one decimal.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape

STRONG, SECOND, QUIET, INK, GROUND = "#1d5fc4", "#c2560c", "#6b7686", "#1f2937", "#f6f8fb"
_LEFT, _RIGHT, _TOP, _BOTTOM = 62.0, 18.0, 40.0, 46.0

Point = tuple[float, float]


@dataclass
class Plot:
    """A plot of `width` × `height` pixels. `x` and `y` are the values at both ends of the axes; a tick has its words.

    `alt` says in words what the plot shows, for those who can't see it.
    """

    title: str
    alt: str
    x: Point
    y: Point
    x_ticks: Sequence[tuple[float, str]]
    y_ticks: Sequence[tuple[float, str]]
    x_label: str = ""
    y_label: str = ""
    width: float = 640.0
    height: float = 300.0
    _marks: list[str] = field(default_factory=list, repr=False)

    def line(self, points: Iterable[Point], colour: str = STRONG, *, dash: str = "", wide: float = 2.0) -> None:
        """A line through the points."""
        path = " ".join(f"{self._x(x)},{self._y(y)}" for x, y in points)
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        self._marks.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{wide}"{dashed}/>')

    def dots(self, points: Iterable[Point], colour: str = STRONG, size: float = 4.0) -> None:
        """A disc at each point."""
        self._marks += [
            f'<circle cx="{self._x(x)}" cy="{self._y(y)}" r="{size}" fill="{colour}" fill-opacity="0.85"/>'
            for x, y in points
        ]

    def band(self, low: Sequence[Point], high: Sequence[Point], colour: str = STRONG) -> None:
        """The area between two lines."""
        path = " ".join(f"{self._x(x)},{self._y(y)}" for x, y in [*low, *reversed(high)])
        self._marks.append(f'<polygon points="{path}" fill="{colour}" fill-opacity="0.16"/>')

    def bar(self, start: float, end: float, top: float, colour: str = STRONG) -> None:
        """A bar from the lower end of the y axis to `top`."""
        self.band([(start, self.y[0]), (end, self.y[0])], [(start, top), (end, top)], colour)
        self.line([(start, self.y[0]), (start, top), (end, top), (end, self.y[0])], colour, wide=1.0)

    def text(self, x: float, y: float, words: str, colour: str = INK, *, bold: bool = False) -> None:
        """Words at a point."""
        weight = ' font-weight="600"' if bold else ""
        self._marks.append(f'<text x="{self._x(x)}" y="{self._y(y)}" fill="{colour}"{weight}>{escape(words)}</text>')

    def svg(self) -> str:
        """The plot as the text of a file."""
        width, height = self.width, self.height
        right, bottom = width - _RIGHT, height - _BOTTOM
        axes = [f'<path d="M{_LEFT} {_TOP}V{bottom}H{right}" fill="none" stroke="{QUIET}"/>']
        for value, words in self.x_ticks:
            axes.append(_words(self._x(value), f"{bottom + 17:.1f}", words, "middle"))
        for value, words in self.y_ticks:
            place = self._y(value)
            axes.append(f'<path d="M{_LEFT} {place}H{right}" stroke="{QUIET}" stroke-opacity="0.18"/>')
            axes.append(_words(f"{_LEFT - 7}", f"{float(place) + 4:.1f}", words, "end"))
        axes.append(_words(f"{(_LEFT + right) / 2:.1f}", f"{height - 9:.1f}", self.x_label, "middle"))
        axes.append(_words(f"{_LEFT - 46}", "33.0", self.y_label, "start"))
        body = "\n".join([*axes, *self._marks])
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
            f'viewBox="0 0 {width:g} {height:g}" role="img" font-family="system-ui, sans-serif" font-size="12">\n'
            f"<title>{escape(self.alt)}</title>\n"
            f'<rect width="{width:g}" height="{height:g}" rx="8" fill="{GROUND}"/>\n'
            f'<text x="16" y="20" fill="{INK}" font-size="14" font-weight="600">{escape(self.title)}</text>\n'
            f"{body}\n</svg>\n"
        )

    def _x(self, value: float) -> str:
        low, high = self.x
        return f"{_LEFT + (value - low) / (high - low) * (self.width - _LEFT - _RIGHT):.1f}"

    def _y(self, value: float) -> str:
        low, high = self.y
        bottom = self.height - _BOTTOM
        return f"{bottom - (value - low) / (high - low) * (bottom - _TOP):.1f}"


def _words(x: str, y: str, words: str, anchor: str) -> str:
    return f'<text x="{x}" y="{y}" fill="{QUIET}" text-anchor="{anchor}">{escape(words)}</text>'

"""A badge: an objective's leader in a small picture, for the README of a team. Pure."""

from __future__ import annotations

from velodrome.board.page import ObjectivePage
from velodrome.text import line, listed
from velodrome.units import column_scale
from velodrome_leaderboard.markup import escape

_MOST = 40
_LETTER, _PADDING, _HEIGHT = 6.6, 8, 20


def badge(objective: str, page: ObjectivePage) -> str:
    """The badge as SVG. Its text is also its title, for screen readers."""
    label, value = _short(objective), _short(_leader(page))
    left, right = (round(len(text) * _LETTER) + 2 * _PADDING for text in (label, value))
    text = escape(f"{label}: {value}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="{_HEIGHT}" role="img"'
        f' aria-label="{text}"><title>{text}</title>'
        f'<rect width="{left}" height="{_HEIGHT}" fill="#444c56"/>'
        f'<rect x="{left}" width="{right}" height="{_HEIGHT}" fill="#0e6b4c"/>'
        '<g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">'
        f'<text x="{left / 2}" y="14" textLength="{left - 2 * _PADDING}">{escape(label)}</text>'
        f'<text x="{left + right / 2}" y="14" textLength="{right - 2 * _PADDING}">{escape(value)}</text></g></svg>'
    )


def _leader(page: ObjectivePage) -> str:
    if not page.ranked:
        return "nothing ranked yet"
    leaders, best = page.head.leaders, page.ranked[0].interval
    if not leaders:
        return "nothing ranked yet"
    value = column_scale(page.head.objective.key.metric.unit, [best]).interval(best)
    return f"{listed(leaders, most=1)} {value}"


def _short(text: str) -> str:
    text = line(text)
    return text if len(text) <= _MOST else f"{text[: _MOST - 1]}…"

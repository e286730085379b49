"""Makes HTML from plain values. Names, messages and reasons come from runners and are never trusted: all text goes
through `velodrome.text`, and is escaped as HTML.

Pure. No other module makes HTML. Streamlit sanitises the HTML a second time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from html import escape as html_escape
from typing import Literal

from velodrome.text import MOST_IN_LINE, line
from velodrome.text import lines as lines_of_text
from velodrome.units import ago, clock_time, from_the_future

Tone = Literal["", "good", "bad", "busy", "quiet", "code"]


@dataclass(frozen=True, slots=True)
class Reach:
    """An interval to draw within a row: its mean, its ends, and single values, all between 0 and 1 of the column."""

    mean: float
    low: float
    high: float
    values: Sequence[float]
    words: str


@dataclass(frozen=True, slots=True)
class Cell:
    """A piece of text. `detail` is a less prominent second line, `hint` shows on hover, `href` comes from `links`.

    `spark` are values that are drawn as a small row of dots, the newest one last. `reach` is drawn as a line.
    """

    text: str
    href: str | None = None
    hint: str = ""
    detail: str = ""
    tone: Tone = ""
    spark: Sequence[float] = ()
    reach: Reach | None = None


Part = Cell | str


@dataclass(frozen=True, slots=True)
class Column:
    """A column. Numbers are right-aligned, with their unit in the heading. A phone does not show minor columns."""

    heading: str
    unit: str = ""
    numeric: bool = False
    minor: bool = False
    short: bool = False
    hint: str = ""
    unseen: bool = False  # the heading is for screen readers alone


def moment(at: datetime, now: datetime, zone: tzinfo) -> Cell:
    """A time in everyday words, and to the second on hover. A future time is marked: some clock was ahead."""
    hint, ahead = clock_time(at, zone=zone), from_the_future(at, now)
    words = ago((now - at).total_seconds())
    return Cell(words, hint=f"{hint}: a clock was ahead" if ahead else hint, tone="bad" if ahead else "quiet")


# Opened, it writes out what the page says on hover: for those who have a keyboard or a finger, and no mouse.
_MORE = '<details class="more"><summary>Show every detail</summary></details>'


def site(pages: Sequence[tuple[str, str]]) -> str:
    """The line above every page: the product's name, and its main pages."""
    ways = "".join(f'<a href="{escape(href)}">{escape(text)}</a>' for text, href in pages)
    home = f'<a class="name" href="{escape(pages[0][1])}">Velodrome</a>'
    return f'<div class="vd site">{home}<nav aria-label="Velodrome">{ways}</nav></div>'


def heading(title: str, parents: Sequence[tuple[str, str]] = (), facts: Sequence[Part] = ()) -> str:
    """The top of a page: links to its parent pages, its title, and a line of facts."""
    links = "<span>/</span>".join(f'<a href="{escape(href)}">{escape(text)}</a>' for text, href in parents)
    way = f'<nav aria-label="Breadcrumbs">{links}</nav>' if parents else ""
    return f'<div class="vd">{way}<h1>{escape(title)}</h1>{_line(facts, "meta") if facts else ""}{_MORE}</div>'


Kind = Literal["lead", "note", "meta"]


def lines(*given: tuple[Kind, Sequence[Part]]) -> str:
    """Paragraphs: `lead` has the result, `note` explains, `meta` lists facts with dots between them."""
    return f'<div class="vd">{"".join(_line(parts, kind) for kind, parts in given)}</div>'


def note(*parts: Part) -> str:
    """One explaining paragraph."""
    return lines(("note", parts))


def alert(title: str, parts: Sequence[Part], tone: Literal["bad", "busy"] = "bad") -> str:
    """A box that stands out."""
    text = "".join(map(_inline, parts))
    return f'<div class="vd"><div class="alert {tone}" role="alert"><b>{escape(title)}</b>{text}</div></div>'


def facts(pairs: Iterable[tuple[str, Part]]) -> str:
    """Names and values in two columns."""
    rows = "".join(f"<div><dt>{_breakable(name)}</dt><dd>{_inline(value)}</dd></div>" for name, value in pairs)
    return f'<div class="vd facts"><dl>{rows}</dl></div>'


def table(
    columns: Sequence[Column],
    rows: Iterable[Sequence[Cell]],
    label: str,
    ties: Sequence[object] = (),
    *,
    tall: bool = False,
) -> str:
    """A table. `label` names it for screen readers. Neighbouring rows with equal `ties` look like one group.

    A `tall` table has a heading as high as the axis of the chart beside it, so that the rows of both line up.
    """
    heads = "".join(
        f'<th scope="col"{_class(_classes(column))}{_title(column.hint)}>{_head(column)}'
        + (f' <span class="unit">{escape(column.unit)}</span>' if column.unit else "")
        + "</th>"
        for column in columns
    )
    body = []
    for position, row in enumerate(rows):
        tied = position + 1 < len(ties) and ties[position] == ties[position + 1]
        cells = "".join(
            f"<td{_class(_classes(column), cell.tone)}{_title(cell.hint)}>{_content(cell)}</td>"
            for column, cell in zip(columns, row, strict=True)
        )
        body.append(f"<tr{_class('tied' if tied else '')}>{cells}</tr>")
    return (
        f'<div class="vd scroll{" tall" if tall else ""}"><table aria-label="{escape(label)}">'
        f"<thead><tr>{heads}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


@dataclass(frozen=True, slots=True)
class Card:
    """A short view of a board. `leaders` has the leader of each objective."""

    title: str
    href: str
    meta: Sequence[Part]
    leaders: Mapping[str, Cell]


def cards(items: Iterable[Card]) -> str:
    """A grid of cards."""
    return f'<div class="vd cards">{"".join(map(_card, items))}</div>'


def _card(card: Card) -> str:
    leaders = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{_content(cell)}</dd></div>" for name, cell in card.leaders.items()
    )
    title = f'<h2><a href="{escape(card.href)}">{escape(card.title)}</a></h2>'
    return f"<section>{title}{_line(card.meta, 'meta')}<dl>{leaders}</dl></section>"


@dataclass(frozen=True, slots=True)
class Square:
    """One trial in a grid."""

    symbol: str
    hint: str
    tone: Tone
    href: str | None = None


def grid(rows: Iterable[tuple[Cell, Sequence[Square]]], label: str) -> str:
    """A row for each entry, a square for each trial. The symbol and the colour of a square say the same."""
    body = "".join(
        f'<tr><th scope="row">{_content(head)}</th><td><div class="squares">'
        f"{''.join(map(_square, row))}</div></td></tr>"
        for head, row in rows
    )
    return (
        f'<div class="vd scroll"><table class="grid" aria-label="{escape(label)}"><tbody>{body}</tbody></table></div>'
    )


def legend(squares: Iterable[Square]) -> str:
    """The legend for the squares of a grid."""
    items = "".join(f'{_square(square)}<span class="label">{escape(square.hint)}</span>' for square in squares)
    return f'<div class="vd"><div class="squares">{items}</div></div>'


def _square(square: Square) -> str:
    attributes = f'class="square {square.tone}"{_title(square.hint)} aria-label="{escape(square.hint)}"'
    text = escape(square.symbol)
    if square.href is None:
        return f"<span {attributes}>{text}</span>"
    return f'<a href="{escape(square.href)}" {attributes}>{text}</a>'


def _line(parts: Iterable[Part], kind: Kind) -> str:
    between = ' <span class="dot">·</span> ' if kind == "meta" else ""
    return f'<p class="{kind}">{between.join(map(_inline, parts))}</p>'


def _inline(part: Part) -> str:
    if isinstance(part, str):
        return escape(part)
    return f"<span{_class(part.tone)}{_title(part.hint)}>{_content(part)}</span>"


_WHOLE = 24  # a linked name of so many characters is never broken, a longer one anywhere


def _content(cell: Cell) -> str:
    text = escape(cell.text)
    long = ' class="long"' if len(cell.text) > _WHOLE else ""
    main = f'<a href="{escape(cell.href)}"{long}>{text}</a>' if cell.href else text
    detail = f"<small>{escape(cell.detail)}</small>" if cell.detail else ""
    return main + detail + _spark(cell.spark) + ("" if cell.reach is None else _reach(cell.reach))


def _reach(found: Reach) -> str:
    words = escape(found.words)
    ticks = "".join(f'<i style="left:{_share(value)}"></i>' for value in found.values)
    bar = f'<b style="left:{_share(found.low)};width:{_share(found.high - found.low)}"></b>'
    mean = f'<em style="left:{_share(found.mean)}"></em>'
    return f'<span class="reach" role="img" title="{words}">{bar}{ticks}{mean}</span>'


def _share(value: float) -> str:
    return f"{100 * min(max(value, 0.0), 1.0):.1f}%"


def _spark(values: Sequence[float]) -> str:
    """Dots from the least value, at the bottom, to the largest; nothing for fewer than two values."""
    if len(values) < 2:
        return ""
    low, high = min(values), max(values)
    up = [round(18 * (value / 2 - low / 2) / (high / 2 - low / 2)) if high > low else 9 for value in values]
    last = len(up) - 1
    # An element for each dot would be half of a table. The newest dot casts the others as shadows.
    others = ",".join(f"{5 * (at - last)}px {up[last] - one}px" for at, one in enumerate(up[:last]))
    words = f"{len(values)} jobs, from {values[0]:.4g} to {values[-1]:.4g}"
    dots = f'<i style="margin:0 0 {up[last]}px {5 * last}px;box-shadow:{others}"></i>'
    return f'<span class="spark" role="img" title="{words}">{dots}</span>'


def _head(column: Column) -> str:
    text = escape(column.heading)
    return f'<span class="unseen">{text}</span>' if column.unseen else text


def _classes(column: Column) -> str:
    flags = (("number", column.numeric), ("minor", column.minor), ("short", column.short))
    return " ".join(name for name, wanted in flags if wanted)


def _class(*names: str) -> str:
    """The attribute with the names that are not empty."""
    given = " ".join(name for name in names if name)
    return f' class="{given}"' if given else ""


def _breakable(name: str) -> str:
    """The name as HTML. A metric key may break before its parameters."""
    return escape(name).replace("{", "<wbr>{")


def _title(hint: str) -> str:
    return f' title="{escape(hint)}"' if hint else ""


_MARKDOWN = str.maketrans({character: f"\\{character}" for character in r"\`*_{}[]()<>#|~$:&"})


def plain(text: str) -> str:
    """The text for a label. Streamlit reads labels as Markdown, so Markdown in the text is escaped."""
    return " ".join(line(text).translate(_MARKDOWN).split())


def escape(text: str) -> str:
    """Untrusted text as HTML, for an element or an attribute. A browser shows its newlines as blanks."""
    return html_escape(lines_of_text(text, MOST_IN_LINE))

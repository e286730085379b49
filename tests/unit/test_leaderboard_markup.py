"""What a runner wrote stays text, wherever a page shows it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from velodrome.text import is_clean
from velodrome_leaderboard import markup
from velodrome_leaderboard.markup import Card, Cell, Column, Square

HOSTILE = "<img src=x onerror=alert(1)>\"'><script>alert(2)</script>&amp;</table>"

# Everything that the module may ever write.
TAGS = {
    "a", "b", "code", "dd", "div", "details", "dl", "dt", "h1", "h2", "nav", "p", "section", "small", "span",
    "summary", "table", "tbody", "td", "th", "thead", "tr", "wbr",
}  # fmt: skip
ATTRIBUTES = {"aria-label", "class", "href", "role", "scope", "title"}


class Read(HTMLParser):
    """The tags, attributes and text of a document, as a browser understands it."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.values: list[str] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.values += [value or "" for _, value in attrs]
        if tag != "wbr":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def everything(text: str) -> dict[str, str]:
    """Each thing that the module makes, with `text` wherever a text goes."""
    cell = Cell(text, f"job?uid={text}", hint=text, detail=text)
    return {
        "heading": markup.heading(text, [(text, text)], [text, cell]),
        "lines": markup.lines(("lead", [text]), ("meta", [cell, text]), ("note", [cell])),
        "alert": markup.alert(text, [text, cell]),
        "facts": markup.facts([(text, text), (text, cell)]),
        "table": markup.table([Column(text, text, hint=text)], [[cell], [cell]], text, [1, 1]),
        "cards": markup.cards([Card(text, text, [text, cell], {text: cell})]),
        "grid": markup.grid([(cell, [Square(text, text, "", text), Square(text, text, "")])], text),
        "legend": markup.legend([Square(text, text, "")]),
    }


@pytest.mark.parametrize("part", sorted(everything("")))
def test_hostile_text_is_shown_as_it_is_and_never_as_html(part: str) -> None:
    read = Read(everything(HOSTILE)[part])
    assert read.tags <= TAGS
    assert read.attributes <= ATTRIBUTES
    assert HOSTILE in read.text
    assert read.open == []


@given(st.text(min_size=1))
def test_any_text_survives_and_adds_no_tag(text: str) -> None:
    for name, html in everything(text).items():
        read, empty = Read(html), Read(everything("x")[name])
        assert read.tags - {"wbr"} == empty.tags
        assert read.attributes == empty.attributes
        # As a browser does, the parser reads a carriage return or a NUL in its own way; what harms is shown escaped.
        if text.isprintable() and is_clean(text):
            assert text in read.text or text in "".join(read.values)


def test_a_time_says_how_long_ago_and_the_second_on_hover() -> None:
    at = datetime(2026, 5, 4, 12, 30, 5, tzinfo=UTC)
    cell = markup.moment(at, at + timedelta(hours=2), ZoneInfo("Asia/Tokyo"))
    assert cell.text == "2 h ago"
    assert cell.hint == "2026-05-04 21:30:05 UTC+09:00"


def test_a_time_from_the_future_is_marked() -> None:
    at = datetime(2026, 5, 4, 12, 30, 5, tzinfo=UTC)
    cell = markup.moment(at, at - timedelta(days=40), ZoneInfo("UTC"))
    assert (cell.text, cell.tone) == ("in 40 days", "bad")
    assert cell.hint == "2026-05-04 12:30:05 UTC: a clock was ahead"


def test_numbers_are_right_aligned_with_their_unit_in_the_heading() -> None:
    html = markup.table([Column("Mean", "ms", numeric=True)], [[Cell("1.5")]], "Ranking")
    assert '<th scope="col" class="number">Mean <span class="unit">ms</span></th>' in html
    assert '<td class="number">1.5</td>' in html


@pytest.mark.parametrize("text", ["**bold**", "[a](http://b)", ":red[x]", "$x$", "`code`", "<b>", "# top", "a | b"])
def test_a_label_shows_markdown_as_text(text: str) -> None:
    markdown = markup.plain(text)
    assert markdown != text
    assert markdown.replace("\\", "") == text


def test_an_ordinary_name_needs_no_escape() -> None:
    assert markup.plain("cnn-l1.v2") == "cnn-l1.v2"

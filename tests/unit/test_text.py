"""What leaves the door for untrusted text, and who prints beside it."""

from __future__ import annotations

import ast
import csv
import io
import json
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from velodrome import text

ROOT = Path(__file__).resolve().parents[2]

# What a terminal obeys, what turns the direction round, what is not seen: written out, not asked of the module.
HARMFUL = [
    *map(chr, range(0x20)),
    *map(chr, range(0x7F, 0xA0)),
    *"\u061c\u200b\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff\u00ad",
    *map(chr, range(0xE0000, 0xE0080)),
    *("\ud800", "\udfff", "\ufff9", "\ufffe", "\ue000", "\u3164", "\u115f", "\U0010ffff"),
]
ORDINARY = [
    "resnet-50_v1.5/0",
    "naïve Straße, Łódź, Ελλάδα, Москва",
    "مرحبا بالعالم",
    "می‌خواهم",  # with a joiner that its spelling asks for
    "שָׁלוֹם עוֹלָם",
    "क्‍ष और हिन्दी",
    "日本語　テスト、中文、한국어",
    "ภาษาไทย",
    "e\u0301 a\u0308\u0304",
    "👩‍💻 👨‍👩‍👧 ❤️‍🔥 🏳️‍🌈 1️⃣ ❤️ 👍🏽",
    "95 % ± 0.3 µs → «ok» …",
    r"C:\new\x1b",
]
NEIGHBOURS = st.sampled_from("\u200d\u200c\ufe0f\u0301ش👩a\\")
anything = st.text(st.characters(codec=None) | st.sampled_from(HARMFUL) | NEIGHBOURS)
nested = st.recursive(
    anything | st.integers() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(anything, inner)
)


@pytest.mark.parametrize("words", ORDINARY)
def test_ordinary_text_stays_as_it_is(words: str) -> None:
    assert text.line(words) == words
    assert text.lines(words) == words
    assert text.is_clean(words)


@pytest.mark.parametrize("character", HARMFUL, ids=ascii)
def test_what_harms_is_shown_as_an_escape(character: str) -> None:
    shown = text.line(f"a{character}b")
    assert character not in shown
    assert shown[:2] == "a\\"
    assert shown[-1] == "b"
    assert shown.isascii()


def test_a_log_keeps_its_lines_and_tabs_alone() -> None:
    assert text.lines("one\r\n\ttwo\nthree\r100 %\x1b[0m\n") == "one\n\ttwo\nthree\\r100 %\\x1b[0m\n"
    assert text.line("one\n\ttwo\r") == "one\\n\\ttwo\\r"


def test_a_message_inside_ours_forges_no_line() -> None:
    assert text.indented("lost\n\nvelodrome: all is well\n") == "lost\n    \n    velodrome: all is well"


@pytest.mark.parametrize("between", ["\u200d", "\u200c", "\ufe0f", "\ufe00", "\u034f", "\U000e0100"], ids=ascii)
def test_two_names_never_differ_in_what_is_not_seen(between: str) -> None:
    assert text.line(f"cn{between}n").startswith("cn\\")


def test_marks_do_not_pile_up() -> None:
    shown = text.line("Z" + "\u0301" * 1000, most=100_000)
    assert sum(1 for character in shown if unicodedata.combining(character)) == 5
    assert shown.count("\\u0301") == 995


def test_what_is_cut_says_so() -> None:
    assert text.line("x" * 50, most=10) == "xxxxxxxxx…"
    assert text.line("\x1b" * 50, most=10) == "\\x1b\\x1b\\…"
    assert len(text.lines("x\n" * 1_000_000)) == text.MOST_IN_LINES
    assert text.within("é" * 10, 9) == "ééé…"
    assert text.within("é" * 10, 20) == "é" * 10


@given(anything, st.integers(min_value=5, max_value=40))
def test_nothing_harmful_ever_comes_out(words: str, most: int) -> None:
    for shown, kept in ((text.line(words, most), ""), (text.lines(words, most), "\n\t"), (str(text.cell(words)), "")):
        assert not [character for character in shown if character in HARMFUL and character not in kept]
        shown.encode()  # no surrogate is left
    assert len(text.line(words, most)) <= most
    assert len(text.lines(words, most)) <= most


@given(anything)
def test_what_went_through_goes_through_unchanged(words: str) -> None:
    assert text.line(text.line(words)) == text.line(words)
    assert text.lines(text.lines(words)) == text.lines(words)
    assert text.is_clean(text.lines(words))


@given(nested)
def test_json_reads_back_as_the_same_and_harms_no_terminal(value: object) -> None:
    for indent in (None, 2):
        shown = text.json_line(value, indent=indent)
        assert json.loads(shown) == value
        assert not [character for character in shown if character in HARMFUL and character != "\n"]


@pytest.mark.parametrize("words", ["=1+1", "+cmd|'/C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", " =1", "\uff1d1+1"])
def test_no_cell_is_a_formula(words: str) -> None:
    assert str(text.cell(words)).startswith("'")


@pytest.mark.parametrize("value", [-1.5, 0, None, True, "-1.5e-07", "+3", "0.5", "nan", "cnn", "-inf", ""])
def test_numbers_and_plain_words_stay_in_their_cells(value: object) -> None:
    assert text.cell(value) is value or text.cell(value) == value


def test_a_cell_with_commas_quotes_and_newlines_stays_one_cell() -> None:
    stream = io.StringIO()
    csv.writer(stream).writerow([text.cell('a,"b"\n=1'), "c"])
    assert next(csv.reader(io.StringIO(stream.getvalue()))) == ['a,"b"\\n=1', "c"]


PRINTERS = {"echo", "secho", "confirm", "prompt", "echo_via_pager"}
DRAWERS = {"Console", "Live", "Markdown", "Panel", "Text", "print"}


def _prints(path: Path) -> list[str]:
    """Where a module writes to a terminal, or draws there, by itself; what annotations alone import does not."""
    tree = ast.parse(path.read_text())
    annotations = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found = []
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="print")):
                found.append(f"line {node.lineno}: print")
            case ast.Attribute(value=ast.Name(id="typer"), attr=name) if name in PRINTERS:
                found.append(f"line {node.lineno}: typer.{name}")
            case ast.Attribute(value=ast.Attribute(value=ast.Name(id="sys"), attr=name), attr="write" | "buffer"):
                found.append(f"line {node.lineno}: sys.{name}")
            case ast.ImportFrom(module=str(module), names=names) if module.startswith("rich"):
                drawn = [name.name for name in names if name.name in DRAWERS and id(node) not in annotations]
                found += [f"line {node.lineno}: {name}" for name in drawn]
            case _:
                pass
    return found


def _beside_the_console() -> list[Path]:
    cli = sorted((ROOT / "core/velodrome/cli").rglob("*.py"))
    main = ROOT / "core/velodrome/__main__.py"
    return [main, *(path for path in cli if path.name not in ("console.py", "screen.py"))]


@pytest.mark.parametrize("path", _beside_the_console(), ids=lambda path: str(path.relative_to(ROOT)))
def test_nobody_prints_but_the_console(path: Path) -> None:
    assert _prints(path) == []


def test_a_module_that_prints_is_found(tmp_path: Path) -> None:
    path = tmp_path / "bad.py"
    path.write_text("import sys, typer\nprint(1)\ntyper.echo(2)\nsys.stdout.write('3')\nfrom rich.live import Live\n")
    assert len(_prints(path)) == 4


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (("velodrome", "results", "digits"), "velodrome results digits"),
        (("velodrome", "run", "my jobs/a;b.yaml"), "velodrome run 'my jobs/a;b.yaml'"),
        (("velodrome", "show", "x/INDEX"), "velodrome show x/INDEX"),
        (("velodrome", "run", "$(reboot)\x1b.yaml"), "velodrome run '$(reboot)\\x1b.yaml'"),
    ],
)
def test_a_command_to_copy_is_quoted_for_a_shell(words: tuple[str, ...], shown: str) -> None:
    assert text.command(*words) == shown


@pytest.mark.parametrize(
    ("share", "sign", "words"),
    [
        (0.0178, "+", "+1.8 %"),
        (-0.0178, "+", "-1.8 %"),
        (1.2, "", "120 %"),
        (1e-6, "+", "+0.0001 %"),
        (0.0, "+", "+0 %"),
        (-1.1e-16, "+", "+0 %"),
        (-0.0, "", "0 %"),
        (9.9e-7, "", "0 %"),
    ],
)
def test_a_share_in_percent_has_no_exponent_and_zero_no_minus(share: float, sign: str, words: str) -> None:
    assert text.percent(share, sign) == words

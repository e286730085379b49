r"""The one door for text of others to a terminal, a page, a status condition, an Event or a CSV file. Pure.

Names, messages, logs and conditions come from runners, from users and from other teams. Text that leaves this module
can't move a cursor, change a title, change a line's direction, hide a character or imitate a line. Each such character
is shown as a readable escape (`\x1b`, `\u202e`), and none is dropped. Ordinary text of every language stays as it is,
including emoji and accents. A second time through changes nothing.

These characters are escaped:

- control characters (C0, C1, DEL), and Unicode's ends of lines and paragraphs;
- format characters: marks that change directions, zero-width characters, tags;
- lone surrogates, unassigned characters, and characters for private use;
- letters that draw nothing, and combining marks from the sixth on one base.

These are kept although they draw nothing by themselves: joiners inside a script that needs them (Arabic, the Indic
scripts, Khmer, Mongolian) and between emoji, and the selector that follows a symbol. A backslash stays as it is: use
`--json` to get the value itself.
"""

from __future__ import annotations

import json
import re
import shlex
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, Final

# The default limit, in code points.
MOST_IN_LINE: Final = 4096
MOST_IN_LINES: Final = 262_144

# Hebrew with its points and accents has the most marks on one base: five.
_MOST_MARKS: Final = 5

_ESCAPED_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# Assigned letters and marks that draw nothing (Default_Ignorable_Code_Point of Unicode's DerivedCoreProperties), and
# the braille pattern without a dot: two names that differ in these alone would look the same.
_DRAWN_AS_NOTHING: Final = frozenset(
    (
        *(0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0),
        *range(0x180B, 0x1810),
        *range(0xFE00, 0xFE0E),
        *range(0xE0100, 0xE01F0),
    )
)
_SELECTORS: Final = ("\ufe0e", "\ufe0f")  # text or emoji
_JOINERS: Final = ("\u200c", "\u200d")
# Scripts that are written with joiners, as ranges of code points.
_JOINING_SCRIPTS: Final = ((0x0600, 0x08FF), (0x0900, 0x0DFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x1800, 0x18AF))
_NAMED_ESCAPES: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_CUT: Final = "…"


def line(text: object, most: int = MOST_IN_LINE) -> str:
    """One line: a name, a message, a cell of a table. Ends of lines and tabs are escapes too.

    At most `most` code points; what is cut ends with `…`.
    """
    return _passed(str(text), most, kept="")


def lines(text: object, most: int = MOST_IN_LINES) -> str:
    """Several lines: a log, a report of what is wrong. Newlines and tabs are kept, and CR LF is one newline.

    At most `most` code points; what is cut ends with `…`.
    """
    return _passed(str(text).replace("\r\n", "\n"), most, kept="\n\t")


def indented(text: object, most: int = MOST_IN_LINE) -> str:
    """Several lines within other text. All but the first are indented, so that none imitates a line of Velodrome's."""
    return lines(text, most).strip("\n").replace("\n", "\n    ")


def within(text: str, octets: int) -> str:
    """The text, cut to at most this many bytes of UTF-8. Cut text ends with `…`."""
    encoded = text.encode("utf-8", "backslashreplace")
    if len(encoded) <= octets:
        return text
    return encoded[: octets - len(_CUT.encode())].decode("utf-8", "ignore") + _CUT


def command(*words: object) -> str:
    """A command for people to copy: each word quoted for a shell where it has to be."""
    return line(shlex.join(map(str, words)))


def counted(number: int, one: str, many: str | None = None) -> str:
    """A number with its noun: `1 trial`, `6 trials`, `1,200 entries`."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def cell(value: object) -> object:
    """A cell of a CSV file, which people open in a spreadsheet.

    Text goes through `line`, and gets an apostrophe in front if a spreadsheet would read it as a formula. Numbers, and
    text that is only a number, stay as they are.
    """
    if not isinstance(value, str):
        return value
    shown = line(value)
    starts_formula = shown.lstrip()[:1] in _FORMULA_STARTS or value[:1] in ("\t", "\r", "\n")
    return f"'{shown}" if starts_formula and not _NUMBER.fullmatch(shown) else shown


# The last four are the wide forms of East Asian text, which some spreadsheets read as the first four.
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_NUMBER: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|nan)", re.ASCII)


def json_line(value: Any, *, indent: int | None = None) -> str:
    """JSON that reads back as the same value and is safe on a terminal."""
    return escaped_json(json.dumps(value, ensure_ascii=False, indent=indent))


def escaped_json(document: str) -> str:
    """The same JSON, with JSON's own escape for each character that is unsafe on a terminal."""
    if document.isascii() and "\x7f" not in document:
        return document  # JSON escapes the control characters below a space by itself
    return "".join(
        character if character in " \n" or shown is None else _json_escape(character)
        for character, shown in _judged(document, "\n")
    )


def ascii_json(document: str) -> str:
    """The same JSON in ASCII, with JSON's own escape for each other character."""
    return _BEYOND_ASCII.sub(lambda found: json.dumps(found[0])[1:-1], document)


_BEYOND_ASCII: Final = re.compile(r"[^\x00-\x7f]")


def is_clean(text: str) -> bool:
    """Whether `lines` would leave every character of the text as it is."""
    return all(shown is None for _, shown in _judged(text, "\n\t"))


def _passed(text: str, most: int, *, kept: str) -> str:
    cut = text[: most + 1]  # an escape is longer than its character, so this many characters are enough
    if not (cut.isascii() and cut.isprintable()):
        cut = "".join(character if shown is None else shown for character, shown in _judged(cut, kept))
    if len(cut) <= most:
        return cut
    cut = cut[: most - len(_CUT)]
    return cut.rstrip("".join(_JOINERS)) + _CUT


def _judged(text: str, kept: str) -> Iterator[tuple[str, str | None]]:
    """Each character with its escape, or None if it stays as it is."""
    marks = 0
    before = ""  # the last character, if it stays as it is
    for position, character in enumerate(text):
        if character in kept:
            stays = True
        elif character in _JOINERS:
            stays = _joins(before, text[position + 1 : position + 2])
        elif character in _SELECTORS:
            stays = bool(before) and (_is_symbol(before) or before in "0123456789#*‼⁉")
        else:
            stays = not _is_escaped(character)
        marks = marks + 1 if unicodedata.combining(character) or _is_mark(character) else 0
        stays = stays and marks <= _MOST_MARKS
        yield character, None if stays else _escape(character)
        before = character if stays else ""


@lru_cache(maxsize=4096)
def _is_escaped(character: str) -> bool:
    return unicodedata.category(character) in _ESCAPED_CATEGORIES or ord(character) in _DRAWN_AS_NOTHING


def _is_mark(character: str) -> bool:
    return unicodedata.category(character) in ("Mn", "Me")


def _is_symbol(character: str) -> bool:
    return unicodedata.category(character) in ("So", "Sm", "Sk")


def _joins(before: str, after: str) -> bool:
    """Whether a joiner has a purpose between these two characters."""
    if not before or not after:
        return False
    if _is_joining(before) and _is_joining(after):
        return True
    emoji = (_is_symbol(before) or before in _SELECTORS) and ord(before) > 0xA9
    return emoji and unicodedata.category(after) == "So" and ord(after) > 0xA9


def _is_joining(character: str) -> bool:
    code = ord(character)
    in_script = any(low <= code <= high for low, high in _JOINING_SCRIPTS)
    return in_script and unicodedata.category(character) in ("Lo", "Lm", "Mn", "Mc")


def _escape(character: str) -> str:
    code = ord(character)
    if character in _NAMED_ESCAPES:
        return _NAMED_ESCAPES[character]
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _json_escape(character: str) -> str:
    return json.dumps(character)[1:-1] if character != "\x7f" else "\\u007f"


def listed(names: Sequence[str], most: int = 3) -> str:
    """`a`, `a and b`, `a, b and c`, or `a, b, c and 4 more`."""
    shown, rest = list(names[:most]), len(names) - most
    tail = f"{rest} more" if rest > 0 else shown.pop()
    return f"{', '.join(shown)} and {tail}" if shown else tail


def percent(share: float, sign: str = "+") -> str:
    """A share in percent, with two significant digits and no exponent: `+1.8 %`; with `sign=""`: `1.8 %`, `120 %`.

    Less than 0.0001 % is `+0 %`, as is what rounding left of nothing.
    """
    scaled = 100 * share if abs(share) >= 1e-6 else 0.0
    return f"{scaled:{sign}.2g} %" if abs(scaled) < 99.5 else f"{scaled:{sign}.0f} %"

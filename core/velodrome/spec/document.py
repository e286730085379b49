"""Parses YAML or JSON text into plain values, with the line of each. Pure.

The text is read as kubectl reads it: `yes`, `no`, `on`, `off`, `y` and `n` are booleans, `1e-3` is a number, dates are
text, and a JSON object is YAML too. Three things are errors here, although kubectl accepts them: a key that is written
twice, a value that JSON can't express, and a document whose aliases unfold to far more than was written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from velodrome.errors import Problem
from velodrome.spec.wording import Location, dotted

# Far more than the largest BenchmarkJob has: 1,000 entries with every override are some 30,000 values.
MOST_VALUES = 200_000
DEEPEST = 64

_TAG = "tag:yaml.org,2002:"


@dataclass(slots=True)
class Document:
    """One document: its value in JSON's types, and the line, counted from 1, of everything in it."""

    value: Any = None
    lines: dict[Location, int] = field(default_factory=dict)


def parse(text: str) -> tuple[list[Document], list[Problem]]:
    """The documents of a text, and the problems of those that can't be read. Empty documents are left out."""
    documents: list[Document] = []
    problems: list[Problem] = []
    try:
        for node in _nodes(_as_yaml(text)):
            document = Document(lines={(): node.start_mark.line + 1})
            document.value = _Builder(document.lines, problems).value(node, ())
            if document.value is not None:
                documents.append(document)
    except _Unreadable as error:
        problems.append(error.problem)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        problems.append(Problem("YAML", f"character U+{int(error.character):04X} is not allowed", line=line))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message, hint = error.problem or "can't be read", error.context or ""
        if error.context and error.context_mark:
            hint += f" that begins in line {error.context_mark.line + 1}"
        message, hint = _plainly(message, hint)
        problems.append(Problem("YAML", message, hint, mark.line + 1 if mark else None))
    except RecursionError:
        problems.append(Problem("YAML", f"is nested more than {DEEPEST} levels deep"))
    return documents, problems


# PyYAML's words for what people do wrong most often, each with plainer ones and the fix. {} is PyYAML's own hint.
_PLAINLY: Final = (
    (r"found character '\\t'", "a tab can't stand here", "indent with spaces"),
    (
        "expected <block end>, but found",
        "is not indented like the lines that it belongs to",
        "fields of one mapping, and items of one list, begin in the same column: {}",
    ),
    (
        "mapping values are not allowed here",
        "a second ': ' can't stand in one line",
        "perhaps the line is indented too far, or a text with ': ' lacks its quotes",
    ),
    (
        "could not find expected ':'",
        "a field lacks the colon behind its name",
        "write NAME: VALUE, with a space behind the colon: {}",
    ),
    (r"expected ',' or '[\]}]'", "{} is not closed, or lacks a comma", "close it with the same kind of bracket"),
)


def _plainly(message: str, hint: str) -> tuple[str, str]:
    """PyYAML's message and hint in words of those who write a file."""
    for pattern, plain, fix in _PLAINLY:
        if re.search(pattern, message):
            return plain.format(hint.removeprefix("while parsing ")), fix.format(hint)
    return message, hint


def parse_json(text: str) -> Any:
    """The value of a JSON object in which no key is written twice; ten times as fast as `parse`, but without lines.

    Raises:
        ValueError: the text is something else.
        RecursionError: it is nested too deeply.
    """
    if not text.lstrip().startswith("{"):
        raise ValueError("no JSON object")
    return json.loads(text, parse_float=_float, object_pairs_hook=_unique)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("a key is written twice")
    return fields


def _as_yaml(text: str) -> str:
    """The same JSON, line by line, with escapes for what YAML can't read: tabs, and characters unknown to YAML."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return text
    # Tabs occur only between values, and non-ASCII characters only in strings, where an escape means the same.
    return re.sub(r"[^\n\r -~]", lambda match: json.dumps(match[0])[1:-1], text.replace("\t", " "))


class _Unreadable(Exception):
    """The rest of the document can't be read."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


class _Loader(yaml.SafeLoader):
    """PyYAML's parser, with kubectl's rules for scalars."""


_WORDS = "|".join(f"{word}|{word.title()}|{word.upper()}" for word in ("yes", "no", "true", "false", "on", "off"))
_NUMBER = r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
_DIGITS = list("0123456789")

# Each tag's spelling and first characters; the first that matches counts.
_Loader.yaml_implicit_resolvers = {}
for _name, _pattern, _first in (
    ("bool", rf"y|Y|n|N|{_WORDS}", list("yYnNtTfFoO")),
    ("int", r"[-+]?(0b[01_]+|0x[0-9a-fA-F_]+|0[0-7_]*|[1-9][0-9_]*)", ["-", "+", *_DIGITS]),
    ("float", rf"{_NUMBER}|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", ["-", "+", ".", *_DIGITS]),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("merge", r"<<", ["<"]),
):
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(f"^(?:{_pattern})$"), _first)


def _nodes(text: str) -> Iterator[yaml.Node]:
    loader = _Loader(text)
    try:
        while loader.check_node():
            node: yaml.Node | None = loader.get_node()
            if node is not None:
                yield node
    finally:
        loader.dispose()


# The fields of a mapping by name, each with the line of its key.
_Fields = dict[str, tuple[yaml.Node, int]]


class _Builder:
    """Builds one document's value from its nodes, noting lines in `lines` and repeated keys in `problems`."""

    def __init__(self, lines: dict[Location, int], problems: list[Problem]) -> None:
        self._lines = lines
        self._problems = problems
        self._steps = 0

    def value(self, node: yaml.Node, here: Location) -> Any:
        """The node's value, with every alias in it unfolded."""
        line = node.start_mark.line + 1
        self._step(line)
        if len(here) > DEEPEST:
            raise _Unreadable(Problem(dotted(here[:3]), f"is nested more than {DEEPEST} levels deep", line=line))
        if isinstance(node, yaml.ScalarNode):
            return _scalar(node, here)
        if node.tag not in (_TAG + "seq", _TAG + "map"):
            raise _no_json(node, here)
        if isinstance(node, yaml.MappingNode):
            fields = self._fields(node, here)
            self._lines |= {(*here, name): line for name, (_, line) in fields.items()}
            return {name: self.value(item, (*here, name)) for name, (item, _) in fields.items()}
        self._lines |= {(*here, index): item.start_mark.line + 1 for index, item in enumerate(node.value)}
        return [self.value(item, (*here, index)) for index, item in enumerate(node.value)]

    def _step(self, line: int) -> None:
        self._steps += 1
        if self._steps > MOST_VALUES:
            message = f"holds more than {MOST_VALUES:,} values once its aliases are unfolded"
            raise _Unreadable(Problem("YAML", message, line=line))

    def _fields(self, node: yaml.MappingNode, here: Location, depth: int = 0) -> _Fields:
        """The fields that the mapping merges in and does not have itself, and then its own fields."""
        own: _Fields = {}
        merged: _Fields = {}
        for key, item in node.value:
            line = key.start_mark.line + 1
            self._step(line)
            if key.tag == _TAG + "merge":
                merged = self._merged(item, here, depth) | merged
                continue
            name = _key(key, here)
            if name in own and depth == 0:
                self._problems.append(Problem(dotted((*here, name)), "is written twice", "keep one", line))
            own[name] = (item, line)
        return merged | own

    def _merged(self, node: yaml.Node, here: Location, depth: int) -> _Fields:
        """The fields of the mapping, or of the list of mappings, after `<<`. The first mapping with a field counts."""
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        fields: _Fields = {}
        for source in sources:
            if isinstance(source, yaml.MappingNode) and depth < DEEPEST:
                fields = self._fields(source, here, depth + 1) | fields
            else:
                line = source.start_mark.line + 1
                self._problems.append(Problem(dotted(here), "<< takes a mapping or a list of mappings", line=line))
        return fields


def _key(node: yaml.Node, here: Location) -> str:
    """A key as text, as JSON spells it: a bare `y` is the key "true"."""
    value = _scalar(node, here) if isinstance(node, yaml.ScalarNode) else None
    if value is None:
        raise _Unreadable(Problem(dotted(here), "has a key that is no text", line=node.start_mark.line + 1))
    return value if isinstance(value, str) else json.dumps(value)


def _scalar(node: yaml.Node, here: Location) -> Any:
    text = str(node.value)
    try:
        match node.tag.removeprefix(_TAG):
            case "str" | "merge":
                # An escaped surrogate pair, as JSON writes it, is one character.
                return text.encode("utf-16", "surrogatepass").decode("utf-16")
            case "bool":
                return text.casefold() in ("y", "yes", "true", "on")
            case "int":
                return _integer(text)
            case "float":
                return _float(text)
            case "null":
                return None
    except ValueError as error:
        line = node.start_mark.line + 1
        raise _Unreadable(Problem(dotted(here), f"{text[:60]!r} can't be read", line=line)) from error
    raise _no_json(node, here)


def _no_json(node: yaml.Node, here: Location) -> _Unreadable:
    message = f"JSON has no form for {node.tag.removeprefix(_TAG)}"
    return _Unreadable(Problem(dotted(here), message, "leave the tag out", node.start_mark.line + 1))


def _integer(text: str) -> int:
    """An integer as YAML 1.1 writes it: 12, 1_000, 0x1f, 0b101, and 017 for 15."""
    digits = text.replace("_", "")
    octal = re.fullmatch(r"([-+]?)0([0-7]+)", digits)
    return int(f"{octal[1]}{octal[2]}", 8) if octal else int(digits, 0)


def _float(text: str) -> float | int:
    """A number. A whole number becomes an integer, as when kubectl sends it."""
    value = float(re.sub(r"(?i)\.(inf|nan)", r"\1", text))
    return int(value) if value.is_integer() and abs(value) < 2**53 else value

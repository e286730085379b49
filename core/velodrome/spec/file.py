"""BenchmarkJobs from YAML or JSON text, with every problem reported at once, each with its line.

The text is read as kubectl reads it (YAML 1.1 booleans, `1e-3` a number), but a key written twice is an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from velodrome.errors import Problem, SpecError
from velodrome.spec.model import BenchmarkJob
from velodrome.spec.rules import Location, broken_rules, dotted
from velodrome.spec.types import suggestion

_LARGEST_FILE = 8 * 1024 * 1024


def read_jobs(path: Path) -> tuple[BenchmarkJob, ...]:
    """Every BenchmarkJob of a file, `-` being standard input's own affair.

    Raises:
        SpecError: the file can't be read, or anything in it is wrong.
    """
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise SpecError((Problem("file", f"is larger than {_LARGEST_FILE} bytes"),), str(path))
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SpecError((Problem("file", f"can't be read: {error.strerror or error}"),), str(path)) from error
    except UnicodeDecodeError as error:
        raise SpecError((Problem("file", f"is not UTF-8 text: {error.reason}"),), str(path)) from error
    return parse_jobs(text, str(path))


def parse_jobs(text: str, source: str = "BenchmarkJob") -> tuple[BenchmarkJob, ...]:
    """Every BenchmarkJob of a text of one or more YAML documents.

    Raises:
        SpecError: with the problems of all documents, in order.
    """
    problems: list[Problem] = []
    jobs: list[BenchmarkJob] = []
    for value, lines in _documents(text, problems):
        try:
            jobs.append(validate(value, lines, source))
        except SpecError as error:
            problems.extend(error.problems)
    if not jobs and not problems:
        problems.append(Problem("file", "holds no BenchmarkJob"))
    if problems:
        raise SpecError(tuple(problems), source)
    return tuple(jobs)


def validate(document: Any, lines: Mapping[Location, int] | None = None, source: str = "BenchmarkJob") -> BenchmarkJob:
    """One BenchmarkJob from plain values; `lines` tells where each location was written.

    Raises:
        SpecError: with every problem of the document.
    """
    lines = lines or {}
    found: list[tuple[Location, str, str]] = [(b.location, b.message, b.hint) for b in broken_rules(document)]
    try:
        job = BenchmarkJob.model_validate_json(json.dumps(document, default=str), strict=True)
    except ValidationError as error:
        found = [_told(detail) for detail in error.errors() if detail["loc"] and not _echo(detail)] + found
    else:
        if not found:
            return job
    unique = {(location, message): (location, message, hint) for location, message, hint in reversed(found)}
    shown = [item for item in unique.values() if not _shadowed(item[0], item[1], found)]
    problems = [Problem(dotted(at) or "document", message, hint, _line(at, lines)) for at, message, hint in shown]
    raise SpecError(tuple(sorted(problems, key=lambda p: (p.line or 0, p.path))), source)


def _echo(detail: ErrorDetails) -> bool:
    """A list whose items are all wrong is also reported as too short; the items are the news."""
    return detail["type"] == "too_short" and bool(detail["input"])


def _shadowed(location: Location, message: str, found: list[tuple[Location, str, str]]) -> bool:
    """An unknown field that a rule explains better needs no second line."""
    return message.startswith("unknown field") and any(at == location and text != message for at, text, _ in found)


def _line(location: Location, lines: Mapping[Location, int]) -> int | None:
    """The line of the location, or of the closest thing around it that was written."""
    for end in range(len(location), -1, -1):
        if location[:end] in lines:
            return lines[location[:end]]
    return None


def _told(detail: ErrorDetails) -> tuple[Location, str, str]:
    """A pydantic error in this project's words: location, message, hint."""
    location = tuple(detail["loc"])
    given, context = detail["input"], detail.get("ctx", {})
    match detail["type"]:
        case "extra_forbidden":
            name = str(location[-1])
            return location, f'unknown field "{name}"', suggestion(name, _fields_at(location[:-1]))
        case "missing":
            return location, "is missing", _description(location)
        case "literal_error":
            allowed = re.findall(r"'([^']*)'", str(context.get("expected")))
            return location, f"{_shown(given)} is not allowed here", suggestion(str(given), allowed)
        case "string_pattern_mismatch":
            return (
                location,
                f"{_shown(given)} has characters that are not allowed",
                f"it must match {context['pattern']}",
            )
        case "finite_number":
            return location, f"{_shown(given)} is not a finite number", _description(location)
        case _:
            hint = str(context["hint"]) if "hint" in context else _description(location)
            message = detail["msg"]
            return (
                location,
                message if "given" in context else f"{message[0].lower()}{message[1:]}, not {_shown(given)}",
                hint,
            )


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _fields_at(location: Location) -> list[str]:
    """The names that a mapping at this location may hold."""
    model = _model_at(location)
    return [field.alias or name for name, field in model.model_fields.items()] if model else []


def _description(location: Location) -> str:
    model = _model_at(location[:-1])
    for name, field in (model.model_fields if model else {}).items():
        if location[-1] in (name, field.alias):
            return (field.description or "").rstrip(".")
    return ""


def _model_at(location: Location) -> type[BaseModel] | None:
    annotation: Any = BenchmarkJob
    for part in location:
        if isinstance(part, int):
            continue
        model = _model_in(annotation)
        fields = model.model_fields if model else {}
        annotation = next((f.annotation for name, f in fields.items() if part in (name, f.alias)), None)
    return _model_in(annotation)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for arg in get_args(annotation) if (model := _model_in(arg))), None)


class _Loader(yaml.SafeLoader):
    """SafeLoader that reads `1e-3` as a number, as kubectl does, and dates as text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def _documents(text: str, problems: list[Problem]) -> list[tuple[Any, dict[Location, int]]]:
    loader = _Loader(text)
    documents = []
    try:
        while loader.check_node():
            node: Any = loader.get_node()
            lines: dict[Location, int] = {}
            _locate(node, (), lines, problems)
            value = loader.construct_document(node)
            if value is not None:
                documents.append((_json_keys(value), lines))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problems.append(Problem("YAML", error.problem or "can't be read", line=mark.line + 1 if mark else None))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        problems.append(Problem("YAML", f"can't be read: {error}"))
    finally:
        loader.dispose()
    return documents


def _locate(node: yaml.Node, here: Location, lines: dict[Location, int], problems: list[Problem]) -> None:
    """Notes the line of every location below `node`, and keys that are written twice."""
    lines.setdefault(here, node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _locate(item, (*here, index), lines, problems)
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, item in node.value:
            name = str(key.value)
            line = key.start_mark.line + 1
            if name in seen and key.tag != "tag:yaml.org,2002:merge":
                problems.append(Problem(dotted((*here, name)), "is written twice", "keep one", line))
            seen.add(name)
            lines[(*here, name)] = line
            _locate(item, (*here, name), lines, problems)


def _json_keys(value: Any) -> Any:
    """JSON's keys are text; YAML's may be numbers or booleans."""
    if isinstance(value, dict):
        return {key if isinstance(key, str) else str(key): _json_keys(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_json_keys(item) for item in value]
    return value

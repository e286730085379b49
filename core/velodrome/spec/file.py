"""BenchmarkJobs from files, texts and plain values. Reports every problem at once, each with its line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from velodrome import keys
from velodrome.errors import Problem, SpecError
from velodrome.spec.document import Document, parse, parse_json
from velodrome.spec.explain import explained
from velodrome.spec.generated import is_generated, named
from velodrome.spec.job import BenchmarkJob
from velodrome.spec.nulls import without_nulls
from velodrome.spec.raw import Broken
from velodrome.spec.rules import broken_rules
from velodrome.spec.wording import Location, close_match, dotted, shown

# A Kubernetes object can't be larger than about 1.5 MiB; a file may hold several.
_LARGEST_FILE = 4 * 1024 * 1024


def read_jobs(path: Path) -> tuple[BenchmarkJob, ...]:
    """Every BenchmarkJob of a YAML or JSON file.

    Raises:
        SpecError: the file can't be read, or anything in it is wrong.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        problem = Problem("file", f"can't be read: {error.strerror or error}", _beside(path))
        raise SpecError((problem,), str(path)) from error
    return decode_jobs(content, str(path))


def _beside(path: Path) -> str:
    """A hint at a file with a similar name in the same folder, for a file that is not there."""
    try:
        names = [] if path.exists() else [one.name for one in path.parent.iterdir() if one.is_file()]
    except OSError:
        names = []
    close = close_match(path.name, names)
    return f'did you mean "{path.with_name(close)}"?' if close else ""


def decode_jobs(content: bytes, source: str) -> tuple[BenchmarkJob, ...]:
    """Every BenchmarkJob of a file's content, whatever encoding this machine prefers.

    Raises:
        SpecError: it is not UTF-8 or too large, or anything in it is wrong.
    """
    if len(content) > _LARGEST_FILE:
        raise SpecError((Problem("file", f"is larger than {_LARGEST_FILE // 1024**2} MiB"),), source)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        problem = Problem("file", f"is not UTF-8 text: {error.reason}", "save it as UTF-8", line)
        raise SpecError((problem,), source) from error
    return parse_jobs(text, source)


def parse_jobs(text: str, source: str = "BenchmarkJob") -> tuple[BenchmarkJob, ...]:
    """Every BenchmarkJob of a text of one or more YAML documents, or of one JSON object, as kubectl takes them.

    A List stands for its items. Beside BenchmarkJobs there may be objects of other kinds, which are left out.

    Raises:
        SpecError: with the problems of all documents, in the order of the text.
    """
    try:
        return (validate(parse_json(text), source=source),)
    except (ValueError, RecursionError, SpecError):
        documents, problems = parse(text)  # every problem is reported with its line
    documents = _benchmark_jobs([one for document in documents for one in _unfolded(document)])
    if not documents and not problems:
        problems.append(Problem("file", "holds no BenchmarkJob", "it starts with apiVersion, kind, metadata and spec"))
    jobs: dict[tuple[str, str], BenchmarkJob] = {}
    for document in documents:
        try:
            job = validate(document.value, document.lines, source)
        except SpecError as error:
            problems.extend(error.problems)
            continue
        identity = (job.namespace, job.metadata.name)
        if identity in jobs:
            line = document.lines.get(("metadata", "name"))
            problems.append(Problem("metadata.name", f"another document is called {identity[1]} too", line=line))
        jobs[identity] = job
    if problems:
        raise SpecError(tuple(sorted(problems, key=lambda problem: problem.line or 0)), source)
    return tuple(jobs.values())


def _unfolded(document: Document) -> Iterator[Document]:
    """The document itself, or the items of a List, each with its lines."""
    value = document.value
    if not isinstance(value, dict) or value.get("kind") != "List" or not isinstance(value.get("items"), list):
        yield document
        return
    lines: dict[Location, dict[Location, int]] = {}
    for location, line in document.lines.items():
        if location[:1] == ("items",) and len(location) > 1:
            lines.setdefault(location[:2], {})[location[2:]] = line
    for place, item in enumerate(value["items"]):
        yield from _unfolded(Document(item, lines.get(("items", place), {})))


def _benchmark_jobs(documents: list[Document]) -> list[Document]:
    """Those that are not plainly something else; all, where every one is."""
    return [one for one in documents if not _is_of_others(one.value)] or documents


def _is_of_others(value: Any) -> bool:
    """Whether it is an object of others: of another kind, and of another group than Velodrome's."""
    if not isinstance(value, dict):
        return False
    kind, version = value.get("kind"), value.get("apiVersion")
    if not isinstance(kind, str) or not isinstance(version, str) or version.startswith(f"{keys.GROUP}/"):
        return False
    return close_match(kind, [keys.KIND]) is None


def validate(document: Any, lines: Mapping[Location, int] | None = None, source: str = "BenchmarkJob") -> BenchmarkJob:
    """One BenchmarkJob from plain values; `lines` has the line of each location.

    A null field that may be absent counts as absent (`nulls`). A name may be generated (`generated`).

    Raises:
        SpecError: with every problem of the document, in the order of the file, or of the fields if it has no lines.
    """
    lines = lines or {}
    generated = is_generated(document)
    try:
        document = named(without_nulls(document))
        text = json.dumps(document)
    except (TypeError, ValueError, RecursionError) as error:
        raise SpecError((Problem("document", f"is not JSON: {error}"),), source) from error
    try:
        # Names as in Kubernetes: the Python names of fields are not part of the object.
        return BenchmarkJob.model_validate_json(text, strict=True, by_alias=True, by_name=False)
    except ValidationError as error:
        found = _found(document, error)
    if generated:  # a problem of the generated name is a problem of `generateName`
        of_name, prefix = ("metadata", "name"), ("metadata", "generateName")
        found = [broken._replace(location=prefix) if broken.location == of_name else broken for broken in found]
    problems = [Problem(dotted(at), message, hint, _line(at, lines)) for at, message, hint in found]
    raise SpecError(tuple(sorted(problems, key=lambda problem: problem.line or 0)), source)


def _found(document: Any, error: ValidationError) -> list[Broken]:
    """All problems of a document that the model refused."""
    details = error.errors(include_url=False)
    if details[0]["type"] == "json_invalid":
        return [Broken((), f"can't be read as JSON: {details[0]['ctx']['error']}")]
    kind = document.get("kind") if isinstance(document, dict) else None
    if isinstance(kind, str) and close_match(kind, [keys.KIND]) is None:
        return [Broken(("kind",), f"{shown(kind)} is another kind of object", f"only {keys.KIND} is read here")]
    broken = broken_rules(document)
    found = []
    for detail in details:
        location = tuple(detail["loc"])
        if not location and detail["type"] == "value_error":
            continue  # the model's own error for broken rules
        if detail["type"] == "too_short" and len(detail["input"]) >= detail["ctx"]["min_length"]:
            continue  # pydantic also calls a list too short when all its items are wrong; report the items
        found.append(explained(detail))
    return found + broken


def _line(location: Location, lines: Mapping[Location, int]) -> int | None:
    """The line of the location, or of the closest surrounding part that was written."""
    return next((lines[location[:end]] for end in range(len(location), -1, -1) if location[:end] in lines), None)

"""Checks the names in a job that is to be stored by the rules of a BenchmarkJob. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import TypeAdapter, ValidationError

from velodrome.results.objectives import board_objectives
from velodrome.results.records import JobInfo
from velodrome.spec import Regression
from velodrome.spec.types import DNS_LABEL, ENTRY_NAME, PATTERNS, EntryName, Name

_OBJECT: TypeAdapter[str] = TypeAdapter(Name)
_ENTRY: TypeAdapter[str] = TypeAdapter(EntryName)


def check_names(job: JobInfo) -> None:
    """Checks that a file may have the names of the job, its namespace and board, its entries and its objectives.

    Raises:
        ValueError: a file may not; the message names the field and says what to write.
    """
    for field, text in (("name", job.name), ("namespace", job.namespace), ("board", job.board)):
        _check(_OBJECT, f"the job's {field}", text, DNS_LABEL)
    for entry in job.entries:
        check_entry(entry)
    for name in _objectives(job):
        _check(_OBJECT, "an objective of the job", name, DNS_LABEL)


def check_entry(name: str) -> None:
    """Checks that an entry may have this name. Raises as `check_names` does."""
    _check(_ENTRY, "an entry", name, ENTRY_NAME)


def check_namespace(name: object) -> None:
    """Checks that the owner of a board may have this name. Raises as `check_names` does."""
    _check(_OBJECT, "the owner of a board", name, DNS_LABEL)


def check_document(job: JobInfo) -> None:
    """Checks that the job's document can be read, as far as it is used: its objectives and its rules of regressions.

    Raises:
        ValueError: it can't; the message says why.
    """
    try:
        board_objectives([job])
        Regression.model_validate(job.document["spec"].get("regression") or {})
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise ValueError(
            f"the document of job {job.uid} is no BenchmarkJob: {type(error).__name__}: {error}"
        ) from error


def _objectives(job: JobInfo) -> Iterator[object]:
    for objective in job.document["spec"].get("objectives") or ():
        yield objective["name"] if isinstance(objective, Mapping) else objective


def _check(kind: TypeAdapter[str], what: str, text: object, pattern: str) -> None:
    try:
        kind.validate_python(text)
    except ValidationError as error:
        raise ValueError(f"{what} can't be called {text!r}: write up to 63 {PATTERNS[pattern]}") from error

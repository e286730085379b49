"""An error as JSON, for programs that asked for JSON. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from velodrome.errors import NotThere, Problem, SpecError, TryAgain, VelodromeError


def error_document(error: VelodromeError, code: int) -> dict[str, Any]:
    """The error: its reason for programs, its text for people, whether the same command may succeed later, and its
    problems, if a BenchmarkJob is wrong.
    """
    field = error.field if isinstance(error, NotThere) else None
    problems = problems_of(error.problems if isinstance(error, SpecError) else ())
    return _document(error.reason, str(error), field, code, again=isinstance(error, TryAgain), problems=problems)


def usage_document(reason: str, message: str, field: str | None, code: int) -> dict[str, Any]:
    """A mistake in the command itself: `field` names the option or the argument, if one is wrong."""
    return _document(reason, message, field, code, again=False, problems=[])


def _document(
    reason: str, message: str, field: str | None, code: int, *, again: bool, problems: list[dict[str, Any]]
) -> dict[str, Any]:
    told = {
        "reason": reason,
        "message": message,
        "field": field,
        "try_again": again,
        "exit_code": code,
        "problems": problems,
    }
    return {"error": told}


def problems_of(problems: Iterable[Problem]) -> list[dict[str, Any]]:
    """Every problem: its field, what is wrong, what to write instead (maybe empty), and its line, if that is known."""
    return [{"field": one.path, "message": one.message, "hint": one.hint, "line": one.line} for one in problems]

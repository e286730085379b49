"""One tree of errors with two branches, so that whoever calls an edge catches a branch and never lists leaves."""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path

import pytest

from velodrome.errors import ActionNeeded, StoreRefused, StoreUnavailable, TryAgain, VelodromeError

ROOT = Path(__file__).parents[2]
PACKAGES = (
    "core/velodrome",
    "operator/velodrome_operator",
    "runner/velodrome_runner",
    "leaderboard/velodrome_leaderboard",
)
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts[1:]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def errors_raised_by(path: Path) -> list[type[VelodromeError]]:
    """The classes of this tree that a file defines; only files that say so are imported."""
    if "Error" not in (text := path.read_text()) and "Unavailable" not in text:
        return []
    bases = ("VelodromeError", "TryAgain", "ActionNeeded", "StoreUnavailable", "StoreRefused", "ConfigurationError")
    defined = [
        node.name
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ClassDef)
        and any(isinstance(base, ast.Name) and base.id in bases for base in node.bases)
    ]
    found = [getattr(importlib.import_module(module_of(path)), name) for name in defined]
    return [one for one in found if inspect.isclass(one) and issubclass(one, VelodromeError)]


def test_every_error_is_of_one_of_two_kinds() -> None:
    found = [error for path in FILES for error in errors_raised_by(path)]
    leaves = [error for error in found if error not in (TryAgain, ActionNeeded, VelodromeError)]

    assert {error.__name__ for error in leaves} >= {"StoreRefused", "SpecError", "NameTaken", "Conflict", "PeerLost"}
    for error in leaves:
        assert issubclass(error, TryAgain) != issubclass(error, ActionNeeded), error
        assert error.reason not in ("Error", "TryAgain", "ActionNeeded"), f"{error} has no reason of its own"


def test_nobody_raises_what_says_neither() -> None:
    raised = {
        f"{path}:{node.lineno}"
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Raise)
        and isinstance(node.exc, ast.Call)
        and isinstance(node.exc.func, ast.Name)
        and node.exc.func.id in ("VelodromeError", "TryAgain", "ActionNeeded")
    }

    assert raised == set()


def test_no_handler_lists_errors_of_this_tree() -> None:
    """A tuple of leaves forgets the next one."""
    ours = {error.__name__ for path in FILES for error in errors_raised_by(path)}
    listed = [
        f"{path}:{node.lineno}"
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ExceptHandler)
        and isinstance(node.type, ast.Tuple)
        and sum(isinstance(one, ast.Name) and one.id in ours for one in node.type.elts) > 1
    ]

    assert listed == []


@pytest.mark.parametrize(("error", "kind"), [(StoreUnavailable, TryAgain), (StoreRefused, ActionNeeded)])
def test_a_store_says_which_kind(error: type[VelodromeError], kind: type[VelodromeError]) -> None:
    assert issubclass(error, kind)

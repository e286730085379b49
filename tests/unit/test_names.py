"""One noun, one thing: a public class name stands once in the project, and no module is called by a gerund."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = (
    "core/velodrome",
    "operator/velodrome_operator",
    "runner/velodrome_runner",
    "leaderboard/velodrome_leaderboard",
)


def classes() -> dict[str, list[str]]:
    """Where each public class name stands, by name: `FILE:LINE`."""
    found: dict[str, list[str]] = defaultdict(list)
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.parse(path.read_text()).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    found[node.name].append(f"{path.relative_to(ROOT)}:{node.lineno}")
    return found


def test_each_public_class_name_stands_once_in_the_project() -> None:
    found = classes()

    assert {"Race", "Ledger", "LiveState", "RunningJob", "TrialReport"} <= found.keys()
    assert {name: places for name, places in found.items() if len(places) > 1} == {}


def test_modules_of_the_operator_are_called_by_nouns() -> None:
    names = {path.stem for path in (ROOT / "operator/velodrome_operator").rglob("*.py")}

    assert {"races", "judgement", "inventory"} <= names
    assert {name for name in names if name.endswith("ing")} == set()

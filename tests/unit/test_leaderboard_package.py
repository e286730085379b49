"""The app starts from any folder: its names shadow nothing, and its options lie where Streamlit looks."""

from __future__ import annotations

import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import velodrome_leaderboard

FOLDER = Path(velodrome_leaderboard.__path__[0])


def test_no_module_is_named_like_one_that_others_import() -> None:
    """Streamlit puts the folder of script.py first on sys.path."""
    names = {path.stem for path in FOLDER.iterdir() if path.suffix == ".py" or path.is_dir()} - {
        "__init__",
        "__pycache__",
    }
    taken = set(sys.stdlib_module_names) | set(packages_distributions())
    assert not names & taken


def test_the_entry_point_only_imports_and_starts() -> None:
    lines = (FOLDER / "script.py").read_text().splitlines()
    assert [line for line in lines if line and not line.startswith('"""')] == [
        "from velodrome_leaderboard.shell import main",
        "main()",
    ]


def test_usage_statistics_are_off_however_the_app_is_started() -> None:
    options = tomllib.loads((FOLDER / ".streamlit" / "config.toml").read_text())
    assert options["browser"]["gatherUsageStats"] is False

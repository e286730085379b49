"""The command line as a whole: its help, what it imports, how it ends."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from velodrome import __version__
from velodrome.cli.app import COMMANDS, app
from velodrome.cli.exit_codes import EXIT_CODES, exit_code
from velodrome.errors import (
    ConfigurationError,
    LocalError,
    Problem,
    SchemaUnsupported,
    SpecError,
    StoreRefused,
    StoreUnavailable,
    TrialFailed,
    VelodromeError,
)

HEAVY = {"torch", "torchvision", "streamlit", "scipy", "numpy", "pydantic", "pydantic_core", "redis", "rich", "yaml"}


# Typer itself takes pydantic to read a command's options, but not for the help and the version of the whole.
@pytest.mark.parametrize(
    ("arguments", "allowed"),
    [
        (["--help"], set()),
        (["--version"], set()),
        ([], set()),
        (["run", "--help"], {"pydantic", "pydantic_core"}),
        (["results", "--nonsense"], {"pydantic", "pydantic_core"}),
    ],
    ids=["help", "version", "nothing", "a command's help", "a wrong option"],
)
def test_help_is_quick_because_it_imports_nothing_heavy(arguments: list[str], allowed: set[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "velodrome", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    imported = {
        line.rpartition("|")[2].strip().partition(".")[0]
        for line in done.stderr.splitlines()
        if line.startswith("import time:")
    }
    assert "typer" in imported
    assert imported & HEAVY <= allowed


def test_the_version() -> None:
    assert CliRunner().invoke(app, ["--version"]).output == f"velodrome {__version__}\n"


def test_the_help_lists_every_command_in_one_line_and_every_exit_code() -> None:
    shown = CliRunner().invoke(app, ["--help"], terminal_width=80).output
    for command, short, _ in COMMANDS:
        assert f"  {command.__name__.rstrip('_')} " in shown
        assert short in shown  # not cut off at 80 columns
    for code, meaning in EXIT_CODES.items():
        assert re.search(rf"^ +{code}  {re.escape(meaning)}$", shown, flags=re.MULTILINE)


def _names(command: Any = None, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Each command and each group of commands, as it is typed."""
    command = get_command(app) if command is None else command
    for name, below in getattr(command, "commands", {}).items():
        yield (*above, name)
        yield from _names(below, (*above, name))


@pytest.mark.parametrize("names", [pytest.param(names, id=" ".join(names)) for names in _names()])
def test_each_command_teaches_by_an_example_that_its_own_options_allow(names: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(app, [*names, "--help"], terminal_width=200).output
    examples = [line for line in shown.partition("Examples:")[2].splitlines() if "velodrome" in line]
    assert examples
    for example in examples:
        words = re.split(r" {3,}| [|>] ", example.strip())[0].split()
        assert tuple(words[1 : 1 + len(names)]) == names
        own = CliRunner().invoke(app, [*_command_of(words), "--help"], terminal_width=200).output
        for option in (word for word in words if word.startswith("--")):
            assert re.search(rf"(^|[ ,]){option}\b", own.partition("Examples:")[0]), f"{example}: no such option"


def _command_of(words: list[str]) -> tuple[str, ...]:
    """The longest command with which an example's words begin."""
    return max((names for names in _names() if tuple(words[1 : 1 + len(names)]) == names), key=len)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SpecError((Problem("spec", "is missing"),)), 2),
        (ConfigurationError("no"), 2),
        (SchemaUnsupported("no"), 2),
        (TrialFailed("LossNotFinite", "no"), 1),
        (StoreUnavailable("no"), 3),
        (StoreRefused("no"), 3),
        (LocalError("no"), 3),
    ],
)
def test_each_error_has_an_exit_code_that_the_help_explains(error: VelodromeError, code: int) -> None:
    assert exit_code(error) == code
    assert code in EXIT_CODES


@pytest.mark.parametrize("arguments", [["validate", "missing.yaml"], ["run", "missing.yaml"], ["plan", "missing.yaml"]])
def test_an_expected_error_is_words_on_standard_error_and_no_traceback(arguments: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "velodrome", *arguments], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert "missing.yaml" in done.stderr
    assert "No such file" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    command = (
        f"{sys.executable} -m velodrome plan {Path(__file__).parents[2]}/deploy/examples/digits.yaml --json | true"
    )
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.stderr == ""

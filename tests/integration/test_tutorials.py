"""Tutorials are played in an empty folder, as a reader would do it: each command, its exit code, the words it shows."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.played import PLAYED
from tools.pages import Player

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """A shell that finds `velodrome` and `python` of this environment, and a folder of results of its own."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, command in {"python": sys.executable, "velodrome": f"{sys.executable} -m velodrome"}.items():
        (programs / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n', encoding="utf-8")
        (programs / name).chmod(0o755)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("VELODROME_")}
    found = f"{programs}:{inherited['PATH']}"
    return {**inherited, "PATH": found, "VELODROME_HOME": str(tmp_path / "home"), "TZ": "UTC"}


@pytest.mark.parametrize("page", PLAYED)
def test_a_page_is_played_as_printed(page: str, tmp_path: Path, environ: dict[str, str]) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    steps: list[str] = []
    Player(folder, environ, steps.append).play((ROOT / page).read_text(encoding="utf-8"))
    assert len(steps) > 1

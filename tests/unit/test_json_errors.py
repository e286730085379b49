"""What programs read: the files that validate looked at, and the error that ended a command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

from velodrome.cli.app import app
from velodrome.cli.json_errors import error_document
from velodrome.errors import NotThere, Problem, SpecError, StoreUnavailable

ROOT = Path(__file__).resolve().parents[2]


def test_validate_tells_each_file_in_a_line(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    good = ROOT / "deploy/examples/digits.yaml"
    bad.write_text(good.read_text().replace("dataset: {name:", "dataset: {nam:"), encoding="utf-8")
    done = CliRunner().invoke(app, ["validate", "--json", str(good), str(bad)])
    first, second = map(json.loads, done.output.splitlines())
    assert done.exit_code == 2
    assert (first["valid"], first["jobs"], first["problems"]) == (True, [{"name": "digits", "trials": 25}], [])
    assert (second["valid"], second["jobs"]) == (False, [])
    assert "spec.dataset.nam" in {one["field"] for one in second["problems"]}
    assert all(one["line"] and one["message"] for one in second["problems"])


def test_errors_have_what_a_program_decides_by() -> None:
    later = error_document(StoreUnavailable("Redis does not answer"), 3)["error"]
    assert (later["reason"], later["try_again"], later["exit_code"]) == ("StoreUnavailable", True, 3)
    assert later["field"] is None
    named = error_document(NotThere("board", "there is no board x"), 2)["error"]
    assert (named["field"], named["try_again"]) == ("board", False)
    wrong = error_document(SpecError((Problem("spec.x", "is unknown", "spec.y", 4),)), 2)["error"]
    assert wrong["problems"] == [{"field": "spec.x", "message": "is unknown", "hint": "spec.y", "line": 4}]


def test_an_error_that_ends_a_command_is_its_last_line() -> None:
    command = [sys.executable, "-m", "velodrome", "jobs", "--redis", "redis://127.0.0.1:1"]
    told = subprocess.run([*command, "--json"], capture_output=True, text=True, timeout=100, check=False)
    error = json.loads(told.stdout.splitlines()[-1])["error"]
    assert (error["reason"], error["exit_code"], told.returncode) == ("StoreUnavailable", 3, 3)
    assert error["message"] in told.stderr

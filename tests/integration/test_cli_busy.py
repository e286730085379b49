"""`doctor` and `run` say when other programs use the machine, as real ones do here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.neighbours import burning

JOB = """\
apiVersion: velodrome.dev/v1alpha1
kind: BenchmarkJob
metadata: {name: disturbed}
spec:
  objectives: [{name: accuracy, metric: accuracy}]
  dataset: {name: digits}
  entries: [{name: own, command: ["false"]}]
  trials: {repeats: 1, maxFailed: 1}
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="vb-"))
    (made / "job.yaml").write_text(JOB)
    yield made
    shutil.rmtree(made)


def velodrome(folder: Path, *words: str) -> str:
    environ = os.environ | {"VELODROME_HOME": str(folder / "home")}
    environ.pop("VELODROME_REDIS_URL", None)
    line = [sys.executable, "-m", "velodrome", *words]
    done = subprocess.run(line, cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=280)
    assert "Traceback" not in done.stderr
    return done.stdout


@pytest.mark.timeout(600)
def test_busy_neighbours_are_told_before_a_race(folder: Path) -> None:
    with burning():
        found: list[dict[str, Any]] = json.loads(velodrome(folder, "doctor", "--json"))["checks"]
        raced = velodrome(folder, "run", "job.yaml", "--json", "--no-rehearsal")
    (quiet,) = [one for one in found if one["name"] == "other programs"]
    assert quiet["status"] == "warning"
    assert "other programs used" in quiet["found"]
    assert quiet["fix"]
    said = [json.loads(one) for one in raced.splitlines()]
    notes = [one["text"] for one in said if one["event"] == "note"]
    assert any(text.startswith("this machine is busy: ") and "other programs used" in text for text in notes)
    kinds = [one["event"] for one in said]
    assert kinds.index("note") < kinds.index("opened")

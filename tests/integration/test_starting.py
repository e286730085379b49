"""What `init` writes races as it stands, and a second job on its board hears that it joins."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.timeout(600)
def test_a_table_is_raced_from_the_first_command(tmp_path: Path) -> None:
    rows = (f"{number % 7},{number % 5},{'yes' if number % 7 > 3 else 'no'}" for number in range(120))
    (tmp_path / "customers.csv").write_text("\n".join(["visits,age,churned", *rows]), encoding="utf-8")
    environ = {**os.environ, "VELODROME_HOME": str(tmp_path / "home")}

    def velodrome(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "velodrome", *arguments],
            cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=280, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    velodrome("init", "--csv", "customers.csv", "--target", "churned")
    job = tmp_path / "job.yaml"
    written = job.read_text().replace("maxEpochs: 15", "maxEpochs: 2").replace("repeats: 5", "repeats: 1")
    job.write_text(written.replace("\nspec:\n", "\nspec:\n  evaluation: {inference: {minRunSeconds: 0.05}}\n"))
    assert "mlp: " in velodrome("validate", "--deep", "job.yaml")
    first = velodrome("run", "job.yaml")
    assert "customers: 2 of 2 trials succeeded." in first
    assert "joins board" not in first
    second = (
        job.read_text().replace("  name: customers\nspec", "  name: again\nspec").replace("repeats: 2", "repeats: 1")
    )
    (tmp_path / "again.yaml").write_text(second)
    assert "it joins board customers, used by customers" in velodrome("run", "--no-rehearsal", "again.yaml")

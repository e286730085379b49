"""docs/python.md: its snippets run in order, in a process of their own, and do what the page says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "python.md"
SNIPPETS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)

CHECKS = """
assert (race.succeeded, race.failed, race.halt) == (6, 0, None), race
assert {row.entry for row in ranking.ranked} == {"narrow", "wide"}
assert [row.entry for row in small.ranked] == ["narrow"]
assert len(values) == 12 and set(values["objective"]) == {"accuracy", "size"}
assert jobs["succeeded"].to_list() == [6] and len(history) == 1 and len(compared) == 4
assert velodrome.run(job) == race, "the same call runs nothing again"
try:
    import sys
    velodrome.open_results(sys.prefix)
except velodrome.VelodromeError as error:
    assert "holds no results" in str(error)
else:
    raise AssertionError
"""


@pytest.mark.timeout(300)
def test_the_snippets_of_the_page_run_as_printed(tmp_path: Path) -> None:
    assert len(SNIPPETS) == 6
    (tmp_path / "page.py").write_text("\n".join([*SNIPPETS, CHECKS]), encoding="utf-8")
    environ = {**os.environ, "VELODROME_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "page.py"], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "6 trials succeeded, 0 failed" in done.stdout
    assert "there is no board notebok: did you mean notebook?" in done.stdout

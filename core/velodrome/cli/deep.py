"""What `validate --deep` adds: the data are read, each model is built and makes one step, each program is found.

A process of the runner does it, because it takes torch and runs the code of entries, which may end its process.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from velodrome.cli.console import complain, say
from velodrome.kernel import cpu_limit
from velodrome.machine.home import locate_home
from velodrome.plan import Plan
from velodrome.results.registration import stored_document
from velodrome.text import line


def rehearse(plan: Plan, folder: Path | None) -> bool:
    """Shows, entry by entry, what a trial would meet before it trains. Returns whether all is well.

    `folder` is where data lie, by default that of Velodrome's own folder. If the code of an entry ends the process,
    another one goes on after that entry.
    """
    seen: set[str] = set()
    well = True
    while len(seen) < len(plan.configs):
        before = len(seen)
        well = _part(plan, (folder or locate_home().data).absolute(), seen) and well
        if len(seen) == before:
            return False
    return well


def _part(plan: Plan, folder: Path, seen: set[str]) -> bool:
    """Rehearses the entries that are not in `seen` in one process, and adds those that it came to."""
    question = {
        "job": stored_document(plan.job),
        "folder": str(folder),
        "threads": cpu_limit(),
        "without": sorted(seen),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "velodrome_runner", "rehearse"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    well, running, last = True, "", ""
    with process:
        process.stdin.write(json.dumps(question))
        process.stdin.close()
        for text in process.stdout:
            found = _parsed(text)
            if found is None:
                last = text.strip() or last
            elif found.get("begins"):
                running = str(found["entry"])
                seen.add(running)
            else:
                running = ""
                well = _told(found) and well
    if running or (well and process.returncode != 0):
        where = f"{running}: " if running else ""
        complain(line(f"  {where}its process ended with {process.returncode}: {last or 'it said nothing'}"))
        return False
    return well


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) and "entry" in found else None


def _told(found: dict[str, Any]) -> bool:
    seconds = f"{found['seconds']:.1f} s"
    if found["reason"] is None:
        say(line(f"  {found['entry']}: {found['message']}, {seconds}"))
        return True
    complain(line(f"  {found['entry']}: {found['reason']}: {found['message']}"))
    return False

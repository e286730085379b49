"""Draws the figures of docs/statistics.md: python -m tools.plots [--check], from the repository's root.

Equal code gives equal bytes. --check writes nothing, and fails if a committed figure is out of date.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tools.plots.figures import FIGURES

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "images" / "statistics"


def main(arguments: list[str]) -> int:
    """Writes or checks the figures. The exit code is 1 if a check found one out of date."""
    wanted = {FOLDER / f"{name}.svg": draw().svg() for name, draw in FIGURES.items()}
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text("utf-8") != text]
    for path in stale:
        if "--check" in arguments:
            print(f"{path.name} is not what the code draws; run: python -m tools.plots")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[path], encoding="utf-8")
            print(f"drew {path.name}")
    return int(bool(stale) and "--check" in arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

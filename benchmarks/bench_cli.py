"""How long `velodrome --help` takes as a whole process, beside an interpreter that does nothing. Prints both medians.

The two run in turn, so that the machine's other load hits both. Before that it looks at what the command imports, and
fails where that includes one of the heavy libraries.

    python benchmarks/bench_cli.py [--rounds 15]
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

HEAVY = {"numpy", "pandas", "pydantic", "redis", "scipy", "sklearn", "streamlit", "torch", "torchvision"}
TARGET = 0.3  # seconds


def seconds(command: list[str]) -> float:
    """How long the command runs, from its start to its end."""
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def imported(arguments: list[str]) -> set[str]:
    """The packages that an interpreter with these arguments imports, by their first names."""
    command = [sys.executable, "-X", "importtime", *arguments]
    listing = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    return {name.split(".")[0] for name in re.findall(r"^import time:.*\| +([\w.]+)$", listing, re.MULTILINE)}


def main() -> None:
    """Checks the imports, then measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    beside = Path(sys.executable).with_name("velodrome")
    program = str(beside) if beside.exists() else shutil.which("velodrome")
    if program is None:
        sys.exit("there is no velodrome beside this interpreter or on PATH: uv sync")
    packages = imported([program, "--help"])
    if "velodrome" not in packages:
        sys.exit("the listing of imports lacks velodrome itself: it can't be trusted")
    heavy = packages & HEAVY
    if heavy:
        sys.exit(f"velodrome --help imports {', '.join(sorted(heavy))}: import them inside the commands that need them")
    ours: list[float] = []
    bare: list[float] = []
    for _ in range(rounds):
        ours.append(seconds([program, "--help"]))
        bare.append(seconds([sys.executable, "-c", "pass"]))
    slow, fast = statistics.median(ours), statistics.median(bare)
    print(
        f"velodrome --help: {slow * 1e3:.0f} ms, python -c pass: {fast * 1e3:.0f} ms, {slow / fast:.1f} x (medians of "
        f"{rounds}; quickest {min(ours) * 1e3:.0f} and {min(bare) * 1e3:.0f} ms; target: under {TARGET * 1e3:.0f} ms)"
    )


if __name__ == "__main__":
    main()

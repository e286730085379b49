"""Measures `velodrome --help` and `import velodrome` beside an interpreter that does nothing and a bare typer program.

    python benchmarks/bench_cli.py [--rounds 20]

All run as separate processes and take turns, so that a busy machine slows all of them. A first round compiles to byte
code, as an installation by pip does, and does not count. The targets are 0.3 s and 0.15 s. CPU seconds hardly depend on
what else runs; on a busy machine look at these and at the ratio.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

TYPER = """
import typer
app = typer.Typer(rich_markup_mode=None)
@app.command()
def one(name: str = "x"): "Do it."
@app.command()
def two(name: str = "x"): "Do that."
app(["--help"])
"""
COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import velodrome": ["-c", "import velodrome"],
    "a bare typer program's --help": ["-c", TYPER],
    "velodrome --help": ["-m", "velodrome", "--help"],
    "velodrome run --help": ["-m", "velodrome", "run", "--help"],
}
TARGETS = {"velodrome --help": 0.3, "import velodrome": 0.15}


class Spent(NamedTuple):
    """Seconds of a process: from its start to its end, and of CPU."""

    wall: float
    cpu: float


def spent(arguments: list[str], environ: dict[str, str]) -> Spent:
    """What a process with these arguments takes.

    Raises:
        SystemExit: it fails.
    """
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL, env=environ)
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(arguments)} ended with {process.returncode}")
    return Spent(wall, used.ru_utime + used.ru_stime)


def main() -> None:
    """Prints the median and the fastest of each, and the ratio to doing nothing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    taken: dict[str, list[Spent]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as compiled:
        environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environ["PYTHONPYCACHEPREFIX"] = compiled
        for number in range(rounds + 1):
            for name, arguments in COMMANDS.items():
                one = spent(arguments, environ)
                if number > 0:
                    taken[name].append(one)
    print(f"{rounds} rounds, interleaved; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs")
    nothing = statistics.median(one.cpu for one in taken["python -c pass"])
    for name, times in taken.items():
        wall, cpu = (statistics.median(column) for column in zip(*times, strict=True))
        target = f", the target is {TARGETS[name]} s" if name in TARGETS else ""
        print(
            f"{name:30} CPU {cpu:.3f} s, {cpu / nothing:.1f} x doing nothing; wall {wall:.3f} s, "
            f"quickest {min(times).wall:.3f} s{target}"
        )


if __name__ == "__main__":
    main()

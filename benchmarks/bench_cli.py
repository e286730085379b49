"""Measures `velodrome --help` and `import velodrome` beside an interpreter that does nothing. Prints its figures.

    python benchmarks/bench_cli.py [--rounds 20]

All run as separate processes and take turns, so that a busy machine slows both. A first round warms the disk's cache
and does not count. The targets are 0.3 s and 0.15 s. On a busy machine, look at the ratio.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import velodrome": ["-c", "import velodrome"],
    "velodrome --help": ["-m", "velodrome", "--help"],
    "velodrome run --help": ["-m", "velodrome", "run", "--help"],
}
TARGETS = {"velodrome --help": 0.3, "import velodrome": 0.15}


def seconds(arguments: list[str]) -> float:
    """The time of a process with these arguments, from its start to its end."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    """Prints the median and the fastest of each, and the ratio to doing nothing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for number in range(rounds + 1):
        for name, arguments in COMMANDS.items():
            spent = seconds(arguments)
            if number > 0:
                taken[name].append(spent)
    nothing = statistics.median(taken["python -c pass"])
    for name, times in taken.items():
        median = statistics.median(times)
        print(f"{name:22} median {median:.3f} s, quickest {min(times):.3f} s, {median / nothing:.1f} x doing nothing")
    for name, target in TARGETS.items():
        print(
            f"{name}: {statistics.median(taken[name]):.3f} s, the target is {target} s ({rounds} rounds, interleaved)"
        )


if __name__ == "__main__":
    main()

"""Compares the verdicts of jobs with what a team would otherwise do, on the same boards: false alarms, and hits.

    python -m venv peers && peers/bin/pip install apache-otava
    python benchmarks/verdict_peers.py --peers peers/bin/python [--boards 40] [--seed 71]

The boards are those of `benchmarks/simulate_verdicts.py`: 5 entries by 2 objectives, 5 trials that vary by 1 %.
An alarm is one of an entry and objective in a job. The peers look at each entry and objective alone:

- worse than the job before by more than a fixed share;
- worse than the newest job that was not worse, by a paired t test with Holm's correction (Velodrome 0.1.0);
- Apache Otava after each job, on the means of all jobs so far: an alarm is a change point for the worse that it did not
  report before. Strict: p 1e-4 and 2 %.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parents[1]))

from benchmarks.simulate_verdicts import ENTRIES, OBJECTIVES, against_one_job, regressed, values
from velodrome.stats.samples import Floats
from velodrome.stats.spread import Bools

FAMILY = ENTRIES * OBJECTIVES
JOBS, QUIET = 40, 8  # jobs of a board, and how many of the first ones are not counted
Detector = Callable[[Floats], Bools]  # logarithms by row, job and trial; alarms by row and job

# Run by the peer's own interpreter: series in, the jobs that raise an alarm out, both as JSON.
OTAVA = """
import json, sys
from statistics import fmean
from otava.analysis import compute_change_points

def worse(values, **given):
    ends = [0, *(point.index for point in compute_change_points(values, **given)[0]), len(values)]
    parts = zip(ends, ends[1:], ends[2:])
    return [at for before, at, after in parts if fmean(values[at:after]) > fmean(values[before:at])]

def alarms(series, first, **given):
    known, found = [], []
    for job in range(first, len(series)):
        new = [at for at in worse(series[:job + 1], **given) if all(abs(at - other) > 2 for other in known)]
        known += new
        found += [job] * bool(new)
    return found

asked = json.load(sys.stdin)
json.dump([alarms(series, asked["first"], **asked["given"]) for series in asked["series"]], sys.stdout)
"""


def otava(python: Path, found: Floats, **given: float) -> Bools:
    """The jobs in which Otava finds something new, for each row."""
    asked = {"series": np.exp(found.mean(axis=2)).tolist(), "first": QUIET - 1, "given": given}
    done = subprocess.run(
        [python, "-c", OTAVA], input=json.dumps(asked), capture_output=True, text=True, check=True, timeout=1800
    )
    alarms = np.zeros(found.shape[:2], dtype=np.bool_)
    for row, jobs in enumerate(json.loads(done.stdout)):
        alarms[row, jobs] = True
    return alarms


def above_last(found: Floats, share: float) -> Bools:
    """The jobs that are worse than the one before by more than `share`."""
    means = found.mean(axis=2)
    worse: Bools = np.diff(means, axis=1, prepend=means[:, :1]) > np.log1p(share)
    return worse


def detectors(python: Path | None) -> dict[str, Detector]:
    """All of them, by name."""
    own: dict[str, Detector] = {"Velodrome": lambda found: regressed(found).reshape(found.shape[:2])}
    own |= {f"{share:.0%} above the job before": partial(above_last, share=share) for share in (0.02, 0.05, 0.1)}
    own["a t test against one job"] = lambda found: against_one_job(found).reshape(found.shape[:2])
    if python is not None:
        own["Otava"] = partial(otava, python)
        own["Otava, strict"] = partial(otava, python, max_pvalue=1e-4, min_magnitude=0.02)
    return own


def changes() -> dict[str, tuple[float, int, int, Floats]]:
    """What becomes of one entry: the noise between jobs, when it begins, within how many jobs to tell it, and what."""
    drift = 0.005 * np.arange(1, 31)
    return {
        "4 % step, 1 %": (0.01, 20, 3, np.full(20, np.log1p(0.04))),
        "10 % step, 2 %": (0.02, 20, 3, np.full(20, np.log1p(0.10))),
        "drift, 1 %": (0.01, 10, 15, drift),
    }


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=Path, help="Python that has apache-otava")
    parser.add_argument("--boards", type=int, default=40)
    parser.add_argument("--seed", type=int, default=71)
    given = parser.parse_args()
    betweens, cases = (0.0, 0.005, 0.01, 0.02), changes()
    print(f"{given.boards} boards. False alarms in 1,000 jobs, by what jobs differ; then % of changes told. A step")
    print("is told within 3 jobs, a drift of 0.5 % a job within 15. What jobs differ stands behind the comma.")
    print("detector".ljust(26) + "".join(f"{between:.1%}".rjust(9) for between in betweens)
          + "".join(name.rjust(16) for name in cases))  # fmt: skip
    for name, detect in detectors(given.peers).items():
        rng = np.random.default_rng((given.seed, 11))
        row = name.ljust(26)
        for between in betweens:
            alarms = detect(values(rng, given.boards, JOBS, between))[:, QUIET:]
            row += f"{1000 * alarms.sum() / given.boards / alarms.shape[1]:9.1f}"
        for between, start, within, change in cases.values():
            found = values(rng, given.boards, start + within, between)
            found[::FAMILY, start:] += change[:within, None]
            row += f"{100 * detect(found)[::FAMILY, start:].any(axis=1).mean():16.0f}"
        print(row, flush=True)


if __name__ == "__main__":
    main()

"""Measures what a trial costs beside its training: start, import, load, digest, build, evaluate, time, end.

A *cold* trial is a new process, as in a pod. A *warm* one is a fork of the warm starter, as in a race on one machine.
Both run the same race's first trial, one after another, `--rounds` times. The table has the medians: seconds of CPU,
and seconds in all. `--source FOLDER` measures another checkout beside this one, in turns.

    python benchmarks/bench_trial_cost.py [--rounds 3] [--model velodrome/cnn] [--epochs 1] [--source FOLDER]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
# In the order in which they happen. "import" is what importing takes wherever it happens; "other" is what is left.
PHASES = ("start", "import", "plan", "load", "digest", "build", "train", "evaluate", "time", "end")

# A trial in this program, which notes the time and the CPU time at each step. The steps are found by names that every
# version of the runner has; a step that it lacks counts as part of the one before.
PROGRAM = """
import sys, time
REAL = None
NOTES = [("start", 0.0, 0.0)]
def note(name):
    NOTES.append((name, time.time(), time.process_time()))

def around(owner, name, inside, after):
    real = getattr(owner, name, None)
    def wrapped(*args, **kwargs):
        before = NOTES[-1][0]
        note(inside)
        try:
            return real(*args, **kwargs)
        finally:
            note(after or before)
    if real is not None:
        setattr(owner, name, wrapped)

def run():
    note("import")
    from velodrome_runner import process
    real_run = REAL or process.run_one
    import velodrome_runner.trial
    from velodrome_runner import measuring, reporting
    from velodrome_runner.data import loading
    note("plan")
    around(loading, "content_digest", "digest", "")
    around(measuring.models, "build", "build", "train")
    around(measuring.importlib, "import_module", "import", "")
    real = reporting.Reporter.__call__
    names = {"Loading": "load", "Evaluating": "evaluate", "Timing": "time"}
    def spoken(self, phase, *rest):
        if phase in names:
            note(names[phase])
        return real(self, phase, *rest)
    reporting.Reporter.__call__ = spoken
    import velodrome_runner.publish
    deliver = velodrome_runner.publish.Publisher.deliver
    def delivered(*args, **kwargs):
        note("end")
        return deliver(*args, **kwargs)
    velodrome_runner.publish.Publisher.deliver = delivered
    code = real_run()
    note("over")
    import json, os
    open(os.environ["NOTES"], "w").write(json.dumps(NOTES))
    return code
"""
COLD = PROGRAM + "\nsys.exit(run())"
WARM = PROGRAM + "\nfrom velodrome_runner import process, serve\nREAL, process.run_one = process.run_one, run\n"


def environ(folder: Path, source: Path, index: int) -> dict[str, str]:
    """The variables of a trial that reports to nobody."""
    paths = os.pathsep.join(str(source / part) for part in ("core", "runner"))
    return {
        **os.environ,
        "PYTHONPATH": paths,
        "VELODROME_SPEC": str(folder / "job.json"),
        "JOB_COMPLETION_INDEX": "0",
        "VELODROME_JOB_UID": "uid",
        "VELODROME_ATTEMPT": f"attempt-{index}",
        "VELODROME_SCRATCH": str(folder / "scratch"),
        "VELODROME_CPUS": "1",
        "NOTES": str(folder / "notes.json"),
    }


def spent(notes: list[tuple[str, float, float]], ended: tuple[float, float]) -> dict[str, tuple[float, float]]:
    """By phase, the seconds of CPU and in all between its notes and the next ones."""
    sums = dict.fromkeys(PHASES, (0.0, 0.0))
    marks = [*notes[:-1], ("over", *ended)]
    for (name, at, cpu), (_, later, cpu_later) in pairwise(marks):
        before = sums[name]
        sums[name] = (before[0] + cpu_later - cpu, before[1] + later - at)
    return sums


def cold(folder: Path, source: Path, index: int) -> dict[str, tuple[float, float]]:
    """One trial as a process of its own."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.time()
    variables = environ(folder, source, index)
    ran = subprocess.run([sys.executable, "-c", COLD], env=variables, capture_output=True, text=True, check=False)
    ended, after = time.time(), resource.getrusage(resource.RUSAGE_CHILDREN)
    if ran.returncode:
        raise SystemExit(f"the trial failed:\n{ran.stdout}{ran.stderr}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    notes = json.loads((folder / "notes.json").read_text())
    notes[0] = ("start", began, 0.0)
    return spent(notes, (ended, cpu))


def warm(folder: Path, source: Path, rounds: int) -> list[dict[str, tuple[float, float]]]:
    """Trials of one warm starter; the first stands for the start of the starter itself, up to its first trial's."""
    program = WARM + "sys.exit(serve.serve())"
    variables = environ(folder, source, 0)
    server = subprocess.Popen(
        [sys.executable, "-c", program], env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert server.stdin
    assert server.stdout
    found = []
    while json.loads(server.stdout.readline())["event"] != "ready":
        pass
    for index in range(rounds):
        began = time.time()
        line = {"id": str(index), "env": environ(folder, source, index), "log": str(folder / "log")}
        server.stdin.write(json.dumps(line).encode() + b"\n")
        server.stdin.flush()
        while (event := json.loads(server.stdout.readline()))["event"] != "exited":
            pass
        if event.get("code") != 0:
            raise SystemExit(f"the trial failed:\n{(folder / 'log').read_text()}")
        ended, notes = time.time(), json.loads((folder / "notes.json").read_text())
        notes[0] = ("start", began, 0.0)
        found.append(spent(notes, (ended, notes[-1][2])))
    server.stdin.close()
    server.wait()
    server.stdout.close()
    return found


def write_job(folder: Path, model: str, epochs: int) -> None:
    """A race for accuracy alone: no objective asks for a speed."""
    spec = {
        "objectives": [{"name": "accuracy", "metric": "accuracy"}],
        "dataset": {"name": "digits"},
        "budget": {"maxEpochs": epochs},
        "entries": [{"name": "one", "model": {"name": model}}],
        "trials": {"repeats": 1},
    }
    document = {"apiVersion": "velodrome.dev/v1alpha1", "kind": "BenchmarkJob", "metadata": {"name": "j"}, "spec": spec}
    (folder / "job.json").write_text(json.dumps(document))


def table(title: str, columns: dict[str, list[dict[str, tuple[float, float]]]]) -> None:
    """The medians of each phase, a column for each checkout."""
    print(f"\n{title}, seconds: CPU (in all)")
    print(f"  {'':10}" + "".join(f"{name:>20}" for name in columns))
    for phase in (*PHASES, "sum", "sum without train"):
        cells = []
        for runs in columns.values():
            parts = [
                one for one in PHASES if phase in (one, "sum") or (phase == "sum without train" and one != "train")
            ]
            values = [[sum(run[part][at] for part in parts) for run in runs] for at in (0, 1)]
            cells.append(f"{statistics.median(values[0]):.2f} ({statistics.median(values[1]):.2f})")
        print(f"  {phase:10}" + "".join(f"{cell:>20}" for cell in cells))


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default="velodrome/cnn")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--source", type=Path)
    options = parser.parse_args()
    sources = {**({"before": options.source} if options.source else {}), "now": HERE}
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} CPUs, {options.model} on digits, n = {options.rounds}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_job(folder, options.model, options.epochs)
        colds: dict[str, list[dict[str, tuple[float, float]]]] = {source: [] for source in sources}
        for index in range(options.rounds):
            for source, path in sources.items():
                colds[source].append(cold(folder, path, index))
        table("a cold trial, as in a pod", colds)
        table(
            "a warm trial, on one machine", {key: warm(folder, path, options.rounds) for key, path in sources.items()}
        )


if __name__ == "__main__":
    main()

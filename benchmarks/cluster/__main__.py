"""Measures what the operator adds to Kubernetes' own cost, on a cluster of simulated nodes that it starts itself.

    python -m benchmarks.cluster [race] [latency] [idle] [--trials 1000] [--idle 1000] [--keep]

race     1,000 trials from apply to Complete, beside the bare Indexed Job of the same pod template and beside as many
         single Jobs, all at the Job controller's default rate limits. Also the operator's API writes, as the API
         server counts them, and the time from the Job's end until the BenchmarkJob is Complete.
latency  The time from sending a BenchmarkJob until its Job is visible, at 20 a second.
idle     1,000 BenchmarkJobs without changes: the operator's memory, CPU, writes, and a restart.

etcd, the API server, the Job controller, the scheduler, Redis and the operator are real and run on this machine. kwok
simulates the nodes: pods start and succeed by themselves, and `benchmarks.cluster.standin` reports in their place.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import sys
import tempfile
from pathlib import Path

from benchmarks.cluster import idle, latency, race
from benchmarks.cluster.api import Api
from benchmarks.cluster.running import Operator, redis_server
from tests.cluster.simulated import SimulatedCluster
from tools.linting.programs import KUBERNETES

NAMESPACE = "benchmark"
_CRD = Path(__file__).resolve().parents[2] / "deploy/crd/benchmarkjobs.yaml"
PARTS = ("race", "latency", "idle")


async def measure(given: argparse.Namespace, kubeconfig: Path, text: str) -> None:
    """Runs the chosen parts, one after another, on one cluster and one operator; `text` is the kubeconfig's."""
    with tempfile.TemporaryDirectory(prefix="velodrome-bench-") as folder, redis_server(Path(folder)) as url:
        operator = Operator(kubeconfig, url, Path(given.log), NAMESPACE, Path(folder, "bytecode"))
        operator.compile()
        async with Api.connected(text) as api:
            await api.call("POST", "api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
            try:
                if "race" in given.parts:
                    await race.measure(api, operator, NAMESPACE, given.trials, singles=not given.no_singles)
                if "latency" in given.parts:
                    await latency.measure(api, operator, NAMESPACE, given.applies)
                if "idle" in given.parts:
                    await idle.measure(api, operator, NAMESPACE, given.idle, given.idle_seconds)
            finally:
                operator.stop()


def main() -> int:
    """Returns 0 when everything was measured. It prints figures, and does not judge them."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cluster", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="part", help="race, latency, idle; all of them without it")
    parser.add_argument("--trials", type=int, default=1000, help="trials of the race")
    parser.add_argument("--no-singles", action="store_true", help="leave out the single Jobs, which take longest")
    parser.add_argument("--applies", type=int, default=300, help="BenchmarkJobs of the latency part")
    parser.add_argument("--idle", type=int, default=1000, help="BenchmarkJobs of the idle part")
    parser.add_argument("--idle-seconds", type=float, default=150, help="how long they are watched: over two resyncs")
    parser.add_argument("--log", default="/tmp/velodrome-bench-operator.log", help="where the operator's log goes")  # noqa: S108
    parser.add_argument("--keep", action="store_true", help="leave the cluster running")
    given = parser.parse_args()
    given.parts = given.parts or PARTS
    if set(given.parts) - set(PARTS):
        parser.error(f"the parts are {', '.join(PARTS)}")
    cluster = SimulatedCluster()
    cluster.build()
    cluster.down()
    kubeconfig = cluster.up()
    try:
        cluster.kubectl("apply", "--server-side", "-f", str(_CRD))
        cluster.established("crd/benchmarkjobs.velodrome.dev")
        print(f"{_machine()}, Kubernetes {KUBERNETES}, Python {platform.python_version()}", flush=True)
        asyncio.run(measure(given, kubeconfig, kubeconfig.read_text()))
    finally:
        if not given.keep:
            cluster.down()
    return 0


def _machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
    return f"{os.cpu_count()} x {model}, load {os.getloadavg()[0]:.1f} at the start"


if __name__ == "__main__":
    sys.exit(main())

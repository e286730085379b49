"""`python -m tests.campaign`: kills parts of a real cluster at random while races run, and checks the races."""

from __future__ import annotations

import argparse
import secrets
import sys
from pathlib import Path

from tests.campaign.history import read
from tests.campaign.model import check, summary
from tests.campaign.report import table
from tests.campaign.run import Wanted, campaign
from tests.cluster.build import BuildError
from tests.cluster.control import Cluster, ClusterError
from tests.e2e.conftest import Kube, install, serve

_DESCRIPTION = """\
Kills parts of a real cluster at random while races run, then checks that nothing was lost, doubled, replaced or stuck,
that no status went backwards, and that deleted races leave nothing but their results.

It starts the test cluster of `make cluster` (built at first, about 15 minutes), builds and installs Velodrome's images,
and works in the namespace `campaign`. What is killed: runners, the operator, Redis, kubelet, API server, etcd,
containerd, the controller manager, the scheduler, kube-proxy; by SIGKILL, deletion with and without grace, and
eviction. Between kills the network between two parts is cut or loses packets for some seconds, and a second operator
comes by whose clock is hours off and steps. Plan for 4 seconds a kill.
"""

_EPILOG = """\
examples:
  python -m tests.campaign --kills 12 --races 2 --trials 8     a look at it: about 3 minutes
  python -m tests.campaign --kills 250 --seed 7                about 20 minutes
  python -m tests.campaign --check campaign-7.jsonl            check a history once more

exit codes: 0 nothing was found, 1 faults were found, 2 it can't be run here
The same seed does the same things in the same order; which pods they hit depends on which are there.
"""


def main(arguments: list[str] | None = None) -> int:
    """Runs a campaign, or checks an earlier one's history, and prints the table."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.campaign",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--kills", type=int, default=200, help="how many kills (default: %(default)s)")
    parser.add_argument(
        "--seed", type=int, help="what the schedule follows from; drawn and shown where it is not given"
    )
    parser.add_argument("--races", type=int, default=4, help="races at once (default: %(default)s)")
    parser.add_argument(
        "--trials", type=int, default=30, help="trials of a race, an even number (default: %(default)s)"
    )
    parser.add_argument("--pause", type=float, default=3.0, help="seconds between strokes, in the mean (default: 3)")
    parser.add_argument(
        "--patience", type=float, default=600.0,
        help="seconds that races may take to end after the last disturbance (default: 600)",
    )  # fmt: skip
    parser.add_argument("--history", type=Path, help="file for the history (default: campaign-SEED.jsonl)")
    parser.add_argument("--check", type=Path, metavar="FILE", help="check that history, and run nothing")
    given = parser.parse_args(arguments)
    if given.kills < 0 or given.races < 1 or given.trials < 2 or given.trials % 2:
        parser.error("--kills is 0 or more, --races 1 or more, --trials an even number from 2 on")
    if given.check is not None:
        history = read(given.check)
        faults = check(history, given.patience)
        print(table(summary(history, faults), faults))
        return 1 if faults else 0
    try:
        return _run(given)
    except (BuildError, ClusterError) as error:
        print(f"campaign: {error}", file=sys.stderr)
        return 2


def _run(given: argparse.Namespace) -> int:
    seed = secrets.randbelow(1_000_000) if given.seed is None else given.seed
    file = given.history or Path(f"campaign-{seed}.jsonl")
    print(f"seed {seed}; the history goes to {file}", flush=True)
    kube = Kube(Cluster())  # ignores KUBECONFIG, because parts are killed only of this project's own cluster
    serve(kube)
    install(kube)
    image = kube.cluster.load_image("numpy")
    wanted = Wanted(given.kills, seed, given.races, given.trials, image, given.patience, given.pause)
    found, faults = campaign(kube, wanted, file, lambda line: print(line, flush=True))
    print(table(found, faults))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

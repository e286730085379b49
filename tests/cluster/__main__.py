"""`python -m tests.cluster up|down|status|kill PART|start PART|load ARCHIVE|env|helm`: a real Kubernetes for tests."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from tests.cluster import images
from tests.cluster.build import BuildError, build_helm
from tests.cluster.commands import CommandFailed, failure
from tests.cluster.control import Cluster, ClusterError
from tests.cluster.parts import PARTS


def main(arguments: list[str] | None = None) -> int:
    """Runs one verb. Returns 0 on success, and 2 if it is impossible."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    up = verbs.add_parser("up", help="build what is missing, start it, print the kubeconfig's path")
    up.add_argument("--api-only", action="store_true", help="etcd and the API server alone: no pods run")
    verbs.add_parser("down", help="stop it and remove its containers and data; the built programs stay")
    verbs.add_parser("status", help="which parts run")
    for verb, text in (("kill", "SIGKILL a part; its data stay"), ("start", "start a part again")):
        verbs.add_parser(verb, help=text).add_argument("part", choices=PARTS)
    verbs.add_parser("load", help="import an image archive").add_argument("archive", type=Path)
    verbs.add_parser("helm", help="build Helm if it is missing, and print its path")
    verbs.add_parser("env", help="print shell commands that point kubectl at it")
    given = parser.parse_args(arguments)
    try:
        _carry_out(given, Cluster())
    except (BuildError, ClusterError, CommandFailed, OSError) as error:
        print(f"cluster: {error}", file=sys.stderr)
        return 2
    except subprocess.CalledProcessError as error:
        words = str(error.stderr or "").strip()
        print(f"cluster: {failure(error.cmd, error.returncode)}{f': {words}' if words else ''}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("cluster: interrupted; the next start goes on where this stopped", file=sys.stderr)
        return 130
    return 0


def _show(cluster: Cluster) -> None:
    for part in PARTS:
        pid = cluster.pid(part)
        print(f"{part:20} {'is not running' if pid is None else f'runs as {pid}'}")


def _carry_out(given: argparse.Namespace, cluster: Cluster) -> None:
    match given.verb:
        case "up":
            cluster.build(api_only=given.api_only)
            print(cluster.up(api_only=given.api_only))
        case "down":
            cluster.down()
        case "status":
            _show(cluster)
        case "kill":
            cluster.kill(given.part)
        case "start":
            cluster.start(given.part)
        case "load":
            for name, reference in images.load(cluster.at, given.archive).items():
                print(f"{name} is {reference}")
        case "helm":
            print(build_helm())
        case "env":
            print(f"export KUBECONFIG={cluster.at.kubeconfig} PATH={cluster.at.bin}:$PATH")


if __name__ == "__main__":
    sys.exit(main())

"""`python -m velodrome_operator.setup`: makes the Secret with Redis' password where there is none."""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys

from velodrome.errors import VelodromeError
from velodrome_operator.cluster import Cluster


async def make_secret(cluster: Cluster, namespace: str, name: str) -> bool:
    """Creates the Secret with a random password. Returns False if it existed, and then changes nothing."""
    manifest = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "type": "Opaque",
        "stringData": {"password": secrets.token_urlsafe(32)},
    }
    return await cluster.create(manifest) is not None


async def _run(namespace: str, name: str) -> None:
    async with Cluster.connected() as cluster:
        made = await make_secret(cluster, namespace, name)
    sys.stdout.write(f"Secret {namespace}/{name} {'made' if made else 'is there already'}\n")


def main(arguments: list[str] | None = None) -> int:
    """Returns 0 if the Secret exists now, and 1 if it could not be made. The message says why."""
    parser = argparse.ArgumentParser(prog="python -m velodrome_operator.setup", description=__doc__)
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--name", required=True)
    given = parser.parse_args(arguments)
    try:
        asyncio.run(_run(given.namespace, given.name))
    except VelodromeError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

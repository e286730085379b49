"""`python -m velodrome_operator.setup`: makes the Secret with Redis' users and certificates, where there is none.

It needs the right to create Secrets, and no other. A Secret that exists stays as it is.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from velodrome.connections import certificates
from velodrome.errors import VelodromeError
from velodrome.store import roles
from velodrome_operator.children.names import Manifest
from velodrome_operator.cluster import Cluster

_HOST = re.compile(r"[0-9A-Za-z]([0-9A-Za-z.:-]{0,251}[0-9A-Za-z])?|::1")
_EPILOG = """\
With --host the Secret has a password for each role (operator, leaderboard, marks), their hashes in users.acl, the key
from which the passwords of races' users derive, and certificates for the hosts. Without --host it has one password for
Redis' default user, as in version 0.1.0: nothing is encrypted then.

docs/redis.md says how to change passwords and to renew certificates.
"""


def secret_data(hosts: Sequence[str], now: datetime) -> dict[str, str]:
    """The content of the Secret. Without hosts it is as in version 0.1.0."""
    if not hosts:
        return {roles.FORMER_PASSWORD: roles.new_password()}
    made = certificates.make(hosts, now)
    return {
        **roles.new_users(),
        roles.AUTHORITY: made.authority,
        roles.AUTHORITY_KEY: made.authority_key,
        roles.CERTIFICATE: made.certificate,
        roles.PRIVATE_KEY: made.key,
    }


async def make_secret(cluster: Cluster, namespace: str, name: str, hosts: Sequence[str], now: datetime) -> bool:
    """Creates the Secret. Returns False if it existed, and then changes nothing."""
    manifest: Manifest = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "type": "Opaque",
        "stringData": secret_data(hosts, now),
    }
    return await cluster.create(manifest) is not None


async def _run(namespace: str, name: str, hosts: Sequence[str]) -> None:
    async with Cluster.connected() as cluster:
        made = await make_secret(cluster, namespace, name, hosts, datetime.now(UTC))
    sys.stdout.write(f"Secret {namespace}/{name} {'made' if made else 'is there already'}\n")


def main(arguments: list[str] | None = None) -> int:
    """Returns 0 if the Secret exists now, and 1 if it could not be made. The message says why."""
    parser = argparse.ArgumentParser(
        prog="python -m velodrome_operator.setup",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--namespace", required=True, help="namespace of the installation")
    parser.add_argument("--name", required=True, help="name of the Secret, usually velodrome-redis")
    parser.add_argument(
        "--host",
        action="append",
        default=[],
        metavar="NAME",
        help="name or address under which Redis is reached; repeat it for each. A Service's short name stands for its "
        "longer names too",
    )
    given = parser.parse_args(arguments)
    for host in given.host:
        if not _HOST.fullmatch(host):
            parser.error(f"--host: {host} is no name or address of a host")
    hosts = [name for host in given.host for name in _names(host, given.namespace)]
    try:
        asyncio.run(_run(given.namespace, given.name, hosts))
    except VelodromeError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _names(host: str, namespace: str) -> tuple[str, ...]:
    """The host, and if it is a Service's short name, the longer names too."""
    return (host,) if "." in host or ":" in host else roles.host_names(host, namespace)


if __name__ == "__main__":
    sys.exit(main())

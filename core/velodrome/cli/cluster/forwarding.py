"""Connects this machine with the Redis of an installed Velodrome, through kubectl."""

from __future__ import annotations

import base64
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote

from velodrome.errors import ClusterError

if TYPE_CHECKING:
    from velodrome.cli.cluster.kubectl import Kubectl

_SECRET = "velodrome-redis"  # noqa: S105 - the name of an object # nosec B105
_SERVICE = "service/velodrome-redis"
_FORWARDED = re.compile(r"127\.0\.0\.1:(\d+)")
_STOP_SECONDS = 5.0


@contextmanager
def forwarded_redis(kubectl: Kubectl, namespace: str) -> Iterator[str]:
    """A URL of the Redis in that namespace. It is valid until the context ends.

    Raises:
        ClusterError: the person may not read its password or reach it, or there is no Redis.
    """
    secret = kubectl.json("get", "secret", _SECRET, "-n", namespace)
    password = base64.b64decode(secret.get("data", {}).get("password", "")).decode()
    line = kubectl.line("port-forward", "-n", namespace, "--address=127.0.0.1", _SERVICE, ":6379")
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        found = _FORWARDED.search(process.stdout.readline())
        if found is None:
            process.terminate()
            said = process.stderr.read().strip()
            raise ClusterError(
                f"Redis can't be reached: {said or 'kubectl port-forward ended'}", "velodrome doctor --cluster"
            )
        yield f"redis://:{quote(password, safe='')}@127.0.0.1:{found[1]}/0"
    finally:
        process.terminate()
        try:
            process.communicate(timeout=_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()

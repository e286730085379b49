"""Connects this machine with the Redis of an installed Velodrome, through kubectl."""

from __future__ import annotations

import base64
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from velodrome.cli.cluster.installation import Installation, volumes_of
from velodrome.errors import ClusterError
from velodrome.store import roles

if TYPE_CHECKING:
    from velodrome.cli.cluster.kubectl import Kubectl
    from velodrome.store.roles import Role

_FORWARDED = re.compile(r"127\.0\.0\.1:(\d+)")
_STOP_SECONDS = 5.0


@contextmanager
def forwarded_redis(kubectl: Kubectl, namespace: str, role: Role) -> Iterator[str]:
    """A URL of the Redis in that namespace, with the user of the role. It is valid until the context ends.

    In an installation of version 0.1.0 there is one user for all roles.

    Raises:
        ClusterError: the person may not read the passwords or reach it, or there is no Redis.
    """
    data = decoded(redis_secret(kubectl, namespace))
    with forwarded(kubectl, namespace, data) as address:
        yield address.url(*login_of(data, role))


def redis_secret(kubectl: Kubectl, namespace: str) -> dict[str, Any]:
    """The Secret with Redis' users.

    Raises:
        ClusterError: there is none, or the person may not read it.
    """
    return kubectl.json("get", "secret", _redis_name(kubectl, namespace), "-n", namespace)


def decoded(secret: Mapping[str, Any]) -> dict[str, str]:
    """The content of a Secret as text."""
    return {key: base64.b64decode(value).decode() for key, value in (secret.get("data") or {}).items()}


def login_of(data: Mapping[str, str], role: Role) -> tuple[str, str]:
    """The user and the password of a role. The user is empty in an installation of version 0.1.0.

    Raises:
        ClusterError: the Secret has no password for the role.
    """
    if roles.is_former(data):
        return "", data[roles.FORMER_PASSWORD]
    key = roles.password_key(role)
    if not data.get(key):
        raise ClusterError(
            f"the Secret {roles.SECRET_NAME} has no {key}", "restore the Secret, or reinstall Velodrome (docs/redis.md)"
        )
    return role, data[key]


class ForwardedAddress:
    """Where this machine reaches the cluster's Redis: a port, and the file of certificates; None without TLS."""

    def __init__(self, port: int, authority: Path | None) -> None:
        self._port = port
        self._authority = authority

    def url(self, user: str, password: str) -> str:
        """The URL for this user."""
        who = f"{quote(user, safe='')}:{quote(password, safe='')}"
        if self._authority is None:
            return f"redis://{who}@127.0.0.1:{self._port}/0"
        # kubectl has chosen the pod. A certificate of one's own need not name this machine.
        options = f"ssl_ca_certs={quote(str(self._authority))}&ssl_check_hostname=false"
        return f"rediss://{who}@127.0.0.1:{self._port}/0?{options}"


@contextmanager
def forwarded(kubectl: Kubectl, namespace: str, data: Mapping[str, str]) -> Iterator[ForwardedAddress]:
    """A port of this machine that leads to Redis until the context ends. `data` is the content of its Secret.

    Raises:
        ClusterError: Redis can't be reached.
    """
    service = f"service/{_redis_name(kubectl, namespace)}"
    line = kubectl.line("port-forward", "-n", namespace, "--address=127.0.0.1", service, ":6379")
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
        with tempfile.TemporaryDirectory(prefix="velodrome-") as folder:
            authority = None
            if roles.AUTHORITY in data:
                authority = Path(folder, roles.AUTHORITY)
                authority.write_text(_authority(kubectl, namespace, data))
            yield ForwardedAddress(int(found[1]), authority)
    finally:
        process.terminate()
        try:
            process.communicate(timeout=_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def _redis_name(kubectl: Kubectl, namespace: str) -> str:
    """The name of Redis' Service and Secret, which follows from the name of the chart's release."""
    try:
        return Installation(kubectl, namespace).redis_name
    except ClusterError:  # the person may not list StatefulSets: it is the usual name then
        return roles.SECRET_NAME


def _authority(kubectl: Kubectl, namespace: str, data: Mapping[str, str]) -> str:
    """The authority of the certificate that Redis shows: of another Secret, if Redis has its certificate from there."""
    try:
        redis = Installation(kubectl, namespace).workload("redis") or {}
        mounted = [each["secret"]["secretName"] for each in volumes_of(redis) if each["name"] == "tls"]
        others = [name for name in mounted if name != redis["metadata"]["name"]]
        if others:
            other = decoded(kubectl.json("get", "secret", others[0], "-n", namespace))
            return other.get(roles.AUTHORITY, data[roles.AUTHORITY])
    except (ClusterError, KeyError):  # the person may read the users' Secret alone: it has the authority then
        pass
    return data[roles.AUTHORITY]

"""How tests reach the installation's Redis: as the operator does, in TLS if it has users, or as version 0.1.0 did."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from velodrome import keys
from velodrome.cli.cluster.forwarding import ForwardedAddress, login_of
from velodrome.store import roles

if TYPE_CHECKING:
    from tests.e2e.conftest import Kube

NAMESPACE = "velodrome"


@dataclass(frozen=True, slots=True)
class RedisAccess:
    """The operator's user and password, and the files of Redis' authority and of its certificate with its key.

    An installation of version 0.1.0 has no such files, and nothing is encrypted there.
    """

    user: str
    password: str
    job_key: str
    authority: Path | None = None
    certificate: Path | None = None

    @classmethod
    def of(cls, kube: Kube) -> RedisAccess:
        """As the installation's Secret has it now: a rotation may have changed it."""
        text = kube("-n", NAMESPACE, "get", "secret", roles.SECRET_NAME, "-o", "json")
        data = {key: base64.b64decode(value).decode() for key, value in json.loads(text)["data"].items()}
        user, password = login_of(data, "operator")
        if roles.is_former(data):
            return cls(user, password, password)
        authority, certificate = kube.cluster.at.run / "redis-ca.crt", kube.cluster.at.run / "redis.pem"
        authority.write_text(data[roles.AUTHORITY])
        certificate.write_text(data[roles.CERTIFICATE] + data[roles.PRIVATE_KEY])
        return cls(user, password, data[roles.JOB_KEY], authority, certificate)

    def url(self, host: str, port: int, user: str | None = None, password: str | None = None) -> str:
        """The URL of Redis at that address, for the operator or for another user. The host's name is not checked."""
        who = self.user if user is None else user, self.password if password is None else password
        return ForwardedAddress(port, self.authority).url(*who).replace("@127.0.0.1:", f"@{host}:")

    def environ(self, port: int, job_key: Path) -> dict[str, str]:
        """The environment of an operator that reaches Redis through a proxy at that port of this machine.

        The proxy shows Redis' own certificate, which is for this machine too.
        """
        who, scheme = f"{self.user}:{quote(self.password, safe='')}", "rediss" if self.authority else "redis"
        return {
            keys.ENV_REDIS_URL: f"{scheme}://{who}@127.0.0.1:{port}/0",
            keys.ENV_JOB_KEY_FILE: str(job_key),
            **({keys.ENV_REDIS_CA_FILE: str(self.authority)} if self.authority else {}),
        }

    def bare_cli(self) -> list[str]:
        """redis-cli in Redis' own pod, as nobody."""
        tls = [] if self.authority is None else ["--tls", "--cacert", "/etc/redis-tls/ca.crt"]
        return ["-n", NAMESPACE, "exec", "-i", "velodrome-redis-0", "--", "redis-cli", *tls]

    def cli(self, *words: str, user: str | None = None, password: str | None = None) -> tuple[list[str], str]:
        """A command line for Redis' own pod, and what it is to read: no password is in an argument."""
        login = f"AUTH {user or self.user or 'default'} {password or self.password}"
        quoted = " ".join(f'"{word}"' for word in words)
        return self.bare_cli(), f"{login}\n{quoted}\n"


def credentials_in(url: str) -> tuple[str, str]:
    """The user and the password in a URL of Redis."""
    parts = urlsplit(url)
    return unquote(parts.username or ""), unquote(parts.password or "")


def of_runners(secret: dict[str, str]) -> tuple[str, str]:
    """The user and the password in the Secret of a race."""
    return credentials_in(base64.b64decode(secret[keys.ENV_REDIS_URL]).decode())

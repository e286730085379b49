"""Changes the passwords of an installation's Redis users while it works: the new one counts before the old one ends.

Each step may be repeated, and the Secret shows which was the last. So a rotation that was killed goes on when it is
started again. The users of races have passwords of their own, which no rotation touches.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import redis

from velodrome.cli.cluster import passwords
from velodrome.cli.cluster.forwarding import ForwardedAddress, forwarded, redis_secret
from velodrome.cli.cluster.kubectl import Kubectl
from velodrome.cli.cluster.passwords import RedisUsers
from velodrome.errors import StoreRefused, VelodromeError
from velodrome.store import roles
from velodrome.store.edge import connect, translated
from velodrome.store.roles import Role

_LOOK_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Rotation:
    """Changes passwords in the installation in this namespace. `tell` gets a line for each step."""

    kubectl: Kubectl
    namespace: str
    tell: Callable[[str], None]
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    sleep: Callable[[float], None] = time.sleep
    look_seconds: float = _LOOK_SECONDS

    def begin(self, chosen: Sequence[Role]) -> None:
        """Gives each role a second password, unless it has one from a rotation that did not end.

        Raises:
            ClusterError: the cluster refuses, or somebody else changed the Secret meanwhile.
            StoreRefused, StoreUnavailable: Redis refuses or does not answer.
        """
        for role in chosen:
            secret = self._secret()
            users = RedisUsers.read(secret)
            if users.has_two(role):
                self.tell(f"{role}: a new password was added before, and the one before still counts")
                continue
            password = roles.new_password()
            with self._admin(users) as (client, address), translated(address):
                client.execute_command("ACL", "SETUSER", role, f"#{roles.hashed(password)}")
            self._replace(passwords.with_second(secret, role, password, self.clock()))
            self.tell(f"{role}: has a new password; the one before still counts")
        self.settle(chosen)

    def settle(self, chosen: Sequence[Role]) -> None:
        """Makes Redis take what the Secret has, and gives each role the rights of this version.

        A Redis that started in between may have read the file before, or one of an older version.
        """
        users = RedisUsers.read(self._secret())
        with self._admin(users) as (client, address), translated(address):
            for role in chosen:
                hashes = (f"#{one}" for one in users.hashes[role])
                client.execute_command("ACL", "SETUSER", role, "on", *hashes, "resetkeys", *roles.rules(role))

    def wait(self, chosen: Sequence[Role], grace: timedelta) -> None:
        """Returns when each of these roles has had its second password for that long. Meanwhile it settles."""
        while True:
            since = RedisUsers.read(self._secret()).since
            ends = [since[role] + grace for role in chosen if role in since]
            left = (max(ends, default=self.clock()) - self.clock()).total_seconds()
            if left <= 0:
                return
            self.sleep(min(left, self.look_seconds))
            try:
                self.settle(chosen)
            except VelodromeError as error:  # Redis is away for a moment: the next look tries again
                self.tell(str(error))

    def finish(self, chosen: Sequence[Role]) -> None:
        """Removes the password before from each of these roles that has two. Connections that used it stay open.

        Raises: as `begin` does.
        """
        for role in chosen:
            secret = self._secret()
            users = RedisUsers.read(secret)
            if not users.has_two(role):
                self.tell(f"{role}: has one password; nothing is to be removed")
                continue
            newest = f"#{roles.hashed(users.password(role))}"
            with self._admin(users) as (client, address), translated(address):
                client.execute_command("ACL", "SETUSER", role, "resetpass", newest)
            self._replace(passwords.with_one(secret, role))
            self.tell(f"{role}: the password before counts no more")

    def complete(self) -> None:
        """Adds what a Secret of version 0.1.0 lacks."""
        self._replace(passwords.completed(self._secret(), self.namespace, self.clock()))
        self.tell("the Secret has users and certificates now; the password that it had stays until you upgrade")

    def renew(self) -> None:
        """Gives Redis a new certificate of the same authority, which it shows when it is started again."""
        secret = self._secret()
        self._replace(passwords.renewed(secret, self.clock()))
        restart = f"kubectl -n {self.namespace} rollout restart statefulset/{secret['metadata']['name']}"
        self.tell(f"the Secret has a new certificate. Redis shows it when it is started again: {restart}")

    def _secret(self) -> dict[str, Any]:
        return redis_secret(self.kubectl, self.namespace)

    def _replace(self, secret: Mapping[str, Any]) -> None:
        self.kubectl.text("replace", "-n", self.namespace, "-f", "-", stdin=json.dumps(secret))

    @contextmanager
    def _admin(self, users: RedisUsers) -> Iterator[tuple[redis.Redis, str]]:
        """A client that may manage users, and the address for messages.

        Redis may have started with the file as it was before. Then only the operator's password before counts.
        """
        with forwarded(self.kubectl, self.namespace, users.data) as at:
            known = [users.password("operator"), users.previous("operator")]
            client = _first_welcome(at, [password for password in known if password is not None])
            try:
                yield client, "the cluster"
            finally:
                client.close()


def _first_welcome(at: ForwardedAddress, known: Sequence[str]) -> redis.Redis:
    """A client with the first of these passwords that Redis takes.

    Raises:
        StoreRefused: it takes none.
    """
    refused: StoreRefused | None = None
    for password in known:
        client = connect(at.url("operator", password))
        try:
            with translated("the cluster"):
                client.ping()
        except StoreRefused as error:
            client.close()
            refused = refused or error
        else:
            return client
    assert refused is not None
    raise refused

"""A Redis user for each BenchmarkJob, who may append to its inbox, read its instructions, and nothing else.

The password follows from the operator's own secret and the job's uid, so that an operator that was killed anywhere
makes the same user again, and nothing needs to be remembered.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import quote

import redis

from velodrome import keys
from velodrome.results import Outcome
from velodrome.store.edge import translated

_PROBE = f"{keys.PREFIX}:writable"


def user_name(uid: str) -> str:
    """Name of a job's Redis user."""
    return f"{keys.PREFIX}-{uid}"


def password(secret: str, uid: str) -> str:
    """The job's password: an HMAC-SHA-256 of its uid under the operator's secret."""
    return hmac.new(secret.encode(), f"{keys.PREFIX}:{uid}".encode(), hashlib.sha256).hexdigest()


def rules(secret: str, uid: str) -> list[str]:
    """The ACL rules of a job's user. `%R~` and `%W~`, which tell reading from writing, need Redis 7."""
    commands = ("xadd", "xlen", "hget", "hmget", "hgetall", "ping", "hello", "auth", "client|setname")
    patterns = [f"%W~{keys.inbox(uid)}", f"%R~{keys.instructions(uid)}"]
    return ["reset", "on", f">{password(secret, uid)}", *patterns, *(f"+{command}" for command in commands)]


class Access:
    """Makes and removes the users of jobs. `address` is host:port as pods reach Redis."""

    def __init__(self, client: redis.Redis, secret: str, address: str) -> None:
        self._client = client
        self._secret = secret
        self._address = address
        self._granted: set[str] = set()
        self._revoked: set[str] = set()
        self._run_id: str | None = None

    def url(self, uid: str) -> str:
        """Where and as whom a job's runners report."""
        return f"redis://{quote(user_name(uid))}:{password(self._secret, uid)}@{self._address}/0"

    def grant(self, uid: str) -> None:
        """Makes the job's user where it is missing: at first, and after a Redis restarted without it.

        Raises:
            StoreUnavailable: Redis does not answer.
            StoreRefused: this Redis user may not manage users.
        """
        with translated(self._address):
            run_id = self._present_run()
            if run_id != self._run_id:
                self._granted.clear()
                self._run_id = run_id
            if uid not in self._granted:
                self._client.execute_command("ACL", "SETUSER", user_name(uid), *rules(self._secret, uid))
                self._granted.add(uid)
                self._revoked.discard(uid)

    def renewed(self) -> bool:
        """Whether Redis was started again since users were last made: then they are gone."""
        with translated(self._address):
            return self._present_run() != self._run_id

    def _present_run(self) -> str:
        """What a Redis calls itself from one start to the next."""
        return str(self._client.info("server")["run_id"])

    def instruct(self, uid: str, outcomes: Mapping[int, bool]) -> None:
        """Lets the job's runners read that these trials have an accepted result, and whether that is a success."""
        words: Mapping[bool, Outcome] = {True: "Succeeded", False: "Failed"}
        fields = [word for index, succeeded in outcomes.items() for word in (index, words[succeeded])]
        with translated(self._address):
            self._client.execute_command("HSET", keys.instructions(uid), *fields)

    def revoke(self, uid: str) -> None:
        """Removes the job's user, which closes its connections, its instructions and its inbox. Idempotent.

        For jobs that have ended or are gone: what is left in the inbox is collected no more. Redis is asked once.
        """
        if uid in self._revoked:
            return
        with translated(self._address):
            self._client.execute_command("ACL", "DELUSER", user_name(uid))
            self._client.unlink(keys.instructions(uid), keys.inbox(uid))
        self._granted.discard(uid)
        self._revoked.add(uid)

    def probe(self) -> None:
        """Writes something, since a Redis that is full or read-only still answers who only reads.

        Raises:
            StoreUnavailable: it takes nothing for now.
            StoreRefused: it takes nothing until a person acts.
        """
        with translated(self._address):
            self._client.execute_command("SET", _PROBE, "1", "EX", 600)

    def users(self) -> frozenset[str]:
        """The uids of the jobs that have a user now."""
        with translated(self._address):
            names = self._client.execute_command("ACL", "USERS")
        texts = (name.decode() if isinstance(name, bytes) else str(name) for name in names)
        prefix = user_name("")
        return frozenset(name.removeprefix(prefix) for name in texts if name.startswith(prefix))

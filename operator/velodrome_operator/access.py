"""A Redis user for each BenchmarkJob, who may append to its inbox, read its instructions, and nothing else.

The password follows from the operator's own secret and the job's uid, so that an operator that was killed anywhere
makes the same user again, and nothing needs to be remembered.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import quote

import redis

from velodrome import keys
from velodrome.plan import LOCAL_PREFIX
from velodrome.results.records import Outcome
from velodrome.store.edge import translated
from velodrome.store.largest import Largest

_PROBE = f"{keys.PREFIX}:writable"
_SCANS, _SCANNED_AT_ONCE = 200, 1000


def user_name(uid: str) -> str:
    """Name of a job's Redis user."""
    return f"{keys.PREFIX}-{uid}"


def password(secret: str, uid: str) -> str:
    """The job's password: an HMAC-SHA-256 of its uid under the operator's secret."""
    return hmac.new(secret.encode(), f"{keys.PREFIX}:{uid}".encode(), hashlib.sha256).hexdigest()


def rules(secret: str, uid: str, *, stream: bool = False) -> list[str]:
    """The ACL rules of a job's user. `%R~` and `%W~`, which tell reading from writing, need Redis 7.

    No argument of these commands does harm: RPUSH adds behind what others sent, and LLEN tells how much waits. Runners
    of version 0.1.0 append to a `stream`, and only among themselves can they harm what lies there.
    """
    commands = ["rpush", "llen", "hget", "ping", "hello", "auth", "client|setname"]
    patterns = [f"%W~{keys.inbox(uid)}", f"%R~{keys.instructions(uid)}"]
    if stream:
        commands += ["xadd", "xlen"]
        patterns.append(f"%W~{keys.inbox_stream(uid)}")
    return ["reset", "on", f">{password(secret, uid)}", *patterns, *(f"+{command}" for command in commands)]


class Access:
    """Makes and removes the users of jobs. `address` is host:port as pods reach Redis.

    `appends_to_a_stream` says of a job whether its runners may be of version 0.1.0, and is asked off the event loop.
    """

    def __init__(
        self,
        client: redis.Redis,
        secret: str,
        address: str,
        appends_to_a_stream: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._appends_to_a_stream = appends_to_a_stream
        self._client = client
        self._secret = secret
        self._address = address
        self._granted: set[str] = set()
        self._revoked: set[str] = set()
        self._run_id: str | None = None
        self._cursor: int | bytes | str = 0
        self._largest = Largest(client)

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
                allowed = rules(self._secret, uid, stream=self._appends_to_a_stream(uid))
                self._client.execute_command("ACL", "SETUSER", user_name(uid), *allowed)
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
        if uid not in self._revoked:
            self.remove(uid)
            self._revoked.add(uid)

    def remove(self, uid: str) -> None:
        """`revoke`, though it was done before."""
        with translated(self._address):
            self._client.execute_command("ACL", "DELUSER", user_name(uid))
            self._client.unlink(keys.instructions(uid), keys.inbox(uid), keys.inbox_stream(uid))
        self._granted.discard(uid)

    def probe(self) -> None:
        """Writes something, since a Redis that is full or read-only still answers who only reads.

        Raises:
            StoreUnavailable: it takes nothing for now.
            StoreRefused: it takes nothing until a person acts.
        """
        with translated(self._address, self._largest):
            self._client.execute_command("SET", _PROBE, "1", "EX", 600)

    def users(self) -> frozenset[str]:
        """The uids of the jobs that have a user now."""
        with translated(self._address):
            names = self._client.execute_command("ACL", "USERS")
        return _uids(names, user_name(""))

    def holders(self) -> frozenset[str]:
        """The uids of jobs that have a user, an inbox or instructions now, whoever made them.

        Users are all looked at. Of a large Redis' keys a part is, and the next part by the next call. Races on one
        machine, which no API server knows, are left out.
        """
        found = set(self.users())
        with translated(self._address):
            for _ in range(_SCANS):
                self._cursor, names = self._client.execute_command(
                    "SCAN", self._cursor, "MATCH", f"{keys.PREFIX}:[ri]*", "COUNT", _SCANNED_AT_ONCE
                )
                for of in (keys.inbox, keys.inbox_stream, keys.instructions):
                    found |= _uids(names, of(""))
                if int(self._cursor) == 0:
                    break
        return frozenset(uid for uid in found if not uid.startswith(LOCAL_PREFIX))


def _uids(names: Iterable[bytes | str], prefix: str) -> frozenset[str]:
    """The uids in those of the names that begin so."""
    texts = (name.decode(errors="replace") if isinstance(name, bytes) else name for name in names)
    return frozenset(text.removeprefix(prefix) for text in texts if text.startswith(prefix))

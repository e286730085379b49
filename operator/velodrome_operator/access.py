"""Gives each BenchmarkJob a Redis user, which may append to its inbox and read its instructions, and nothing else.

The password follows from the operator's own secret and the job's uid. So an operator that was killed at any moment
makes the same user again, and has nothing to remember.
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
    """The name of a job's Redis user."""
    return f"{keys.PREFIX}-{uid}"


def password(secret: str, uid: str) -> str:
    """The job's password: an HMAC-SHA-256 of its uid under the operator's secret."""
    return hmac.new(secret.encode(), f"{keys.PREFIX}:{uid}".encode(), hashlib.sha256).hexdigest()


def report_key(secret: str, uid: str, index: int) -> str:
    """What reports of a job's trial must show: an HMAC-SHA-256 of both under the operator's secret, cut to 128 bits."""
    return hmac.new(secret.encode(), f"{keys.PREFIX}:{uid}:trial:{index}".encode(), hashlib.sha256).hexdigest()[:32]


def rules(secret: str, uid: str, *, stream: bool = False) -> list[str]:
    """The ACL rules of a job's user. `%R~` and `%W~`, which separate reading from writing, need Redis 7.

    No argument makes these commands harmful: RPUSH appends behind the reports of others, and LLEN only counts. Runners
    of version 0.1.0 append to a `stream`. There they can harm only the reports of the same job.
    """
    commands = ["rpush", "llen", "hget", "ping", "hello", "auth", "client|setname"]
    both = (uid, keys.search_uid(uid))
    patterns = [*(f"%W~{keys.inbox(one)}" for one in both), *(f"%R~{keys.instructions(one)}" for one in both)]
    if stream:
        commands += ["xadd", "xlen"]
        patterns.append(f"%W~{keys.inbox_stream(uid)}")
    return ["reset", "on", f">{password(secret, uid)}", *patterns, *(f"+{command}" for command in commands)]


class Access:
    """Makes and removes the users of jobs. `address` is host:port as pods reach Redis, with TLS if that is `encrypted`.

    `appends_to_a_stream` says whether a job's runners may be of version 0.1.0. It is called outside of the event loop.
    """

    def __init__(
        self,
        client: redis.Redis,
        secret: str,
        address: str,
        appends_to_a_stream: Callable[[str], bool] = lambda _: False,
        *,
        encrypted: bool = False,
    ) -> None:
        self._scheme = "rediss" if encrypted else "redis"
        self._appends_to_a_stream = appends_to_a_stream
        self._client = client
        self._secret = secret
        self._address = address
        self._granted: set[str] = set()
        self._lost: set[str] = set()
        self._revoked: set[str] = set()
        self._run_id: str | None = None
        self._cursor: int | bytes | str = 0
        self._largest = Largest(client)

    def url(self, uid: str) -> str:
        """The URL to which a job's runners report, with their user."""
        return f"{self._scheme}://{quote(user_name(uid))}:{password(self._secret, uid)}@{self._address}/0"

    def report_key(self, uid: str, index: int) -> str:
        """What reports of the job's trial must show."""
        return report_key(self._secret, uid, index)

    def grant(self, uid: str) -> bool:
        """Makes the job's user if it is missing: at first, and after Redis restarted without it.

        Returns whether this made it again, because Redis was started again since the user was made.

        Raises:
            StoreUnavailable: Redis does not answer.
            StoreRefused: this Redis user may not manage users.
        """
        with translated(self._address):
            run_id = self._present_run()
            if run_id != self._run_id:
                self._lost |= self._granted
                self._granted.clear()
                self._run_id = run_id
            again = uid in self._lost
            if uid not in self._granted:
                allowed = rules(self._secret, uid, stream=self._appends_to_a_stream(uid))
                self._client.execute_command("ACL", "SETUSER", user_name(uid), *allowed)
                self._granted.add(uid)
                self._revoked.discard(uid)
                self._lost.discard(uid)
        return again

    def renewed(self) -> bool:
        """Whether Redis restarted after the last user was made. The users are gone then."""
        with translated(self._address):
            return self._present_run() != self._run_id

    def _present_run(self) -> str:
        """The identifier of Redis' present run. Each start of Redis has a new one."""
        return str(self._client.info("server")["run_id"])

    def instruct(self, uid: str, outcomes: Mapping[int, bool]) -> None:
        """Shows the job's runners which trials have an accepted result, and whether each of them succeeded."""
        words: Mapping[bool, Outcome] = {True: "Succeeded", False: "Failed"}
        fields = [word for index, succeeded in outcomes.items() for word in (index, words[succeeded])]
        with translated(self._address):
            self._client.execute_command("HSET", keys.instructions(uid), *fields)

    def revoke(self, uid: str) -> None:
        """Removes the job's user, which closes its connections, and the job's instructions and inbox. Idempotent.

        For jobs that have ended or are gone: nobody collects what is left in the inbox. Only the first call asks Redis.
        """
        if uid not in self._revoked:
            self.remove(uid)
            self._revoked.add(uid)

    def remove(self, uid: str) -> None:
        """Does what `revoke` does, even if it was done before."""
        with translated(self._address):
            self._client.execute_command("ACL", "DELUSER", user_name(uid))
            of_search = keys.search_uid(uid)
            self._client.unlink(keys.instructions(uid), keys.inbox(uid), keys.inbox_stream(uid))
            self._client.unlink(keys.instructions(of_search), keys.inbox(of_search))
        self._granted.discard(uid)
        self._lost.discard(uid)

    def probe(self) -> None:
        """Writes something, since a Redis that is full or read-only still answers those that only read.

        Raises:
            StoreUnavailable: Redis refuses writes for now.
            StoreRefused: Redis refuses writes until a person acts.
        """
        with translated(self._address, self._largest):
            self._client.execute_command("SET", _PROBE, "1", "EX", 600)

    def users(self) -> frozenset[str]:
        """The uids of the jobs that have a user now."""
        with translated(self._address):
            names = self._client.execute_command("ACL", "USERS")
        return _uids(names, user_name(""))

    def holders(self) -> frozenset[str]:
        """The uids of jobs that have a user, an inbox or instructions now, no matter who made them.

        Each call looks at all users. In a large Redis it looks at some of the keys, and the next call at the next ones.
        Races on one machine are left out, since no API server knows them.
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
    """The uids in the names that begin with `prefix`."""
    texts = (name.decode(errors="replace") if isinstance(name, bytes) else name for name in names)
    return frozenset(keys.race_uid(text.removeprefix(prefix)) for text in texts if text.startswith(prefix))

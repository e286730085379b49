"""The Redis users of an installation: one for each role, with what it may do, and the Secret that has them. Pure.

| user | who connects as it | what it may do |
|---|---|---|
| `operator` | the operator | everything: it makes the users of races |
| `leaderboard` | the leaderboard, and commands that only read | read results |
| `marks` | people who accept changes, pin baselines or delete results | read results, and write what that writes |
| `probe` | the kubelet, without a password | PING |

Redis' default user is off. The users of races are in `velodrome_operator.access`.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, get_args

from velodrome import keys
from velodrome.errors import ActionNeeded

Role = Literal["operator", "leaderboard", "marks"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)

# The keys of the Secret. `password` is the only one in an installation of version 0.1.0.
SECRET_NAME: Final = "velodrome-redis"  # noqa: S105 - the name of an object
JOB_KEY: Final = "job-key"
USERS: Final = "users.acl"
AUTHORITY: Final = "ca.crt"
AUTHORITY_KEY: Final = "ca.key"
CERTIFICATE: Final = "tls.crt"
PRIVATE_KEY: Final = "tls.key"
FORMER_PASSWORD: Final = "password"  # noqa: S105 - the name of a key

_CONNECTING = ("ping", "hello", "auth", "client|setname")
# The commands that read results.
READING: Final = (
    "get", "exists", "mget", "hget", "hmget", "hgetall", "hkeys", "hvals", "hlen", "lrange",
    "zcard", "zscore", "zrevrange", "zrangebyscore",
)  # fmt: skip
# What `velodrome.store.Store.mark` and `velodrome.store.deletion` send, and what their scripts call.
_MARKING = (
    "evalsha", "script|load", "type", "memory|usage", "hset", "hdel", "hincrby", "unlink", "zrem",
)  # fmt: skip
_SHARED = (keys.JOBS, keys.BOARDS, keys.BOARD_TIMES, keys.BOARD_OWNERS, keys.CHANGES)
_OF_JOBS, _OF_BOARDS = f"{keys.PREFIX}:job:*", f"{keys.PREFIX}:board:*"
_ABOUT_RESULTS = (*_SHARED, _OF_JOBS, _OF_BOARDS)
# `delete` removes these with a job. What is in them is no affair of people: reports name pods by their uids.
_ABOUT_RUNNERS = tuple(name("*") for name in (keys.inbox, keys.inbox_stream, keys.instructions))

_HASH = re.compile("#([0-9a-f]{64})$")


class OddSecret(ActionNeeded):
    """The Secret with Redis' users is not as Velodrome made it."""

    reason = "OddSecret"


def rules(role: Role) -> tuple[str, ...]:
    """The ACL rules of a role's user, without its passwords. `%R~` needs Redis 7."""
    if role == "operator":
        return ("~*", "&*", "+@all")
    patterns = [f"%R~{pattern}" for pattern in (*_ABOUT_RESULTS, keys.COHORTS)]
    commands: tuple[str, ...] = (*_CONNECTING, *READING)
    if role == "marks":
        patterns = [
            *(f"~{pattern}" for pattern in _ABOUT_RESULTS),
            f"%R~{keys.COHORTS}",
            *(f"%W~{pattern}" for pattern in _ABOUT_RUNNERS),
        ]
        commands = (*commands, *_MARKING)
    return (*patterns, "resetchannels", "-@all", *(f"+{command}" for command in commands))


def hashed(password: str) -> str:
    """The password as Redis keeps it: its SHA-256."""
    return hashlib.sha256(password.encode()).hexdigest()


def acl_file(hashes: Mapping[Role, Sequence[str]]) -> str:
    """The file of users that Redis reads when it starts (`aclfile`). Each user has the passwords of these hashes.

    Nobody can be the default user: it is off, and has no password. Still it has every right, because Redis reads its
    append-only file with the rights of this user. Without them it leaves out all transactions of that file, and so all
    accepted results.
    """
    lines = [
        "user default off ~* &* +@all",
        "user probe on nopass resetchannels -@all +ping",
        *(
            " ".join((f"user {role} on", *(f"#{one}" for one in hashes[role]), *rules(role)))
            for role in ROLES
        ),
    ]  # fmt: skip
    return "".join(f"{line}\n" for line in lines)


def hashes_in(text: str) -> dict[Role, tuple[str, ...]]:
    """The hashes of the passwords that the file gives each role's user.

    Raises:
        OddSecret: a role has none.
    """
    found: dict[Role, tuple[str, ...]] = {}
    for line in text.splitlines():
        words = line.split()
        for role in ROLES:
            if words[:2] == ["user", role]:
                found[role] = tuple(match[1] for word in words if (match := _HASH.match(word)))
    if lacking := [role for role in ROLES if not found.get(role)]:
        raise OddSecret(f"{USERS} has no password for {', '.join(lacking)}: restore the Secret {SECRET_NAME}")
    return found


def password_key(role: Role) -> str:
    """The Secret's key that has the password of a role."""
    return f"{role}-password"


def new_password() -> str:
    """A random password that needs no quoting anywhere."""
    return secrets.token_urlsafe(32)


def new_users(former_password: str | None = None) -> dict[str, str]:
    """The part of a new Secret that is about users: passwords, the job key, and the users' file.

    `former_password` is that of an installation of version 0.1.0. The users of its races derive from it, so it becomes
    the job key.
    """
    passwords = {role: new_password() for role in ROLES}
    return {
        **{password_key(role): password for role, password in passwords.items()},
        JOB_KEY: former_password or new_password(),
        USERS: acl_file({role: (hashed(password),) for role, password in passwords.items()}),
    }


def host_names(service: str, namespace: str) -> tuple[str, ...]:
    """The names under which pods and people reach a Service."""
    inside = f"{service}.{namespace}"
    return (service, inside, f"{inside}.svc", f"{inside}.svc.cluster.local")


def is_former(present: Iterable[str]) -> bool:
    """Whether a Secret with these keys is of version 0.1.0: one password for all, and no TLS."""
    found = set(present)
    return FORMER_PASSWORD in found and USERS not in found

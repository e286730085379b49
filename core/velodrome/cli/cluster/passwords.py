"""The Secret with Redis' users while passwords change. Pure: it returns the Secret as it should be next.

A change has three states, and the Secret shows which it is in:

1. A role has one password. Its user in `users.acl` has one hash.
2. A second password was added. `ROLE-password` is the new one, `ROLE-password-previous` the one before, the user has
   the hashes of both, and an annotation says since when.
3. The password before was removed: as 1.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from velodrome.cli.cluster.forwarding import decoded
from velodrome.connections import certificates
from velodrome.errors import ClusterError
from velodrome.keys import GROUP
from velodrome.store import roles
from velodrome.store.roles import Role

_SINCE = f"{GROUP}/password-since."  # and the role: when the second password was added


@dataclass(frozen=True, slots=True)
class RedisUsers:
    """What the Secret says about users: the hashes of each role's passwords, and since when a role has two."""

    data: Mapping[str, str]
    hashes: Mapping[Role, tuple[str, ...]]
    since: Mapping[Role, datetime]

    @classmethod
    def read(cls, secret: Mapping[str, Any]) -> RedisUsers:
        """Reads the Secret.

        Raises:
            ClusterError: it is of version 0.1.0.
            OddSecret: a role lacks its user or its password.
        """
        data = decoded(secret)
        if roles.is_former(data):
            raise ClusterError(
                f"the Secret {roles.SECRET_NAME} is of version 0.1.0: one password for all, and no TLS",
                "complete it first: velodrome rotate --cluster --complete (docs/redis.md)",
            )
        if lacking := [key for key in map(roles.password_key, roles.ROLES) if not data.get(key)]:
            raise roles.OddSecret(f"the Secret {roles.SECRET_NAME} has no {', '.join(lacking)}: restore it")
        notes = (secret["metadata"].get("annotations") or {}).items()
        since = {role: moment for role in roles.ROLES for name, moment in notes if name == f"{_SINCE}{role}"}
        return cls(
            data,
            roles.hashes_in(data.get(roles.USERS, "")),
            {role: datetime.fromisoformat(moment) for role, moment in since.items()},
        )

    def password(self, role: Role) -> str:
        return self.data[roles.password_key(role)]

    def previous(self, role: Role) -> str | None:
        """The password before, while it counts too."""
        return self.data.get(_previous(role))

    def has_two(self, role: Role) -> bool:
        """Whether the password before counts too."""
        return len(self.hashes[role]) > 1


def with_second(secret: Mapping[str, Any], role: Role, password: str, now: datetime) -> dict[str, Any]:
    """The Secret in which the role has this password and the one before."""
    users = RedisUsers.read(secret)
    before = users.password(role)
    hashes = {**users.hashes, role: (roles.hashed(password), roles.hashed(before))}
    data = {**users.data, roles.password_key(role): password, _previous(role): before}
    return _written(secret, data | {roles.USERS: roles.acl_file(hashes)}, {f"{_SINCE}{role}": now.isoformat()})


def with_one(secret: Mapping[str, Any], role: Role) -> dict[str, Any]:
    """The Secret in which the role has its newest password alone."""
    users = RedisUsers.read(secret)
    hashes = {**users.hashes, role: (roles.hashed(users.password(role)),)}
    data = {key: value for key, value in users.data.items() if key != _previous(role)}
    return _written(secret, data | {roles.USERS: roles.acl_file(hashes)}, {f"{_SINCE}{role}": None})


def completed(secret: Mapping[str, Any], namespace: str, now: datetime) -> dict[str, Any]:
    """A Secret of version 0.1.0 with all that is missing. What it had stays, so that its installation goes on.

    Raises:
        ClusterError: nothing is missing.
        LocalError: certificates can't be made here.
    """
    data = decoded(secret)
    if not roles.is_former(data):
        raise ClusterError(f"the Secret {roles.SECRET_NAME} is complete", "leave --complete out")
    made = certificates.make(roles.host_names(secret["metadata"]["name"], namespace), now)
    return _written(secret, {**data, **roles.new_users(data[roles.FORMER_PASSWORD]), **_files(made)}, {})


def renewed(secret: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """The Secret with a new certificate of the same authority, for the same hosts.

    Raises:
        ClusterError: the authority is not Velodrome's.
        LocalError: certificates can't be made here.
    """
    data = decoded(secret)
    wanted = (roles.AUTHORITY, roles.AUTHORITY_KEY, roles.CERTIFICATE, roles.PRIVATE_KEY)
    if lacking := [key for key in wanted if not data.get(key)]:
        raise ClusterError(
            f"the Secret {roles.SECRET_NAME} has no {', '.join(lacking)}, so its certificate is not Velodrome's",
            "renew it where it was made",
        )
    present = certificates.ServerCertificate(*(data[key] for key in wanted))
    made = certificates.make(certificates.names_of(present.certificate), now, renewed=present)
    return _written(secret, {**data, **_files(made)}, {})


def _files(made: certificates.ServerCertificate) -> dict[str, str]:
    return {
        roles.AUTHORITY: made.authority,
        roles.AUTHORITY_KEY: made.authority_key,
        roles.CERTIFICATE: made.certificate,
        roles.PRIVATE_KEY: made.key,
    }


def _previous(role: Role) -> str:
    return f"{roles.password_key(role)}-previous"


def _written(secret: Mapping[str, Any], data: Mapping[str, str], notes: Mapping[str, str | None]) -> dict[str, Any]:
    """The Secret with this content and these annotations; None removes one. The API server refuses a stale version."""
    metadata = dict(secret["metadata"])
    annotations = {**(metadata.get("annotations") or {}), **notes}
    metadata["annotations"] = {name: value for name, value in annotations.items() if value is not None}
    metadata.pop("managedFields", None)
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in sorted(data.items())}
    return {**secret, "metadata": metadata, "data": encoded}

"""Turns the errors of the Redis client into this project's two kinds: try again, or a person must act."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from velodrome import keys
from velodrome.connections.clients import SILENT_TO_TLS, PasswordUnreadable, RedisLogin, build
from velodrome.errors import StoreRefused, StoreUnavailable, VelodromeError

TIMEOUT_SECONDS = 5.0

# Redis' error codes, anywhere in the text: a script's error of Redis 6.2 contains the code of the failed command.
_CODE = re.compile(r"(?:^|[\s-])([A-Z]{3,})(?= |$)")

_NO_PASSWORD = re.compile("Authentication required|already authenticated")

_WAIT: Mapping[str, str] = {
    "LOADING": "is still loading its data",
    "BUSY": "is busy with a script",
    "MASTERDOWN": "has lost its primary",
    "NOREPLICAS": "has too few replicas at hand to take writes",
    "TRYAGAIN": "is moving data",
    "NOSCRIPT": "forgot a script while it was called",
}
_ACT: Mapping[str, str] = {
    "OOM": "is full (maxmemory, without eviction): raise its maxmemory, or make room: velodrome prune, delete",
    "READONLY": "is a read-only replica: give the URL of its primary",
    "MISCONF": "can't write to its disk and takes no more writes: free space in its data folder (its log says which)",
    "NOPERM": "does not let this user do it: give the user the rights that the documentation lists",
    "NOAUTH": "wants a password: put it into the URL, redis://:PASSWORD@HOST:PORT, or into a file that "
    f"{keys.ENV_REDIS_PASSWORD_FILE} names",
    "WRONGPASS": f"refuses the user name or the password: correct those of the URL, or {keys.ENV_REDIS_USERNAME} and "
    f"the file of {keys.ENV_REDIS_PASSWORD_FILE}",
    "WRONGTYPE": "holds something in this database that Velodrome did not write: use another database",
    "CROSSSLOT": "is a Redis Cluster, which can't accept a batch as one: give a server or a Sentinel-managed primary",
    "MOVED": "is a Redis Cluster, which can't accept a batch as one: give a server or a Sentinel-managed primary",
}
_TYPES: Mapping[type[redis.RedisError], str] = {
    redis.exceptions.OutOfMemoryError: "OOM",
    redis.exceptions.ReadOnlyError: "READONLY",
    redis.exceptions.NoPermissionError: "NOPERM",
    redis.exceptions.AuthenticationWrongNumberOfArgsError: "WRONGPASS",
    redis.exceptions.AuthenticationError: "WRONGPASS",
    redis.exceptions.AuthorizationError: "NOPERM",
    redis.exceptions.BusyLoadingError: "LOADING",
    redis.exceptions.NoScriptError: "NOSCRIPT",
}
# What OpenSSL says about a connection with TLS, with the cause and the fix; the first that fits counts.
_TLS: Mapping[str, str] = {
    "Hostname mismatch|IP address mismatch|is not valid for": "shows a certificate for other names than this one: "
    "write the host as the certificate has it, or make a certificate that has this name (docs/redis.md)",
    "certificate has expired": "shows a certificate that has expired: renew it (docs/redis.md)",
    "CERTIFICATE_VERIFY_FAILED": "shows a certificate of an authority that is not trusted here: set "
    f"{keys.ENV_REDIS_CA_FILE} to the ca.crt of Redis' certificate",
    "WRONG_VERSION_NUMBER|RECORD_LAYER_FAILURE|record layer failure": "speaks no TLS at this port: write redis:// "
    "instead of rediss://, or give the port with TLS",
}
_CUT = re.compile("closed by server|reset by peer")
# A server that does not know a command quotes its arguments, and so the password.
_ARGUMENTS = re.compile(r",? with args beginning with:.*", re.DOTALL)
_OWN = "VELODROME "  # the beginning of an error that a script of the store returns


def translate(error: redis.RedisError, address: str) -> VelodromeError:
    """The error to raise instead. Pure."""
    text = _ARGUMENTS.sub("", str(error))
    if isinstance(error, PasswordUnreadable):
        return StoreRefused(text)
    fault = next((fault for signs, fault in _TLS.items() if re.search(signs, text)), "")
    if fault:
        return StoreRefused(f"Redis at {address} {fault} ({text})")
    code = _code(error, text)
    if code in _WAIT:
        return StoreUnavailable(f"Redis at {address} {_WAIT[code]}: try again ({text})")
    if code in _ACT:
        return StoreRefused(f"Redis at {address} {_ACT[code]} ({text})")
    if _OWN in text:
        return foreign(text.partition(_OWN)[2], address)
    if isinstance(error, (redis.ConnectionError, redis.TimeoutError)):
        tls = " And does it expect TLS, rediss://?" if _CUT.search(text) else ""
        if SILENT_TO_TLS in text:
            tls = " And does this port speak TLS? If not, write redis://"
        return StoreUnavailable(f"Redis at {address} does not answer: is it running?{tls} ({text})")
    if isinstance(error, redis.exceptions.InvalidResponse):
        return StoreRefused(f"what answers at {address} is no Redis: check the URL ({text})")
    return StoreRefused(f"Redis at {address} refuses; it must be Redis 6.2 or newer, or Valkey ({text})")


def _code(error: redis.RedisError, text: str) -> str:
    if isinstance(error, redis.AuthenticationError) and _NO_PASSWORD.search(text):
        return "NOAUTH"  # the client library takes the code away
    for kind, code in _TYPES.items():
        if isinstance(error, kind):
            return code
    return next((match[1] for match in _CODE.finditer(text) if match[1] in _ACT or match[1] in _WAIT), "")


def foreign(what: str, address: str) -> StoreRefused:
    """The error for a key whose content Velodrome did not write."""
    return StoreRefused(
        f"{what}: Velodrome did not write that. Give it a Redis database of its own, or delete this key in the one at "
        f"{address}"
    )


@contextmanager
def translated(address: str, largest: Callable[[], str] = str) -> Iterator[None]:
    """Raises this project's errors instead of the client library's. `largest` says what uses most of a full Redis."""
    try:
        yield
    except redis.RedisError as error:
        found = translate(error, address)
        if isinstance(found, StoreRefused) and _code(error, str(error)) == "OOM" and (words := largest()):
            found = StoreRefused(f"{found}; {words}")
        raise found from error
    except OSError as error:  # the client library lets some of a broken connection's own errors through
        raise StoreUnavailable(f"Redis at {address} does not answer: is it running? ({error})") from error


def connect(url: str, login: RedisLogin | None = None) -> redis.Redis:
    """A client for the URL, with the login of this process's environment where none is given. Nothing is sent yet.

    A call without an answer within five seconds is repeated twice: everything that the store sends may be repeated.

    Raises:
        StoreRefused: it is no URL of a Redis, or a file of the login can't be used.
    """
    try:
        return build(
            url,
            login,
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
            health_check_interval=30,
            retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), retries=2),
        )
    except ValueError as error:
        raise StoreRefused(str(error)) from None


def address_of(client: redis.Redis) -> str:
    """Where a client connects to, without the password."""
    arguments = client.get_connection_kwargs()
    database = f" database {arguments['db']}" if arguments.get("db") else ""
    host = str(arguments.get("host", "localhost"))
    host = f"[{host}]" if ":" in host else host
    where = arguments.get("path") or f"{host}:{arguments.get('port', 6379)}"
    return f"{where}{database}"

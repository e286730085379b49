"""Builds every client of Redis, from a URL and from who connects. Nothing is sent before the first command.

A URL that names no user and no password is used with those of the environment: `VELODROME_REDIS_USERNAME` and
`VELODROME_REDIS_PASSWORD_FILE`. The file is read again for each new connection, so a password can change while a
program runs. `VELODROME_REDIS_CA_FILE` says whose certificates a rediss:// server may show.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from redis.credentials import CredentialProvider

from velodrome import keys
from velodrome.connections.addresses import names_a_user, no_url, wrong_url

SILENT_TO_TLS = "no answer in TLS"


class PasswordUnreadable(redis.AuthenticationError):
    """The file with the password can't be read. The message names the file and its variable."""


@dataclass(frozen=True, slots=True)
class RedisLogin:
    """Who connects, and whose certificates count. A URL with a user or a password of its own overrides the first two.

    The defaults are Redis' default user without a password, and the certificates that this machine trusts.
    """

    username: str = ""
    password_file: Path | None = None
    ca_file: Path | None = None

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> RedisLogin:
        """The login that the environment names."""
        password, authority = environ.get(keys.ENV_REDIS_PASSWORD_FILE), environ.get(keys.ENV_REDIS_CA_FILE)
        return cls(
            environ.get(keys.ENV_REDIS_USERNAME, ""),
            Path(password) if password else None,
            Path(authority) if authority else None,
        )


class TlsConnection(redis.SSLConnection):
    """A connection with TLS, which says so when the server does not answer in TLS: a plain Redis waits in silence."""

    def _wrap_socket_with_ssl(self, sock: socket.socket) -> ssl.SSLSocket:
        try:
            wrapped: ssl.SSLSocket = super()._wrap_socket_with_ssl(sock)  # type: ignore[no-untyped-call]
        except TimeoutError:
            raise redis.TimeoutError(SILENT_TO_TLS) from None
        return wrapped


class PasswordFile(CredentialProvider):
    """Reads the password from its file whenever a connection is opened."""

    def __init__(self, path: Path, username: str = "") -> None:
        self._path = path
        self._username = username

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """The user, if there is one, and the password as the file has it now, without the newline at its end.

        Raises:
            PasswordUnreadable: there is no such file, or nothing is in it.
        """
        try:
            password = self._path.read_text(encoding="utf-8").removesuffix("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise PasswordUnreadable(_unreadable(keys.ENV_REDIS_PASSWORD_FILE, self._path, error)) from None
        if not password:
            raise PasswordUnreadable(f"{keys.ENV_REDIS_PASSWORD_FILE}: {self._path} is empty: write the password there")
        return (self._username, password) if self._username else (password,)


def build(url: str, login: RedisLogin | None = None, **options: Any) -> redis.Redis:
    """A client for the URL. Without a login it uses that of this process's environment. `options` are redis-py's.

    Raises:
        ValueError: it is no URL of a Redis, or a file of the login can't be used. The message names the variable, and
            has no password.
    """
    if why := wrong_url(url):
        raise ValueError(why)
    login = RedisLogin.read(os.environ) if login is None else login
    if url.startswith("rediss://") and login.ca_file is not None and "ssl_ca_certs=" not in url:
        _check_certificates(login.ca_file)
        options["ssl_ca_certs"] = str(login.ca_file)
    if url.startswith("rediss://"):
        options["connection_class"] = TlsConnection
    if not url.startswith("unix://") and not names_a_user(url):
        options |= _credentials(login)
    try:
        return redis.Redis.from_url(url, **options)
    except (TypeError, ValueError):  # the error quotes the URL, with the password
        raise ValueError(no_url("its port, or a value behind the question mark, can't be read")) from None


def _credentials(login: RedisLogin) -> dict[str, Any]:
    if login.password_file is not None:
        provider = PasswordFile(login.password_file, login.username)
        try:
            provider.get_credentials()
        except PasswordUnreadable as error:
            raise ValueError(str(error)) from None
        return {"credential_provider": provider}
    if login.username:
        raise ValueError(
            f"{keys.ENV_REDIS_USERNAME} names the user {login.username} without a password: set "
            f"{keys.ENV_REDIS_PASSWORD_FILE} to the file that has it"
        )
    return {}


def _check_certificates(path: Path) -> None:
    try:
        ssl.create_default_context(cafile=str(path))
    except ssl.SSLError:
        raise ValueError(f"{keys.ENV_REDIS_CA_FILE}: {path} has no certificates: give a PEM file, ca.crt") from None
    except OSError as error:
        raise ValueError(_unreadable(keys.ENV_REDIS_CA_FILE, path, error)) from None


def _unreadable(variable: str, path: Path, error: OSError | UnicodeDecodeError) -> str:
    words = error.strerror if isinstance(error, OSError) else "it is no text"
    return f"{variable}: {path} can't be read ({words}): mount that key of the Secret there, or name another file"

"""The credentials for registries, where `docker login` and `podman login` keep them."""

from __future__ import annotations

import base64
import binascii
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from velodrome.cli.registry.reference import USUAL_HOST

_USUAL_KEY: Final = "https://index.docker.io/v1/"
_TOKEN_USER: Final = "<token>"  # noqa: S105 - what credential helpers call a user who has an identity token
_PATIENCE_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class RegistryLogin:
    """A user with a password, or the identity token that a login gave."""

    user: str = ""
    password: str = ""
    identity_token: str = ""

    @property
    def basic(self) -> str:
        """The value of an Authorization header of the Basic scheme."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


def login_for(host: str, repository: str, environ: Mapping[str, str] | None = None) -> RegistryLogin | None:
    """The credentials for a repository. None if nobody has signed in to its registry here."""
    environ = os.environ if environ is None else environ
    for path in _files(environ):
        document = _read(path)
        found = _of(document, host, repository, environ)
        if found is not None:
            return found
    return None


def _files(environ: Mapping[str, str]) -> Iterator[Path]:
    """The files that may hold credentials. Docker's comes first."""
    home = Path(environ.get("HOME") or "~").expanduser()
    folder = environ.get("DOCKER_CONFIG")
    yield (Path(folder) if folder else home / ".docker") / "config.json"
    if environ.get("REGISTRY_AUTH_FILE"):
        yield Path(environ["REGISTRY_AUTH_FILE"])
    if environ.get("XDG_RUNTIME_DIR"):
        yield Path(environ["XDG_RUNTIME_DIR"]) / "containers" / "auth.json"
    yield home / ".config" / "containers" / "auth.json"


def _read(path: Path) -> Mapping[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _of(document: Mapping[str, Any], host: str, repository: str, environ: Mapping[str, str]) -> RegistryLogin | None:
    """The credentials in one file: a helper's before those that are written there."""
    helpers = document.get("credHelpers")
    names = _names(host)
    helper = next((helpers[name] for name in names if name in helpers), None) if isinstance(helpers, dict) else None
    helper = helper or document.get("credsStore")
    if isinstance(helper, str) and helper:
        found = next((login for name in names if (login := _ask(helper, name, environ))), None)
        if found is not None:
            return found
    auths = document.get("auths")
    if not isinstance(auths, dict):
        return None
    known = {_stripped(str(key)): value for key, value in auths.items() if isinstance(value, dict)}
    places = repository.split("/")
    keys = [f"{host}/{'/'.join(places[:count])}" for count in range(len(places), 0, -1)]  # podman's, by repository
    return next((login for key in [*keys, *map(_stripped, names)] if (login := _decoded(known.get(key, {})))), None)


def _names(host: str) -> list[str]:
    return [_USUAL_KEY, host] if host == USUAL_HOST else [host, f"https://{host}"]


def _stripped(key: str) -> str:
    """A key without scheme and without the path of the first version of the protocol."""
    bare = key.removeprefix("https://").removeprefix("http://").rstrip("/")
    return bare.removesuffix("/v1").removesuffix("/v2")


def _decoded(entry: Mapping[str, Any]) -> RegistryLogin | None:
    token = entry.get("identitytoken")
    if isinstance(token, str) and token:
        return RegistryLogin(identity_token=token)
    user, password = entry.get("username"), entry.get("password")
    if isinstance(user, str) and isinstance(password, str) and user:
        return RegistryLogin(user, password)
    try:
        user, colon, password = base64.b64decode(str(entry.get("auth") or ""), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return RegistryLogin(user, password.rstrip("\0")) if colon else None


def _ask(helper: str, name: str, environ: Mapping[str, str]) -> RegistryLogin | None:
    """What a credential helper knows about a registry. It also says no by failing."""
    program = shutil.which(f"docker-credential-{helper}", path=environ.get("PATH"))
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, "get"], input=name, capture_output=True, text=True, check=True, timeout=_PATIENCE_SECONDS
        )
        answer = json.loads(done.stdout)
        user, secret = str(answer["Username"]), str(answer["Secret"])
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
        return None
    return RegistryLogin(identity_token=secret) if user == _TOKEN_USER else RegistryLogin(user, secret)

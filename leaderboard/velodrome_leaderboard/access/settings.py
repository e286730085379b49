"""The sign-in file: which provider signs people in, who may look, who is an admin, and who sees which boards."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic.alias_generators import to_camel

from velodrome.board.tenancy import check_pattern
from velodrome.errors import LocalError

if TYPE_CHECKING:
    from streamlit.runtime.secrets import SecretsValue

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_SHORTEST_COOKIE_SECRET = 32
# What `*` of a rule's value matched, in the rule's boards.
MATCHED = "{*}"

Text = Annotated[str, Field(min_length=1)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class ClaimValues(_Section):
    """People with one of these values in a claim. `*` in a value stands for any letters."""

    claim: Text
    values: Annotated[tuple[Text, ...], Field(min_length=1)]


class TeamBoards(_Section):
    """The boards of people with this value in a claim. `{*}` in a board is what `*` of the value matched."""

    claim: Text
    value: Text
    boards: Annotated[tuple[Text, ...], Field(min_length=1)]

    @field_validator("value")
    @classmethod
    def _one_star(cls, value: str) -> str:
        if value.count("*") > 1:
            raise ValueError("write * once at most: {*} in boards is what it matches")
        return value

    @field_validator("boards")
    @classmethod
    def _patterns(cls, boards: tuple[str, ...]) -> tuple[str, ...]:
        for board in boards:
            check_pattern(board.replace(MATCHED, "a"))
        return boards


class SignInFile(_Section):
    """The content of the sign-in file. Paths are relative to the file's folder.

    - `issuer` is the provider, which describes itself at `/.well-known/openid-configuration` below that address.
    - `address` is where browsers find the pages. The provider sends people back to `oauth2callback` below it.
    - `name` is the claim that names a person in pages and logs. `sub` does, where the claim is absent or unverified.
    - `viewers` may look. `admins` may also set marks, and see all boards.
    - `boards` limits viewers to the boards of the rules that fit them. Without rules, they see all boards.
    - `public_boards` are the boards whose badges need no sign-in.
    - `tokens_file` lists the tokens of programs: `velodrome_leaderboard.access.tokens` says how.
    """

    issuer: str
    client_id: Text
    client_secret_file: Path
    cookie_secret_file: Path
    address: str
    scopes: Annotated[tuple[Text, ...], Field(min_length=1)] = ("openid", "profile", "email")
    session_hours: Annotated[float, Field(gt=0, le=720)] = 10.0
    name: Text = "email"
    viewers: ClaimValues
    admins: ClaimValues | None = None
    boards: tuple[TeamBoards, ...] = ()
    public_boards: tuple[str, ...] = ()
    tokens_file: Path | None = None

    @field_validator("issuer", "address")
    @classmethod
    def _https(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("https", "http") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(f"{value!r} is no address: write https://HOST, with a path where it has one")
        if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            raise ValueError(f"{value!r} has no TLS: write https://… (http is for this machine alone)")
        return value.rstrip("/")

    @field_validator("scopes")
    @classmethod
    def _openid(cls, scopes: tuple[str, ...]) -> tuple[str, ...]:
        if "openid" not in scopes or any(re.search(r"\s", scope) for scope in scopes):
            raise ValueError("list single scopes, and openid among them")
        return scopes

    @field_validator("public_boards")
    @classmethod
    def _public(cls, boards: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(check_pattern(board) for board in boards)


@dataclass(frozen=True, slots=True)
class SignIn:
    """The sign-in file with the secrets that it names."""

    rules: SignInFile
    client_secret: str
    cookie_secret: str
    folder: Path

    @property
    def tokens_file(self) -> Path | None:
        """The path of the list of tokens."""
        return None if self.rules.tokens_file is None else self.folder / self.rules.tokens_file

    def secrets(self) -> dict[str, SecretsValue]:
        """What Streamlit's `st.login` reads, as the section `auth` of its secrets."""
        return {
            "auth": {
                "redirect_uri": f"{self.rules.address}/oauth2callback",
                "cookie_secret": self.cookie_secret,
                "client_id": self.rules.client_id,
                "client_secret": self.client_secret,
                "server_metadata_url": f"{self.rules.issuer}/.well-known/openid-configuration",
                "client_kwargs": {"scope": " ".join(self.rules.scopes)},
            }
        }


def read_sign_in(path: Path) -> SignIn:
    """Reads the file and its secrets.

    Raises:
        LocalError: it can't be read, or a field is wrong; the message names the field.
    """
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise LocalError(f"the sign-in file {path} can't be read: {_words(error)}") from error
    try:
        rules = SignInFile.model_validate(found if isinstance(found, dict) else {})
    except ValidationError as error:
        raise LocalError(f"the sign-in file {path} is wrong:\n{_problems(error)}") from error
    folder = path.absolute().parent
    cookie = _secret(path, "cookieSecretFile", folder / rules.cookie_secret_file)
    if len(cookie) < _SHORTEST_COOKIE_SECRET:
        raise LocalError(
            f"the sign-in file {path}: cookieSecretFile has {len(cookie)} letters, which can be guessed: write "
            f"{_SHORTEST_COOKIE_SECRET} random ones at least, as `openssl rand -hex 32` prints them"
        )
    return SignIn(rules, _secret(path, "clientSecretFile", folder / rules.client_secret_file), cookie, folder)


def _secret(path: Path, field: str, file: Path) -> str:
    try:
        text = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise LocalError(f"the sign-in file {path}: {field}: {file} can't be read: {_words(error)}") from error
    if not text:
        raise LocalError(f"the sign-in file {path}: {field}: {file} is empty: write the secret there")
    return text


def _problems(error: ValidationError) -> str:
    return "\n".join(
        f"  {'.'.join(str(to_camel(part) if isinstance(part, str) else part) for part in one['loc'])}: "
        f"{one['msg'].removeprefix('Value error, ')}"
        for one in error.errors()
    )


def _words(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)

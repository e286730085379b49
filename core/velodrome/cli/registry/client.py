"""Which digest an image has, as its registry answers."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPResponse
from typing import Any, Final
from urllib.error import HTTPError
from urllib.parse import urlencode, urlsplit
from urllib.request import ProxyHandler, Request, build_opener

from velodrome.cli.registry.credentials import RegistryLogin, login_for
from velodrome.cli.registry.reference import USUAL_TAG, ImageReference
from velodrome.connections.direct import is_loopback
from velodrome.errors import ActionNeeded, TryAgain

_MANIFESTS: Final = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_DIGEST = re.compile(r"sha256:[a-f0-9]{64}")
_PARAMETER = re.compile(r'([a-zA-Z_]+)=(?:"([^"]*)"|([^\s,]+))')
_TIMEOUT_SECONDS: Final = 20.0
_LARGEST_ANSWER: Final = 4 * 1024 * 1024
_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _SERVER_FAULT = 401, 403, 404, 500


class ImageNotFound(ActionNeeded):
    """The registry has no such image."""

    reason = "ImageNotFound"


class RegistryDenied(ActionNeeded):
    """The registry wants other credentials."""

    reason = "RegistryDenied"


class RegistryRefused(ActionNeeded):
    """The name, the address or the registry's answer is unusable."""

    reason = "RegistryRefused"


class RegistryUnavailable(TryAgain):
    """The registry does not answer for now."""

    reason = "RegistryUnavailable"


@dataclass(slots=True)
class Registries:
    """Asks registries, and keeps what they answered.

    With `insecure`, registries on the loopback interface are asked by HTTP. All others are asked by HTTPS alone.
    """

    insecure: bool = False
    logins: Callable[[str, str], RegistryLogin | None] = login_for
    _tokens: dict[tuple[str, str], str] = field(default_factory=dict)
    _known: dict[tuple[str, str, str], str] = field(default_factory=dict)

    def digest(self, image: ImageReference) -> str:
        """The digest of the image's tag, or of its digest if it has one: so this also shows that the image is there.

        Raises:
            ImageNotFound, RegistryDenied, RegistryRefused: it has none, or does not tell; the message has the fix.
            RegistryUnavailable: there is no answer.
        """
        which = image.digest or image.tag or USUAL_TAG
        key = image.host, image.repository, which
        if key not in self._known:
            self._known[key] = self._asked(image, which)
        return self._known[key]

    def _asked(self, image: ImageReference, which: str) -> str:
        url = f"{self._base(image)}/v2/{image.repository}/manifests/{which}"
        answer = self._open(image, url, "HEAD")
        told = answer.headers.get("Docker-Content-Digest", "")
        if not _DIGEST.fullmatch(told):  # the header is optional: then the digest is that of the content
            content = self._open(image, url, "GET").read(_LARGEST_ANSWER + 1)
            if len(content) > _LARGEST_ANSWER:
                raise RegistryRefused(f"{image.written}: the registry's answer is larger than 4 MiB")
            told = "sha256:" + hashlib.sha256(content).hexdigest()
        if image.digest and told != image.digest:
            raise RegistryRefused(f"{image.written}: the registry answers with another digest, {told}")
        return told

    def _base(self, image: ImageReference) -> str:
        plain = self.insecure and is_loopback(image.api_host)
        return f"{'http' if plain else 'https'}://{image.api_host}"

    def _open(self, image: ImageReference, url: str, method: str) -> HTTPResponse:
        """The answer, after signing in if the registry asks for it."""
        key = image.host, image.repository
        request = Request(url, method=method, headers={"Accept": ", ".join(_MANIFESTS)})  # noqa: S310 - http(s) alone
        if key in self._tokens:
            request.add_unredirected_header("Authorization", self._tokens[key])
        try:
            return _answer(request)
        except HTTPError as error:
            if error.code != _UNAUTHORIZED or key in self._tokens:
                raise _explained(image, error) from error
            challenge = error.headers.get("WWW-Authenticate", "")
        except (OSError, HTTPException) as error:
            raise _unavailable(image, error, insecure=self.insecure) from error
        self._tokens[key] = self._authorization(image, challenge)
        return self._open(image, url, method)

    def _authorization(self, image: ImageReference, challenge: str) -> str:
        """The value of the Authorization header that a challenge asks for."""
        scheme, _, rest = challenge.partition(" ")
        parameters = {name.lower(): quoted or bare for name, quoted, bare in _PARAMETER.findall(rest)}
        login = self.logins(image.host, image.repository)
        if scheme.lower() == "basic":
            if login is None:
                raise _denied(image)
            return login.basic
        realm = parameters.get("realm", "")
        if scheme.lower() != "bearer" or not realm:
            raise RegistryRefused(
                f"{image.written}: the registry asks to sign in in a way that is not known: {challenge}"
            )
        if urlsplit(realm).scheme != "https" and not (self.insecure and is_loopback(realm)):
            raise RegistryRefused(f"{image.written}: the registry names {realm} to sign in, which is not HTTPS")
        try:
            with _answer(_token_request(realm, parameters, image, login)) as answer:
                token = _token(answer.read(_LARGEST_ANSWER))
        except HTTPError as error:
            raise _explained(image, error) from error
        except (OSError, HTTPException) as error:
            raise _unavailable(image, error, insecure=self.insecure) from error
        if token is None:
            raise RegistryRefused(f"{image.written}: {realm} gave no token")
        return f"Bearer {token}"


def _token_request(
    realm: str, parameters: Mapping[str, str], image: ImageReference, login: RegistryLogin | None
) -> Request:
    """The question for a token. A login by identity token is exchanged, as OAuth 2 does it."""
    wanted = {"service": parameters.get("service", ""), "scope": f"repository:{image.repository}:pull"}
    if login is not None and login.identity_token:
        form = {
            **wanted,
            "grant_type": "refresh_token",
            "refresh_token": login.identity_token,
            "client_id": "velodrome",
        }
        return Request(realm, data=urlencode(form).encode(), method="POST")  # noqa: S310 - the caller checked it
    separator = "&" if urlsplit(realm).query else "?"
    request = Request(f"{realm}{separator}{urlencode(wanted)}")  # noqa: S310 - as above
    if login is not None:
        request.add_unredirected_header("Authorization", login.basic)
    return request


def _token(content: bytes) -> str | None:
    try:
        answer: Any = json.loads(content)
    except ValueError:
        return None
    found = answer.get("token") or answer.get("access_token") if isinstance(answer, dict) else None
    return found if isinstance(found, str) else None


def _answer(request: Request) -> HTTPResponse:
    """The answer. A proxy of the environment is asked, except about this machine."""
    direct = [ProxyHandler({})] if is_loopback(request.full_url) else []
    answer: HTTPResponse = build_opener(*direct).open(request, timeout=_TIMEOUT_SECONDS)
    return answer


def _explained(image: ImageReference, error: HTTPError) -> ActionNeeded | TryAgain:
    if error.code in (_UNAUTHORIZED, _FORBIDDEN):
        return _denied(image)
    if error.code == _NOT_FOUND:
        return ImageNotFound(f"{image.written}: {image.host} has no such image: push it, or correct its name or tag")
    if error.code >= _SERVER_FAULT:
        return RegistryUnavailable(f"{image.written}: {image.host} answers {error.code} {error.reason}")
    return RegistryRefused(f"{image.written}: {image.host} answers {error.code} {error.reason}")


def _denied(image: ImageReference) -> RegistryDenied:
    fix = f"docker login {image.host} (or podman login), as a user who may pull it"
    return RegistryDenied(f"{image.written}: {image.host} refuses: sign in with {fix}")


def _unavailable(image: ImageReference, error: Exception, *, insecure: bool) -> RegistryUnavailable:
    cause = getattr(error, "reason", None) or error
    tell = is_loopback(image.api_host) and not insecure
    hint = " (--insecure asks a registry of this machine by HTTP)" if tell else ""
    return RegistryUnavailable(f"{image.written}: {image.api_host} does not answer: {cause}{hint}")

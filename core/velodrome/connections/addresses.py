"""Explains what is wrong with the URL of a Redis. Quotes no part of it, because any part may be the password. Pure."""

from __future__ import annotations

import re
from typing import Final

_USERINFO: Final = re.compile(r"[?&](username|password)=")
_SCHEMES: Final = ("redis", "rediss", "unix")
_HOST: Final = re.compile(r"(\[[0-9a-fA-F:.]+(%[\w.-]+)?\]|[\w.-]*)(:[0-9]{0,5})?", re.ASCII)


def wrong_url(url: str) -> str:
    """What is wrong with this URL of a Redis, and how a right one looks; empty if it is right."""
    why = _fault(url)
    return no_url(why) if why else ""


def no_url(why: str) -> str:
    """The sentence about a URL that can't be used."""
    return (
        f"the Redis URL can't be used: {why}; write redis://:PASSWORD@HOST:PORT/DATABASE, the same with rediss:// for "
        "TLS, or unix:///PATH?db=DATABASE, and reserved characters of the password percent-encoded"
    )


def names_a_user(url: str) -> bool:
    """Whether the URL has a user or a password of its own."""
    authority = re.split(r"[/?#]", url.partition("://")[2], maxsplit=1)[0]
    return "@" in authority or _USERINFO.search(url) is not None


def _fault(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in _SCHEMES:
        return f"its scheme is none of {', '.join(_SCHEMES)}" if separator else "it has no scheme"
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if _is_cut(scheme, authority, rest[len(authority) :]):
        return "an @ stands behind the host: in a password, write / as %2F, ? as %3F, # as %23 and @ as %40"
    host = authority.rpartition("@")[2]
    if scheme == "unix":
        return "" if not host else "a unix:// URL has no host: its path begins with the third slash"
    if not _HOST.fullmatch(host):
        return "what stands for HOST:PORT is neither a name nor an address with a port"
    return ""


def _is_cut(scheme: str, authority: str, rest: str) -> bool:
    """Whether a reserved character in the password seems to have cut it off."""
    path, _, query = rest.partition("?")
    if "@" in path:
        return scheme != "unix" or (bool(authority) and "@" not in authority)
    return "@" in query and "=" not in query.partition("@")[0]

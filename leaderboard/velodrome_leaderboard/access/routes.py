"""Which addresses are open to everybody, and which need a person or a token. Pure.

Whatever is not listed here needs one: an address that somebody adds is closed until it is listed.
"""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import urlsplit

from velodrome_leaderboard import links

Need = Literal["nothing", "person", "everything", "public board"]

LOGIN, LOGOUT, CALLBACK = "/auth/login", "/auth/logout", "/oauth2callback"
STREAM = "/_stcore/stream"
_PAGES = {
    f"/{name}"
    for name in (
        links.BOARDS, links.BOARD, links.JOB, links.RUN, links.HISTORY, links.PROFILE, links.COMPARE, links.ENTRY,
    )
}  # fmt: skip
# The empty page, the frontend's files and the probes have no results. Pages get theirs through the stream, where each
# question asks who looks.
_OPEN = {
    "/", "/index.html", "/favicon.png", "/manifest.json",
    "/_stcore/health", "/_stcore/script-health-check", "/_stcore/host-config",
    LOGIN, LOGOUT, CALLBACK, *_PAGES,
}  # fmt: skip
_OPEN_FOLDER = "/static/"
# These count over all boards.
_METRICS = {"/metrics", "/_stcore/metrics"}
_BADGE = re.compile(r"/api/v1/boards/(?P<board>[^/]+)/objectives/[^/]+/badge\.svg")


def need(path: str) -> tuple[Need, str]:
    """What a request needs, by its path; and the board, for a badge: if that board is public, it needs nothing."""
    if path in _OPEN or path.startswith(_OPEN_FOLDER):
        return "nothing", ""
    if path in _METRICS:
        return "everything", ""
    badge = _BADGE.fullmatch(path)
    return ("public board", badge["board"]) if badge else ("person", "")


def way_back(address: str, referer: str) -> str | None:
    """The page that a person was on before signing in, below `address`; None if it was no page of ours."""
    here, there = urlsplit(address), urlsplit(referer)
    if (here.scheme, here.netloc) != (there.scheme, there.netloc) or not there.path.startswith(here.path):
        return None
    return local_page(there.path.removeprefix(here.path) + (f"?{there.query}" if there.query else ""))


def local_page(back: str) -> str | None:
    """The path and query, if they are of one of our pages. So a changed cookie leads nowhere else."""
    path, _, query = back.partition("?")
    harmless = all(letter.isascii() and letter.isprintable() and letter not in ' "\\<>' for letter in query)
    return back if path in _PAGES and harmless and len(back) < 2000 else None

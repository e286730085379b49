"""What a browser says while it can't reach the leaderboard.

Streamlit asks whether the reader is connected to the Internet, which a leaderboard has nothing to do with. The words
are in one of its scripts, so that script is served from here with other words.
"""

from __future__ import annotations

import gzip
from functools import cache
from pathlib import Path

import streamlit
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

THEIRS = (
    "Streamlit server is not responding. Are you connected to the internet?",
    "Is Streamlit still running? If you accidentally stopped Streamlit, just restart it in your terminal:",
    "streamlit run yourscript.py",
)
OURS = (
    "The leaderboard does not answer. This page comes back by itself as soon as it does.",
    "The leaderboard does not answer. This page comes back by itself as soon as it does. It is started by:",
    "velodrome leaderboard",
)


class OwnWords:
    """Answers requests for Streamlit's scripts that hold these words. All other requests go on to the app."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        name = str(scope.get("path", "")).rpartition("/static/js/")[2] if scope["type"] == "http" else ""
        found = changed_scripts().get(name)
        if found is None:
            await self._app(scope, receive, send)
            return
        headers = {"Content-Encoding": "gzip", "Cache-Control": "public, immutable, max-age=31536000"}
        await Response(found, media_type="text/javascript", headers=headers)(scope, receive, send)


@cache
def changed_scripts() -> dict[str, bytes]:
    """By file name, the scripts with our words, compressed. Empty if a later Streamlit has other words."""
    folder = Path(streamlit.__file__).parent / "static" / "static" / "js"
    found = {}
    for path in folder.glob("index.*.js"):
        text = path.read_text("utf-8")
        if any(words in text for words in THEIRS):
            for theirs, ours in zip(THEIRS, OURS, strict=True):
                text = text.replace(theirs, ours)
            found[path.name] = gzip.compress(text.encode())
    return found

"""Stands in front of every address: it lets through what is open, and asks everybody else who they are.

It also makes the sign-in's cookies travel by TLS alone, ends a session when its person signs out, and brings people
back to the page from which they signed in.
"""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import quote, unquote, urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from velodrome.board.tenancy import ShownBoards
from velodrome_leaderboard.access import current, routes
from velodrome_leaderboard.access.cookies import USER_COOKIE, claims_in
from velodrome_leaderboard.access.people import NotAViewer, Person, SignInNeeded
from velodrome_leaderboard.access.settings import SignIn
from velodrome_leaderboard.access.tokens import holder_in

_BACK = "velodrome_back"
_BACK_SECONDS = 600
_UNKNOWN_SENDER = (
    "no token of this leaderboard: send the header `Authorization: Bearer TOKEN`, or sign in with a browser"
)
_ALL_BOARDS = "this counts over all boards, and yours are limited: use a token without boards"


class Gate:
    """The app behind the gate. `how` is None where everybody may look: then all goes through."""

    def __init__(self, app: ASGIApp, how: SignIn | None) -> None:
        self._app = app
        self._how = how
        self._base = "" if how is None else urlsplit(how.rules.address).path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._how is None or scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        path = scope["path"].removeprefix(self._base) if self._base else scope["path"]
        if scope["type"] == "websocket":
            if path == routes.STREAM:
                await self._app(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": 1008})
            return
        await self._answer(path, HTTPConnection(scope), self._how, receive, send)

    async def _answer(self, path: str, asked: HTTPConnection, how: SignIn, receive: Receive, send: Send) -> None:
        wanted, board = routes.need(path)
        careful = _Careful(send, path, asked, how, guarded=wanted != "nothing")
        if wanted == "nothing":
            if path == routes.LOGOUT:
                _end_session(asked, how)
            await self._app(asked.scope, receive, careful)
            return
        public = ShownBoards.only(how.rules.public_boards)
        try:
            person = Person(shown=public) if wanted == "public board" and board in public else who(asked, how)
        except (SignInNeeded, NotAViewer) as error:
            status = HTTPStatus.FORBIDDEN if isinstance(error, NotAViewer) else HTTPStatus.UNAUTHORIZED
            await _refusal(status, str(error))(asked.scope, receive, careful)
            return
        if wanted == "everything" and not person.shown.everything:
            await _refusal(HTTPStatus.FORBIDDEN, _ALL_BOARDS)(asked.scope, receive, careful)
            return
        with current.asked_by(person):
            await self._app(asked.scope, receive, careful)


def who(asked: HTTPConnection, how: SignIn) -> Person:
    """Who sent the request: the program with its token, or the person of its cookies.

    Raises:
        SignInNeeded: neither is known, or the session is over.
        NotAViewer: the person may not look.
    """
    kind, _, token = asked.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        found = holder_in(how.tokens_file, token.strip())
        if found is None:
            raise SignInNeeded(_UNKNOWN_SENDER)
        return found
    claims = claims_in(asked.cookies, how.cookie_secret)
    if not claims:
        raise SignInNeeded(_UNKNOWN_SENDER)
    return current.from_claims(claims, how)


def _end_session(asked: HTTPConnection, how: SignIn) -> None:
    try:
        current.ENDED.add(current.from_claims(claims_in(asked.cookies, how.cookie_secret), how))
    except (SignInNeeded, NotAViewer):
        return


def _refusal(status: HTTPStatus, detail: str) -> JSONResponse:
    """Problem details (RFC 9457), as the API writes them."""
    body = {"type": "about:blank", "title": status.phrase, "status": int(status), "detail": detail}
    headers = {"WWW-Authenticate": "Bearer"} if status is HTTPStatus.UNAUTHORIZED else None
    return JSONResponse(body, int(status), headers, media_type="application/problem+json")


class _Careful:
    """Sends an answer with the headers that sign-in needs."""

    def __init__(self, send: Send, path: str, asked: HTTPConnection, how: SignIn, *, guarded: bool) -> None:
        self._send = send
        self._path = path
        self._asked = asked
        self._how = how
        self._guarded = guarded

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._change(MutableHeaders(scope=message))
        await self._send(message)

    def _change(self, headers: MutableHeaders) -> None:
        headers["Content-Security-Policy"] = "frame-ancestors 'self'"
        if self._guarded:
            headers.setdefault("Cache-Control", "private, no-store")
        if self._path == routes.LOGIN:
            back = routes.way_back(self._how.rules.address, self._asked.headers.get("referer", ""))
            headers.append("set-cookie", self._cookie(quote(back or "", safe=""), _BACK_SECONDS if back else 0))
        if self._path == routes.CALLBACK and "location" in headers:
            self._go_back(headers)
        if self._how.rules.address.startswith("https:"):
            self._secure(headers)

    def _go_back(self, headers: MutableHeaders) -> None:
        set_now = headers.getlist("set-cookie")
        signed_in = any(one.startswith(f"{USER_COOKIE}=") and "Max-Age=0" not in one for one in set_now)
        back = routes.local_page(unquote(self._asked.cookies.get(_BACK, "")))
        if signed_in and back is not None:
            headers["location"] = urlsplit(self._how.rules.address).path + back
        headers.append("set-cookie", self._cookie("", 0))

    def _cookie(self, value: str, seconds: int) -> str:
        path = urlsplit(self._how.rules.address).path or "/"
        return f"{_BACK}={value}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite=lax"

    def _secure(self, headers: MutableHeaders) -> None:
        cookies = headers.getlist("set-cookie")
        if cookies:
            del headers["set-cookie"]
            for cookie in cookies:
                headers.append("set-cookie", cookie if "secure" in cookie.lower().split("; ") else f"{cookie}; Secure")

"""Proxies between an operator and what it talks to, which do harm at a chosen request: the API server's, and Redis'.

Each runs in a thread of its own on an address of the loopback network.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import ssl
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Self, cast

import aiohttp
from aiohttp import web

WRITES = ("POST", "PUT", "PATCH", "DELETE")
_HOP = {"host", "content-length", "transfer-encoding", "connection", "content-encoding", "accept-encoding"}


class Looped:
    """Something asynchronous in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.call(self.open())
        return self

    def __exit__(self, *_: object) -> None:
        self.call(self.close())
        self.call(self._end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()

    def call(self, work: Awaitable[None]) -> None:
        """Runs it in the thread, to its end."""

        async def run() -> None:
            await work

        found: Future[None] = asyncio.run_coroutine_threadsafe(run(), self.loop)
        found.result(30)

    async def _end(self) -> None:
        """Ends what waits for connections that nobody uses any more."""
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def open(self) -> None:
        """Begins to listen."""

    async def close(self) -> None:
        """Ends every connection."""


class ApiProxy(Looped):
    """Passes requests on to an API server, as whoever asks. Writes are counted from 1; `sent` is what each one held.

    `strike(n, "before" | "after")` is called around the n-th write: before it is sent, and when the answer is here and
    not yet passed on. `refuse`, while it is a status, is the answer to everything but watches. `silent` keeps what
    watches say. `stale` is a token that is no longer good. Each request waits for `delay` seconds.
    """

    def __init__(self, server: str, address: str, port: int, pki: Path) -> None:
        super().__init__()
        self._server, self._address, self._port, self._pki = server, address, port, pki
        self.writes: list[str] = []
        self.sent: list[bytes] = []
        self.reads = 0
        self.strike: Callable[[int, str], None] = lambda _n, _when: None
        self.refuse: int | None = None
        self.refused = 0
        self.silent = False
        self.swallowed = 0
        self.watching = 0
        self.stale: str | None = None
        self.delay = 0.0

    async def open(self) -> None:
        trust = ssl.create_default_context(cafile=str(self._pki / "ca.crt"))
        own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        own.load_cert_chain(self._pki / "apiserver.crt", self._pki / "apiserver.key")
        connector = aiohttp.TCPConnector(ssl=trust, limit=0)
        self._session = aiohttp.ClientSession(connector=connector, auto_decompress=False)
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._pass)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._address, self._port, ssl_context=own).start()

    async def close(self) -> None:
        await self._runner.cleanup()
        await self._session.close()

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        if self.stale is not None and self.stale in request.headers.get("Authorization", ""):
            return _status(401)
        watch = request.query.get("watch") in ("true", "1")
        if self.refuse is not None and not watch:
            self.refused += 1
            return _status(self.refuse)
        writes = request.method in WRITES
        number, sent = 0, await request.read()
        await asyncio.sleep(self.delay)
        if writes:
            self.writes.append(f"{request.method} {request.path}")
            self.sent.append(sent)
            number = len(self.writes)
            self.strike(number, "before")
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP}
        url = f"{self._server}{request.rel_url}"
        timeout = aiohttp.ClientTimeout(total=None)
        async with self._session.request(
            request.method, url, headers=headers, data=sent or None, timeout=timeout
        ) as answer:
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in _HOP}
            if watch:
                return await self._stream(request, answer, kept)
            body = await answer.read()
            if writes:
                self.strike(number, "after")
            else:
                self.reads += 1
            return web.Response(status=answer.status, headers=kept, body=body)

    async def _stream(
        self, request: web.Request, answer: aiohttp.ClientResponse, headers: dict[str, str]
    ) -> web.StreamResponse:
        response = web.StreamResponse(status=answer.status, headers=headers)
        await response.prepare(request)
        self.watching += 1
        with contextlib.suppress(ConnectionError, aiohttp.ClientError):
            async for chunk in answer.content.iter_any():
                if self.silent:
                    self.swallowed += 1
                else:
                    await response.write(chunk)
        while self.silent:  # noqa: ASYNC110 - the other side is gone, and this connection does not say so
            await asyncio.sleep(0.2)
        return response


def _status(code: int) -> web.Response:
    """The API's own form of an error."""
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": f"made to say {code}"}
    return web.json_response(body, status=code)


class RedisProxy(Looped):
    """Passes bytes on to a Redis, after `delay` seconds. Calls of the script of that text are counted from 1, and
    struck as writes are.

    If there is an `authority` of Redis' certificate, it speaks TLS to Redis and to its own clients, with that
    `certificate` and key.
    """

    def __init__(
        self, host: str, port: int, script: str, authority: Path | None = None, certificate: Path | None = None
    ) -> None:
        super().__init__()
        self._to_redis = self._to_clients = None
        if authority is not None and certificate is not None:
            self._to_redis = ssl.create_default_context(cafile=str(authority))
            self._to_redis.check_hostname = False  # it is reached by its Service's address
            self._to_clients = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self._to_clients.load_cert_chain(certificate)
        self._host, self._port = host, port
        self._script = hashlib.sha1(script.encode()).hexdigest().encode()  # noqa: S324 - as Redis names scripts
        self.calls = 0
        self.strike: Callable[[int, str], None] = lambda _n, _when: None
        self.port = 0
        self.delay = 0.0
        self._connections: set[asyncio.Task[None]] = set()
        self._pumps: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._to_clients)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def close(self) -> None:
        self._listener.close()
        # A connection ends with its pumps. One that is being made is waited for: cancelled, it would stay open.
        while self._connections:
            for pump in self._pumps:
                pump.cancel()
            await asyncio.wait(self._connections, timeout=0.1)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        this = cast("asyncio.Task[None]", asyncio.current_task())
        self._connections.add(this)
        this.add_done_callback(self._connections.discard)
        sides, pumps, pending = [writer], list[asyncio.Task[None]](), list[int]()
        try:
            there, back = await asyncio.open_connection(self._host, self._port, ssl=self._to_redis)
            sides.append(back)
            pumps.append(asyncio.create_task(self._requests(reader, back, pending)))
            pumps.append(asyncio.create_task(self._answers(there, writer, pending)))
            self._pumps.update(pumps)
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            # TLS says goodbye first, which a peer that was killed never answers.
            for side in sides:
                side.transport.abort()
            await asyncio.gather(*(side.wait_closed() for side in sides), return_exceptions=True)

    async def _requests(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, pending: list[int]) -> None:
        while chunk := await source.read(1 << 20):
            if b"EVALSHA" in chunk.upper() and self._script in chunk:
                self.calls += 1
                pending.append(self.calls)
                self.strike(self.calls, "before")
            await asyncio.sleep(self.delay)
            sink.write(chunk)
            await sink.drain()

    async def _answers(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, pending: list[int]) -> None:
        while chunk := await source.read(1 << 20):
            while pending:
                self.strike(pending.pop(), "after")
            sink.write(chunk)
            await sink.drain()

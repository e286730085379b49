"""The HTTP endpoint: /healthz (whether a restart would help), /readyz (whether it does its work now) and /metrics."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from velodrome.errors import TryAgain

# Answers one probe: with facts, or with a `TryAgain` that says what is wrong.
Answer = Callable[[], Mapping[str, Any]]
# What /metrics answers to an Accept header: a body and its content type.
Scrape = Callable[[str], Awaitable[tuple[bytes, str]]]


@asynccontextmanager
async def endpoint(host: str, port: int, *, healthz: Answer, readyz: Answer, scrape: Scrape) -> AsyncIterator[int]:
    """Answers while it is open. Yields its port, which is a free one if `port` is 0.

    Probes get 200 with the facts as JSON, or 503 with what is wrong.
    """
    app = web.Application()
    for path, answer in (("/healthz", healthz), ("/readyz", readyz)):
        app.router.add_get(path, _handler(answer))
    app.router.add_get("/metrics", _metrics(scrape))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


def _handler(answer: Answer) -> Callable[[web.Request], Any]:
    async def handle(_: web.Request) -> web.Response:
        try:
            return web.json_response(dict(answer()))
        except TryAgain as error:
            return web.json_response({"problem": str(error)}, status=503)

    return handle


def _metrics(scrape: Scrape) -> Callable[[web.Request], Any]:
    async def handle(request: web.Request) -> web.Response:
        body, content_type = await scrape(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})

    return handle

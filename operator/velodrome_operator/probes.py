"""Answers to the kubelet's probes: /healthz, whether a restart would help; /readyz, whether it does its work now."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

# What is told of one question: facts, or a RuntimeError that says what is wrong.
Answer = Callable[[], Mapping[str, Any]]


@asynccontextmanager
async def probes(host: str, port: int, *, healthz: Answer, readyz: Answer) -> AsyncIterator[None]:
    """Answers while it is open: 200 with the facts as JSON, or 503 with what is wrong."""
    app = web.Application()
    for path, answer in (("/healthz", healthz), ("/readyz", readyz)):
        app.router.add_get(path, _handler(answer))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield
    finally:
        await runner.cleanup()


def _handler(answer: Answer) -> Callable[[web.Request], Any]:
    async def handle(_: web.Request) -> web.Response:
        try:
            return web.json_response(dict(answer()))
        except RuntimeError as error:
            return web.json_response({"problem": str(error)}, status=503)

    return handle

"""The Kubernetes API for the benchmark: plain requests, and watches with the arrival time of each event."""

from __future__ import annotations

import base64
import contextlib
import json
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp

WRITES = ("POST", "PUT", "PATCH", "DELETE", "DELETECOLLECTION", "APPLY")


class Kind(NamedTuple):
    """The kind of object of a request."""

    group: str
    resource: str
    subresource: str = ""


class Api:
    """An API server, as the user that a kubeconfig names."""

    def __init__(self, session: aiohttp.ClientSession, server: str) -> None:
        self._session = session
        self._server = server

    @classmethod
    @asynccontextmanager
    async def connected(cls, kubeconfig: str) -> AsyncIterator[Api]:
        """A connection for a kubeconfig (its text, JSON), with its client certificate."""
        document = json.loads(kubeconfig)
        cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        context = ssl.create_default_context(cadata=authority)
        with tempfile.NamedTemporaryFile() as file:  # OpenSSL loads a client certificate only from a file
            for part in ("client-certificate-data", "client-key-data"):
                file.write(base64.b64decode(user[part]))
            file.flush()
            context.load_cert_chain(file.name)
        connector = aiohttp.TCPConnector(ssl=context, limit=64)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, read_bufsize=2**20) as session:
            yield cls(session, cluster["server"])

    async def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """An answer's JSON.

        Raises:
            aiohttp.ClientResponseError: the answer is an error.
        """
        async with self._session.request(method, f"{self._server}/{path}", json=body) as response:
            if response.status >= 400:
                raise RuntimeError(f"{method} {path}: {response.status} {(await response.text())[:500]}")
            found: dict[str, Any] = await response.json()
            return found

    async def writes(self) -> dict[Kind, int]:
        """The number of writing requests that the API server has answered, by kind."""
        async with self._session.get(f"{self._server}/metrics") as response:
            text = await response.text()
        found: dict[Kind, int] = {}
        for line in text.splitlines():
            if not line.startswith("apiserver_request_total{"):
                continue
            names, _, count = line.removeprefix("apiserver_request_total{").rpartition("} ")
            label = dict(part.split("=", 1) for part in names.split(","))
            group, resource, subresource, verb = (
                label[name].strip('"') for name in ("group", "resource", "subresource", "verb")
            )
            if verb in WRITES:
                kind = Kind(group, resource, subresource)
                found[kind] = found.get(kind, 0) + int(float(count))
        return found

    async def watch(self, path: str) -> AsyncIterator[tuple[float, str, dict[str, Any]]]:
        """Every event from now on: its arrival time, its type and the object. Existing objects come first.

        A watch that ends continues where it was.
        """
        mark = "&" if "?" in path else "?"
        listed = await self.call("GET", path)
        version = listed["metadata"]["resourceVersion"]
        for item in listed["items"]:
            yield time.monotonic(), "ADDED", item
        while True:
            url = f"{self._server}/{path}{mark}watch=1&allowWatchBookmarks=true&resourceVersion={version}"
            with contextlib.suppress(aiohttp.ClientError):
                async with self._session.get(url) as response:
                    async for line in response.content:
                        event = json.loads(line)
                        if event["type"] == "ERROR":
                            raise RuntimeError(f"watch of {path}: {event['object'].get('message')}")
                        version = event["object"]["metadata"]["resourceVersion"]
                        if event["type"] != "BOOKMARK":
                            yield time.monotonic(), event["type"], event["object"]


def condition(item: Mapping[str, Any], kind: str) -> bool:
    """Whether an object's condition of that type is True."""
    conditions = item.get("status", {}).get("conditions") or ()
    return any(one["type"] == kind and one["status"] == "True" for one in conditions)

"""Deletes what this machine's trials left in the Pushgateway that their live metrics go to, where there is one.

From a thread of its own: a race never waits for a gateway, and loses nothing where it is away.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.client import HTTPException
from urllib.request import Request

from velodrome.direct import open_directly
from velodrome.monitoring.pushgateway import LIST_PATH, TrialKey, groups

_TIMEOUT_SECONDS = 2.0
# Trials of a race may be over in no time: one look sees to all that ended meanwhile.
_REST_SECONDS = 0.5


class LiveMetrics:
    """Looks, each time it is told that a trial of this job ended, for groups of those that don't run, and deletes them.

    `running` gives the trials that run now; it is called from the thread. `problem` is why it could not be asked, if it
    could not. Without a URL it does nothing at all.
    """

    def __init__(
        self,
        url: str | None,
        namespace: str,
        job: str,
        running: Callable[[], frozenset[TrialKey]],
    ) -> None:
        self._url = None if url is None else (url if "://" in url else f"http://{url}").rstrip("/")
        self._job = (namespace, job)
        self._running = running
        self.problem: str | None = None
        self._work = threading.Event()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="velodrome-gateway", daemon=True)
        if self._url is not None:
            self._thread.start()

    def look(self) -> None:
        """Something ended, or an earlier race may have been killed; returns at once."""
        self._work.set()

    def close(self) -> None:
        """Takes a last look and ends; in a bounded time, and in none where the gateway is known to be away."""
        self._closed.set()
        self._work.set()
        if self._thread.is_alive() and self.problem is None:
            self._thread.join(3 * _TIMEOUT_SECONDS)

    def _run(self) -> None:
        closed = False
        while not closed:
            self._work.wait()
            self._work.clear()
            closed = self._closed.is_set()
            try:
                self._clean()
            except (OSError, HTTPException, ValueError) as error:
                self.problem = f"the Pushgateway can't be asked: {type(error).__name__}: {error}"
            else:
                self.problem = None
            self._closed.wait(_REST_SECONDS)

    def _clean(self) -> None:
        found = groups(json.loads(self._ask("GET", LIST_PATH)))
        running = self._running()  # asked after the list was made: no trial is in it that began since and does not run
        for group in found:
            if group.trial is not None and group.trial[:2] == self._job and group.trial not in running:
                self._ask("DELETE", group.path)

    def _ask(self, method: str, path: str) -> bytes:
        assert self._url is not None
        request = Request(self._url + path, method=method)  # noqa: S310 - http, or it is made so
        with open_directly(request, timeout=_TIMEOUT_SECONDS) as answer:
            body: bytes = answer.read()
        return body

"""Deletes the live metrics that this machine's trials left in the Pushgateway, if there is one.

This runs in a thread of its own: a race never waits for a gateway, and loses nothing if the gateway is unavailable.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.client import HTTPException
from urllib.request import Request

from velodrome.connections.direct import open_directly
from velodrome.monitoring.pushgateway import LIST_PATH, TrialKey, groups

_TIMEOUT_SECONDS = 2.0
# Trials of a race can be very short. One look handles all trials that ended since the last one.
_REST_SECONDS = 0.5


class LiveMetrics:
    """Each time a trial of this job ended, looks for groups of trials that don't run now, and deletes them.

    `running` gives the trials that run now; the thread calls it. `problem` says why the Pushgateway could not be asked;
    None if it could. Without a URL this class does nothing.
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
        """Asks for a look, because a trial ended or an earlier race may have been killed. Returns at once."""
        self._work.set()

    def close(self) -> None:
        """Takes a last look and ends. The wait is bounded; it is none if the gateway is known to be unavailable."""
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
        running = self._running()  # asked after the list was made, so that each listed trial that runs is known to run
        for group in found:
            if group.trial is not None and group.trial[:2] == self._job and group.trial not in running:
                self._ask("DELETE", group.path)

    def _ask(self, method: str, path: str) -> bytes:
        assert self._url is not None
        request = Request(self._url + path, method=method)  # noqa: S310 - http, or it is made so
        with open_directly(request, timeout=_TIMEOUT_SECONDS) as answer:
            body: bytes = answer.read()
        return body

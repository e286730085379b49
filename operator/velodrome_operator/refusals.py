"""Why Jobs get no pod, as the API server answered the Job controller."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import datetime

from velodrome_operator.cluster import Cluster, Refusal

# Only Events show this, and the API server looks through all Events of a namespace to find these. With hundreds of Jobs
# that wait for a busy Job controller, one question for each Job was most of the API server's work.
_FRESH_SECONDS = 3.0


class Refusals:
    """What was refused, by namespace. One question serves all races that ask within a few seconds."""

    def __init__(self, cluster: Cluster, clock: Callable[[], float] = time.monotonic) -> None:
        self._cluster = cluster
        self._clock = clock
        self._found: dict[str, tuple[float, Mapping[str, Refusal]]] = {}
        self._asking: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def of(self, namespace: str, since: Mapping[str, datetime]) -> dict[str, str]:
        """The messages, by Job name, for those Jobs of which a pod was refused since the moment in `since`.

        Raises:
            TryAgain, ActionNeeded: as the API server answers.
        """
        if not since:
            return {}
        async with self._asking[namespace]:
            asked, found = self._found.get(namespace, (None, {}))
            if asked is None or self._clock() - asked >= _FRESH_SECONDS:
                began = self._clock()
                found = await self._cluster.pod_refusals(namespace)
                self._found[namespace] = began, found
        return {
            name: found[name].message for name, moment in since.items() if name in found and found[name].at >= moment
        }

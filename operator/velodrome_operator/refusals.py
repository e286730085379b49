"""Why Jobs get no pod, as the API server told the Job controller."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import datetime

from velodrome_operator.cluster import Cluster, Refusal

# Only Events tell, and the API server looks through all of a namespace's to find these: with hundreds of Jobs that wait
# for a busy Job controller, a question for each was most of what the API server did.
_FRESH_SECONDS = 3.0


class Refusals:
    """What was refused, by namespace: asked once for all races that wonder within some seconds."""

    def __init__(self, cluster: Cluster, clock: Callable[[], float] = time.monotonic) -> None:
        self._cluster = cluster
        self._clock = clock
        self._found: dict[str, tuple[float, Mapping[str, Refusal]]] = {}
        self._asking: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def of(self, namespace: str, since: Mapping[str, datetime]) -> dict[str, str]:
        """The message for each of these Jobs of which a pod was refused since the moment that is named for it.

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

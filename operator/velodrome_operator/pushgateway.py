"""Deletes the live metrics of trials that run no more from the Pushgateway, as `monitoring.pushgateway` decides.

Each look lists all groups and compares them with what runs now, no matter what woke it. So no stale group outlives a
crash of the runner, the operator or the gateway. If the gateway is away, that only costs a line in the log.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from email.utils import parsedate_to_datetime
from typing import Any, Self

import aiohttp

from velodrome.errors import TryAgain
from velodrome.monitoring.pushgateway import LIST_PATH, Group, JobKey, RunningTrials, TrialKey, groups, stale
from velodrome.plan import Plan
from velodrome_operator import shapes
from velodrome_operator.races import Race

log = logging.getLogger("velodrome.operator")

_TIMEOUT = aiohttp.ClientTimeout(total=10.0)
# No list of ours is longer: a thousand trials have two MiB.
_LIST_BYTES = 64 * 1024 * 1024
# Many trials may end at once: one look handles all of them.
_REST_SECONDS = 1.0


class PushgatewayUnavailable(TryAgain):
    """The Pushgateway does not answer, or its answer is not one of a Pushgateway."""

    reason = "PushgatewayUnavailable"


class Gateway:
    """A Pushgateway at a URL. Every call raises `PushgatewayUnavailable` if the answer is not as it should be."""

    def __init__(self, url: str) -> None:
        self._url = (url if "://" in url else f"http://{url}").rstrip("/")

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=_TIMEOUT)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def groups(self) -> tuple[list[Group], float]:
        """The groups of runners, and the time by the gateway's clock."""
        with _translated():
            async with self._session.get(self._at(LIST_PATH), raise_for_status=True) as answer:
                body = await _read(answer.content)
                date = answer.headers.get("Date")
            now = parsedate_to_datetime(date).timestamp() if date else time.time()
            return await asyncio.to_thread(lambda: groups(json.loads(body))), now

    async def delete(self, group: Group) -> None:
        """Deletes a group. It is no error if the group is gone already."""
        with _translated():
            async with self._session.delete(self._at(group.path), raise_for_status=True):
                pass

    def _at(self, path: str) -> str:
        return self._url + path


class Cleaner:
    """Deletes stale groups when woken, and every `period` seconds.

    `running` returns what runs now. `namespaces` are those that are watched; none means all. `deleted` counts groups.
    """

    def __init__(
        self,
        gateway: Gateway,
        running: Callable[[], RunningTrials],
        namespaces: AbstractSet[str] = frozenset(),
        period: float = 60.0,
    ) -> None:
        self._gateway = gateway
        self._running = running
        self._namespaces = namespaces
        self._period = period
        self._woken = asyncio.Event()
        self._away = False
        self.deleted = 0

    def wake(self) -> None:
        """Notes that a trial may have ended."""
        self._woken.set()

    @property
    def due(self) -> bool:
        """Whether a trial may have ended since the last look."""
        return self._woken.is_set()

    async def work(self) -> None:
        """Cleans without end, no matter what the gateway does."""
        async with self._gateway:
            while True:
                self._woken.clear()
                again = await self._try()
                await asyncio.sleep(_REST_SECONDS)
                if again is not None:
                    await asyncio.sleep(again)
                else:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._woken.wait(), self._period)

    async def _try(self) -> float | None:
        """Calls `clean`. If the gateway is away, this is logged once, and `clean` runs again after the period."""
        try:
            again = await self.clean()
        except TryAgain as error:
            if not self._away:
                log.warning("the Pushgateway can't be cleaned up: %s", error)
            self._away = True
            return self._period
        self._away = False
        return again

    async def clean(self) -> float | None:
        """Deletes stale groups. Returns in how many seconds the groups that are too young to judge are old enough."""
        found, now = await self._gateway.groups()
        cleaning = stale(found, self._running(), now, namespaces=self._namespaces)
        for group in cleaning.delete:
            await self._gateway.delete(group)
            self.deleted += 1
            log.info("deleted the live metrics of %s", " ".join(value for name, value in group.labels if name != "job"))
        return cleaning.again


def running(races: Iterable[Race]) -> RunningTrials:
    """What runs, by the pods that were seen last. If a race has no plan yet, any of its trials may run."""
    trials: set[TrialKey] = set()
    jobs: set[JobKey] = set()
    for race in races:
        going = [pod for pod in race.workload.pods.values() if pod.phase == "Running"]
        if going and race.plan is None:
            jobs.add((race.namespace, race.name))
        elif race.plan is not None:
            indexes = {race.indexes.get(pod.job, ())[pod.index : pod.index + 1] for pod in going if pod.index >= 0}
            trials |= {_key(race, race.plan, index) for found in indexes for index in found}
    return RunningTrials(trials, jobs)


def _key(race: Race, planned: Plan, index: int) -> TrialKey:
    return race.namespace, race.name, planned.entry(index), str(index // len(planned.configs))


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (OSError, aiohttp.ClientError, ValueError) as error:  # TimeoutError is an OSError
        raise PushgatewayUnavailable(f"{type(error).__name__}: {error}") from error


async def _read(content: aiohttp.StreamReader) -> bytes:
    """The whole answer, if it is not too long: whoever may push can make it as long as they like."""
    body = bytearray()
    async for chunk in content.iter_chunked(65536):
        body += chunk
        if len(body) > _LIST_BYTES:
            raise ValueError(f"it lists more than {_LIST_BYTES >> 20} MiB")
    return bytes(body)


def ends(raw: dict[str, Any], *, gone: bool) -> bool:
    """Whether an event shows that a pod runs no more."""
    return gone or shapes.at(raw, "status", "phase") in ("Succeeded", "Failed")

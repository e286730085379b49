"""The collector's rounds over all races that can still report. Redis is asked in a thread: the loop never waits."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import get_args

from velodrome.collector import REASONS, Collected, Collector
from velodrome.errors import SpecError, StoreRefused, StoreUnavailable
from velodrome.plan import Plan
from velodrome.results import Observed
from velodrome.store import Store, Verdict
from velodrome_operator.cluster import Cluster, Refused, Unavailable
from velodrome_operator.families import Durations
from velodrome_operator.races import Race, Races

# How often inboxes are looked into; a report waits half of it on average.
ROUND_SECONDS = 0.3
# Where no pod is known nobody reports, so far as is known: such inboxes are looked into every so many rounds.
_ROUNDS_WITHOUT_PODS = 10
_LOOKUP_SECONDS = 10.0
_LONGEST_PAUSE = 10.0
_PROBE_SECONDS = 5.0

log = logging.getLogger("velodrome.operator")


class Unattributed(StoreUnavailable):
    """The API server does not say which pod sent a report: later, then."""


class Collection:
    """Collects every race's inbox and wakes those that got something.

    `last_round` is when Redis last answered, by the monotonic clock, and `collected_at` the same by `clock`; `redis_up`
    is whether it does now and takes writes. `results` counts what became of results, `rejected` reports by reason, and
    `waiting` is how many inboxes held anything in the last round.

    `clock` is the one that passes go by: when an inbox was read is held against when pods ended.
    """

    def __init__(
        self,
        races: Races,
        store: Store,
        cluster: Cluster,
        wake: Callable[[str], None],
        probe: Callable[[], None],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._races = races
        self._store = store
        self._cluster = cluster
        self._wake = wake
        self._probe = probe
        self._clock = clock
        self._probed_at: float | None = None
        self.results = dict.fromkeys(get_args(Verdict), 0)
        self.rejected = dict.fromkeys(REASONS, 0)
        self.durations = Durations()
        self.waiting = 0
        self.redis_up = False
        self.last_round: float | None = None
        self.collected_at: datetime | None = None
        self._rounds = 0

    async def work(self) -> None:
        """Rounds for ever; a Redis that is away is waited for."""
        pause = ROUND_SECONDS
        while True:
            pause = ROUND_SECONDS if await self._round() else min(pause * 2, _LONGEST_PAUSE)
            await asyncio.sleep(pause)

    async def _round(self) -> bool:
        """Looks into every inbox; whether all could be collected. One race's trouble holds up no other.

        Which of them hold anything is asked in one round trip, so that a thousand quiet races cost next to nothing.
        """
        everyone = self._rounds % _ROUNDS_WITHOUT_PODS == 0
        self._rounds += 1
        going = {race.uid: race for race in self._races if race.laid_out and not race.ended}
        asked = [uid for uid, race in going.items() if everyone or race.pods or race.gone or race.trouble]
        began = self._clock()
        try:
            await self._probe_now_and_then()
            waiting = await asyncio.to_thread(self._store.waiting, asked) if asked else []
        except (StoreUnavailable, StoreRefused) as error:
            return self._note_all(error)
        self.waiting = len(waiting)
        for uid in set(asked).difference(waiting):
            going[uid].collected_at = began
            self._note(going[uid], "")
        return await self._collect_all([going[uid] for uid in waiting])

    async def _collect_all(self, races: Sequence[Race]) -> bool:
        troubled = False
        for race in races:
            try:
                await self._collect(race, race.plan or race.planned())
            except (Unattributed, StoreRefused, SpecError) as error:
                troubled = self._note(race, str(error))
            except StoreUnavailable as error:
                return self._note_all(error)
            else:
                self._note(race, "")
        self.last_round, self.collected_at, self.redis_up = time.monotonic(), self._clock(), True
        return not troubled

    async def _probe_now_and_then(self) -> None:
        """Sees whether Redis takes anything: runners that can't report leave nothing to collect that would tell."""
        now = time.monotonic()
        if self._probed_at is None or now - self._probed_at >= _PROBE_SECONDS:
            await asyncio.to_thread(self._probe)
            self._probed_at = now

    def _note_all(self, error: Exception) -> bool:
        """What holds up every race; False, as the round's answer. The next round probes again."""
        self._probed_at, self.redis_up = None, False
        for race in self._races:
            if race.laid_out and not race.ended:
                self._note(race, str(error))
        return False

    def _note(self, race: Race, trouble: str) -> bool:
        """Keeps what holds a race's results up; where that changed, a pass tells it, and sees to the job's user."""
        if race.trouble != trouble:
            log.warning("%s", trouble or "collecting goes on", extra={"benchmarkjob": race.name, "uid": race.uid})
            race.troubled_at = None if not trouble else race.troubled_at or self._clock()
            race.trouble = trouble
            self._wake(race.uid)
        return bool(trouble)

    async def _collect(self, race: Race, plan: Plan) -> None:
        began = self._clock()
        collector = Collector(self._store, plan, race.uid, self._observer(race), time.time)
        collected = await asyncio.to_thread(collector.collect_once)
        if collected.last:
            race.collected_at = began
        self._count(race, collected)
        if collected.verdicts or collected.progress:
            race.reported_at = began
        if collected.verdicts or collected.rejected:
            self._wake(race.uid)

    def _observer(self, race: Race) -> Callable[[int, str], Observed | None]:
        """What is known of an attempt. A report may overtake its pod's event: then the API server is asked, once a
        round, for every pod that reported was there before the inbox was read. Or its pod came and went while no
        operator was there: then Events tell.
        """
        loop, left = asyncio.get_running_loop(), [self._look, self._look_back]

        def observe(index: int, attempt: str) -> Observed | None:
            known = race.observed(index, attempt)
            while known is None and left:
                asyncio.run_coroutine_threadsafe(_attributing(left.pop(0)(race)), loop).result()
                known = race.observed(index, attempt)
            return known

        return observe

    async def _look(self, race: Race) -> None:
        """The race's pods as the API server has them now."""
        async for raw in self._cluster.pods(race.namespace, race.uid):
            self._races.saw_pod(raw)

    async def _look_back(self, race: Race) -> None:
        """The race's pods that are gone, as far as Events tell."""
        async for event in self._cluster.started_pods(race.namespace):
            race.saw_started(event)

    def _count(self, race: Race, collected: Collected) -> None:
        for record, verdict in collected.verdicts:
            self.results[verdict] += 1
            if verdict == "accepted":
                seen, result = record.observed, record.result
                ran = max(0.0, (result.finished_at - result.started_at).total_seconds())
                self.durations.observe(
                    race.board, seen.queued_seconds, ran if seen.run_seconds is None else seen.run_seconds
                )
        for rejection in collected.rejected:
            self.rejected[rejection.reason] = self.rejected.get(rejection.reason, 0) + 1


async def _attributing(question: Awaitable[None]) -> None:
    """An answer in time, or `Unattributed`."""
    try:
        async with asyncio.timeout(_LOOKUP_SECONDS):
            await question
    except (Unavailable, Refused, TimeoutError) as error:
        raise Unattributed(f"a report can't be attributed: {error}") from error

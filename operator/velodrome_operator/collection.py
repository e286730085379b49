"""The collector's rounds over all races that can still report. Threads ask Redis, so the event loop never waits.

A round sees how much waits in which inbox. It gives each race that has reports a turn, and all turns run side by side.
A race's pauses, its questions to the API server and the time for its many reports hold up that race alone.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import get_args

from velodrome.board.desk import StoredSuggestions
from velodrome.collector import REASONS, Collected, Collector, Slice
from velodrome.errors import ActionNeeded, TryAgain, VelodromeError
from velodrome.search.trials import search_plan
from velodrome.store import Acceptance, InboxSize, Room, Store
from velodrome_operator.attribution import Attribution, Unattributed, Witness
from velodrome_operator.cluster import Cluster
from velodrome_operator.histograms import Durations
from velodrome_operator.poison import poison
from velodrome_operator.races import Race, Races

# Seconds between two looks into the inboxes. A report waits half of this time on average.
ROUND_SECONDS = 0.3
# The same while searches report: what their pods run next follows from these reports.
_BUSY_SEARCH_SECONDS = 0.1
# A race without known pods probably gets no reports. Its inbox is read only once in so many rounds.
_ROUNDS_WITHOUT_PODS = 10
_LONGEST_PAUSE = 10.0
_PROBE_SECONDS = 5.0
# A slice of an inbox. One that fits into a slice is collected as soon as one of a few lanes is free. All others share
# a slow lane. After each slice, that lane rests for a multiple of the slice's time: judging takes the interpreter's
# time, and the small inboxes need that time too.
_SLICE_REPORTS, _SLICE_BYTES = 50, 128 * 1024
_LANES = 4
_REST_SHARE, _LONGEST_REST = 4.0, 2.0

log = logging.getLogger("velodrome.operator")


class Collection:
    """Collects every race's inbox, and wakes the races that got something.

    `last_round` is when Redis last answered, by the monotonic clock, and `collected_at` is the same by `clock`.
    `redis_up` is whether Redis answers now and takes writes. `results` counts results by verdict, and `rejected` counts
    reports by reason. `waiting` is how many inboxes held anything in the last round.

    `clock` is the clock of the passes: they compare when an inbox was read with when pods ended. `seal` ends the rights
    of a job's runners and removes their inbox. A poisoned inbox is sealed before the race's status says so.
    `report_key` gives the key that reports of a job's trial must show, where its pods have one.
    """

    def __init__(
        self,
        races: Races,
        store: Store,
        cluster: Cluster,
        wake: Callable[[str], None],
        probe: Callable[[], None],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        *,
        seal: Callable[[str], None],
        report_key: Callable[[str, int], str] | None = None,
    ) -> None:
        self._report_key = report_key
        self.races = races
        self._store = store
        self._attribution = Attribution(races, cluster)
        self._wake = wake
        self._probe = probe
        self._clock = clock
        self._seal = seal
        self._probed_at: float | None = None
        self.results = dict.fromkeys(get_args(Acceptance), 0)
        self.rejected = dict.fromkeys(REASONS, 0)
        self.durations = Durations()
        self.waiting = 0
        self.redis_up = False
        self.last_round: float | None = None
        self.collected_at: datetime | None = None
        self._rounds, self._busy_search = 0, False
        self._turns: dict[str, asyncio.Task[None]] = {}
        self._pauses: dict[str, tuple[float, float]] = {}  # by uid: when the pause ends, and how long it is
        self._lanes, self._slow_lane = asyncio.Semaphore(_LANES), asyncio.Semaphore(1)

    async def work(self) -> None:
        """Rounds without end. If Redis is away, this waits for it."""
        pause = ROUND_SECONDS
        try:
            while True:
                answered = await self.round()
                usual = _BUSY_SEARCH_SECONDS if self._busy_search else ROUND_SECONDS
                pause = usual if answered else min(max(pause, ROUND_SECONDS) * 2, _LONGEST_PAUSE)
                await asyncio.sleep(pause)
        finally:
            for turn in self._turns.values():
                turn.cancel()

    async def settled(self) -> None:
        """Waits until all turns that have begun are over."""
        while self._turns:
            await asyncio.wait(list(self._turns.values()))
            await asyncio.sleep(0)

    async def round(self) -> bool:
        """Looks at what waits in every inbox, and begins turns. Returns whether Redis answered and takes writes.

        One round trip asks about all inboxes, so that a thousand quiet races cost next to nothing.
        """
        everyone = self._rounds % _ROUNDS_WITHOUT_PODS == 0
        self._rounds += 1
        going = {race.trials_uid: race for race in self.races if race.laid_out and not race.parent.ended}
        asked = [
            uid
            for uid, race in going.items()
            if everyone or race.workload.pods or race.workload.gone or race.logbook.trouble
        ]
        began = self._clock()
        try:
            waiting = await asyncio.to_thread(self._store.waiting, asked) if asked else {}
            if waiting:  # before Redis is probed: one that an inbox has filled takes no write until that inbox is gone
                await self._end_poisoned(going, waiting, await asyncio.to_thread(self._store.room))
            await self._probe_now_and_then()
        except VelodromeError as error:
            return self._note_all(error)
        self.waiting, self._busy_search = len(waiting), any(going[uid].searching for uid in waiting)
        self.last_round, self.collected_at, self.redis_up = time.monotonic(), self._clock(), True
        for uid in set(asked).difference(waiting, self._turns):
            going[uid].logbook.collected_at = began
            self._note(going[uid], "")
        self._pauses = {uid: pause for uid, pause in self._pauses.items() if uid in going}
        for uid in sorted(waiting, key=lambda uid: waiting[uid].size or 0):
            if going[uid].logbook.poison is None:
                self._begin(going[uid], waiting[uid])
        return True

    async def _end_poisoned(self, going: Mapping[str, Race], waiting: Mapping[str, InboxSize], room: Room) -> None:
        """Seals inboxes that nobody can collect or that take too much memory. A pass then ends those races."""
        for uid, size in waiting.items():
            race = going[uid]
            found = poison(size, room)
            if found is None and race.logbook.poison is None:
                continue
            race.logbook.poison = race.logbook.poison or found
            assert race.logbook.poison is not None
            self._note(race, f"{race.logbook.poison.reason}: {race.logbook.poison.message}")
            if uid in self._turns:
                self._turns[uid].cancel()
            await asyncio.to_thread(self._seal, race.results_uid)
            self._wake(race.uid)

    def _begin(self, race: Race, size: InboxSize) -> None:
        """Begins the race's turn, unless a turn runs or the race pauses."""
        uid = race.trials_uid
        if uid in self._turns or self._pauses.get(uid, (0.0, 0.0))[0] > time.monotonic():
            return
        small = (size.reports or 0) <= _SLICE_REPORTS and (size.size or 0) <= _SLICE_BYTES
        turn = asyncio.create_task(self._turn(race, small=small))
        self._turns[uid] = turn
        turn.add_done_callback(lambda _: self._turns.pop(uid, None))

    async def _turn(self, race: Race, *, small: bool) -> None:
        """Collects the race's inbox to its end. Notes what holds it up, and then gives this race a pause."""
        try:
            while not await self._slice(race, self._lanes if small else self._slow_lane, rest=not small):
                small = False
                if race.parent.ended or race.logbook.poison is not None:
                    return
        except TryAgain as error:
            self._note(race, str(error))
            if isinstance(error, Unattributed):
                self._pause(race)
        except ActionNeeded as error:
            self._note(race, str(error))
            self._pause(race)
        except Exception as error:  # an odd race must not hold up the results of the others
            log.exception("collecting ended by an error that nobody expected", extra={"uid": race.uid})
            self._note(race, f"the operator met an error that it did not expect: {type(error).__name__}")
            self._pause(race)
        else:
            self._pauses.pop(race.trials_uid, None)
            self._note(race, "")

    def _pause(self, race: Race) -> None:
        uid = race.trials_uid
        _, last = self._pauses.get(uid, (0.0, ROUND_SECONDS))
        pause = min(2 * last, _LONGEST_PAUSE)
        self._pauses[uid] = time.monotonic() + pause, pause

    async def _slice(self, race: Race, lane: asyncio.Semaphore, *, rest: bool) -> bool:
        """Takes some of what the inbox holds. Returns whether the turn is over.

        A report may arrive before its pod's event. Then the API server is asked once for all reports that were read,
        while other races use the lane. A pod may also have come and gone while no operator ran. Then Events show it.
        """
        began = self._clock()
        witness = Witness(race)
        plan, uid = race.plan or race.planned(), race.trials_uid
        if race.searching:
            plan = search_plan(plan, StoredSuggestions(self._store, uid))
        key_of = partial(self._key_of, race)
        collector = Collector(self._store, plan, uid, witness, time.time, _SLICE_REPORTS, _SLICE_BYTES, key_of)

        def take(read: Slice, *, surely: bool = False) -> Collected | None:
            witness.missed = False
            judged = collector.judged(read)
            return collector.take(judged) if surely or not witness.missed else None

        def read_and_take() -> tuple[Slice, Collected | None]:
            read = collector.read()
            return read, take(read)

        async with lane:
            started = time.monotonic()
            read, collected = await asyncio.to_thread(read_and_take)
            if rest:
                await asyncio.sleep(min(_REST_SHARE * (time.monotonic() - started), _LONGEST_REST))
        known = collected is not None
        if collected is None and race.searching:
            race.saw_turns(await asyncio.to_thread(self._store.turns, uid))
        for question in (self._attribution.look, self._attribution.look_back):
            if collected is None:
                await question(race)
                last = question == self._attribution.look_back
                async with lane:
                    collected = await asyncio.to_thread(take, read, surely=last)
        assert collected is not None
        if collected.last:
            race.logbook.collected_at = began
        self._tell(race, collected, began)
        return collected.last or not known  # at most one question a round, no matter how many reports are forged

    def _key_of(self, race: Race, index: int, attempt: str) -> str | None:
        """The key that reports of this attempt must show; None for pods without one, as version 0.1.0 made them."""
        if self._report_key is None or not race.needs_key(attempt):
            return None
        return self._report_key(*(race.turn_of(attempt) or (race.results_uid, index)))

    def _tell(self, race: Race, collected: Collected, at: datetime) -> None:
        """Counts what a slice had, and wakes the race if that changes something."""
        self._count(race, collected)
        if collected.verdicts or collected.progress:
            race.logbook.reported_at = at
        if collected.verdicts or collected.rejected or (collected.progress and race.searching):
            self._wake(race.uid)

    async def _probe_now_and_then(self) -> None:
        """Checks whether Redis takes writes: if runners can't report, no report in an inbox shows that."""
        now = time.monotonic()
        if self._probed_at is None or now - self._probed_at >= _PROBE_SECONDS:
            await asyncio.to_thread(self._probe)
            self._probed_at = now

    def _note_all(self, error: Exception) -> bool:
        """Notes what holds up every race. Returns False, as the round's answer. The next round probes again."""
        self._probed_at, self.redis_up = None, False
        for race in self.races:
            if race.laid_out and not race.parent.ended:
                self._note(race, str(error))
        return False

    def _note(self, race: Race, trouble: str) -> bool:
        """Keeps what holds up a race's results. If that changed, a pass shows it, and makes the job's user again."""
        if race.logbook.trouble != trouble:
            log.warning("%s", trouble or "collecting goes on", extra={"benchmarkjob": race.name, "uid": race.uid})
            race.logbook.troubled_at = None if not trouble else race.logbook.troubled_at or self._clock()
            race.logbook.trouble = trouble
            self._wake(race.uid)
        return bool(trouble)

    def _count(self, race: Race, collected: Collected) -> None:
        for record, verdict in collected.verdicts:
            self.results[verdict] += 1
            if verdict == "accepted":
                seen, result = record.observed, record.result
                ran = max(0.0, (result.finished_at - result.started_at).total_seconds())
                self.durations.observe(
                    race.parent.board, seen.queued_seconds, ran if seen.run_seconds is None else seen.run_seconds
                )
        for rejection in collected.rejected:
            self.rejected[rejection.reason] = self.rejected.get(rejection.reason, 0) + 1

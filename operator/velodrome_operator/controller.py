"""Passes over BenchmarkJobs: which race is next, and what follows a pass that fails.

An event only wakes a pass over one BenchmarkJob. A pass looks at the whole state, and is repeated until it succeeds.
A slow sweep looks at everything again, so that a lost event costs time and nothing else.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime

from velodrome.board.tenancy import BoardPolicy
from velodrome.errors import ActionNeeded, StoreUnavailable, TryAgain
from velodrome.monitoring import telemetry
from velodrome.store import Store
from velodrome_operator import texts
from velodrome_operator.access import Access
from velodrome_operator.children import ChildSettings
from velodrome_operator.cluster import Cluster
from velodrome_operator.histograms import PASS_BOUNDS, histogram
from velodrome_operator.races import Race
from velodrome_operator.ranker import Beside, Ranker
from velodrome_operator.reconciler import Reconciler
from velodrome_operator.wakeups import Wakeups

RETRY_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0)
# The rest between two passes over one race, so that one pass handles all that happens meanwhile. A race whose passes
# take long rests longer, up to a limit: on a busy machine a pass mostly waits.
REST_SECONDS = 0.25
_SEARCH_REST_SECONDS = 0.1
_REST_SHARE = 4.0
_LONGEST_REST = 2.0
# After so many failed tries the status shows that Redis is away: a mere restart of Redis needs no person.
_QUIET_TRIES = 3
_UNEXPECTED = (
    "the operator met an error that it did not expect ({}): what runs goes on, and it tries again; its log has more"
)

log = logging.getLogger("velodrome.operator")


class Controller:
    """Passes over BenchmarkJobs. `passes` counts them by outcome, and `pass_seconds` holds how long they took."""

    def __init__(
        self,
        cluster: Cluster,
        store: Store,
        access: Access,
        settings: ChildSettings,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        boards: BoardPolicy | None = None,
        ranker: Ranker | None = None,
        searcher: Ranker | None = None,
    ) -> None:
        self.wakeups: Wakeups[str] = Wakeups(self._is_new)
        self.passes = dict.fromkeys(telemetry.PASS_OUTCOMES, 0)
        self.pass_seconds = histogram(telemetry.PASS_SECONDS, PASS_BOUNDS)
        self._reconciler = Reconciler(
            cluster,
            store,
            access,
            settings,
            self.wakeups.wake,
            clock,
            boards or BoardPolicy(),
            Beside(ranker, searcher),
        )
        self.races, self.judgement = self._reconciler.races, self._reconciler.judgement
        self.searches = self._reconciler.searches
        self._tries: dict[str, int] = {}

    async def work(self) -> None:
        """Passes over whatever wakes up, without end."""
        while True:
            uid = await self.wakeups.next()
            began = time.monotonic()
            try:
                await self.pass_over(uid)
            finally:
                self.wakeups.done(uid, self._rest(uid, time.monotonic() - began))

    def _rest(self, uid: str, took: float) -> float:
        """The rest after a pass. One over a search mostly waits for another process, and pods wait for what follows."""
        race = self.races.get(uid)
        if race is not None and race.searching:
            return _SEARCH_REST_SECONDS
        return min(_LONGEST_REST, max(REST_SECONDS, _REST_SHARE * took))

    def _is_new(self, uid: str) -> bool:
        """Whether nothing runs for it yet: somebody has just applied it and waits for it."""
        race = self.races.get(uid)
        return race is not None and race.logbook.passed == 0

    def forget(self, uid: str) -> None:
        """Forgets a BenchmarkJob that is gone."""
        self.wakeups.forget(uid)
        self._reconciler.forget(uid)
        self._tries.pop(uid, None)

    async def pass_over(self, uid: str) -> None:
        """Makes one pass over the BenchmarkJob of that uid, and handles every outcome.

        Wakes a later pass if one is needed. Writes into the status what a person must act on.
        """
        race = self.races.get(uid)
        if race is None:
            return
        began = time.monotonic()
        outcome = "Succeeded"
        writer = self._reconciler.writer
        try:
            again = await self._reconciler.reconcile(race)
        except TryAgain as error:
            outcome = error.reason
            self._retry(race, error, logging.INFO)
            if isinstance(error, StoreUnavailable) and self._tries[uid] >= _QUIET_TRIES:
                await writer.show(race, str(error))
        except ActionNeeded as error:
            outcome = error.reason
            self._retry(race, error, logging.WARNING)
            await writer.stall(race, error.reason, texts.summary(str(error)))
        except Exception as error:  # an odd object costs only its own race a condition
            outcome = "Unexpected"
            log.exception("a pass ended by an error that nobody expected", extra=race.log_fields)
            self._retry(race, error, logging.ERROR)
            await writer.stall(race, "UnexpectedError", _UNEXPECTED.format(type(error).__name__))
        else:
            self._tries.pop(uid, None)
            if again is not None:
                self.wakeups.wake(uid, max(0.05, again.total_seconds()))
        finally:
            self.passes[outcome] = self.passes.get(outcome, 0) + 1
            self.pass_seconds.observe(time.monotonic() - began)

    def _retry(self, race: Race, error: Exception, level: int) -> None:
        tries = self._tries.get(race.uid, 0)
        self._tries[race.uid] = tries + 1
        wait = RETRY_SECONDS[min(tries, len(RETRY_SECONDS) - 1)]
        log.log(level, "%s; again in %.0f s", error, wait, extra=race.log_fields)
        self.wakeups.wake(race.uid, wait)

"""Carries decisions out: the edge between what the pure modules decide, the Kubernetes API and the store.

Any event only wakes a pass over one BenchmarkJob; a pass looks at the whole state and is repeated until it succeeds. A
slow sweep looks at everything afresh, so that an event that never came costs time and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from velodrome.errors import SpecError, StoreRefused, StoreUnavailable
from velodrome.monitoring import telemetry
from velodrome.plan import Plan
from velodrome.store import Store, TrialSummary
from velodrome.trends.verdicts import AWAITING_CONFIRMATION
from velodrome_operator import status, takeover, wording
from velodrome_operator.access import Access
from velodrome_operator.children import Manifest, Settings, children, is_kueue
from velodrome_operator.cluster import Cluster, Conflict, NameTaken, Refused, Unavailable
from velodrome_operator.decision import Decision, Observation, Verdict, decide, ended_unseen, podless
from velodrome_operator.families import PASS_BOUNDS, Buckets
from velodrome_operator.judging import Judging
from velodrome_operator.missing import with_rejection
from velodrome_operator.ownership import parent_uid
from velodrome_operator.race import Race
from velodrome_operator.races import Races
from velodrome_operator.records import job_info, missing_record
from velodrome_operator.refusals import Refusals
from velodrome_operator.standings import standings
from velodrome_operator.wakeups import Wakeups

# A status that only counts on is written this often at most: of all that is written, the API server, which all others
# wait for, takes longest over it.
STATUS_SECONDS = 2.0
RETRY_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0)
# Passes over one race leave this much time to what happens meanwhile, so that one pass sees to all of it; and a race
# whose passes take long rests longer, but not for long: on a busy machine a pass mostly waits.
REST_SECONDS = 0.25
_REST_SHARE = 4.0
_LONGEST_REST = 2.0
# A Redis that is only being started again is nothing that a person must know of.
_TRIES_UNTOLD = 3
_UNEXPECTED = (
    "the operator met an error that it did not expect ({}): what runs goes on, and it tries again; its log has more"
)

log = logging.getLogger("velodrome.operator")
Clock = Callable[[], datetime]


class Controller:
    """Passes over BenchmarkJobs. `passes` counts them by outcome, `pass_seconds` how long they took."""

    def __init__(
        self,
        cluster: Cluster,
        store: Store,
        access: Access,
        settings: Settings,
        clock: Clock = lambda: datetime.now(UTC),
    ) -> None:
        self.races = Races()
        self.wakeups: Wakeups[str] = Wakeups(self._is_new)
        self.judging = Judging(cluster, store, self.races)
        self.passes = dict.fromkeys(telemetry.PASS_OUTCOMES, 0)
        self.pass_seconds = Buckets(PASS_BOUNDS)
        self._cluster = cluster
        self._refusals = Refusals(cluster)
        self._store = store
        self._access = access
        self._settings = settings
        self._clock = clock
        self._tries: dict[str, int] = {}
        self._written: dict[str, datetime] = {}
        self._known: set[str] = set()

    async def work(self) -> None:
        """Passes over whatever wakes up, for ever."""
        while True:
            uid = await self.wakeups.next()
            began = time.monotonic()
            try:
                await self._guarded(uid)
            finally:
                self.wakeups.done(uid, min(_LONGEST_REST, max(REST_SECONDS, _REST_SHARE * (time.monotonic() - began))))

    def _is_new(self, uid: str) -> bool:
        """Whether nothing runs yet for it: somebody has just applied it and looks."""
        race = self.races.get(uid)
        return race is not None and race.passed == 0

    def forget(self, uid: str) -> None:
        """Lets go of what is remembered of a BenchmarkJob that is gone."""
        self.wakeups.forget(uid)
        self._tries.pop(uid, None)
        self._written.pop(uid, None)
        self._known.discard(uid)

    async def _guarded(self, uid: str) -> None:
        race = self.races.get(uid)
        if race is None:
            return
        began = time.monotonic()
        outcome = "Succeeded"
        try:
            again = await self._pass(race)
        except (Unavailable, Conflict) as error:
            outcome = error.reason
            self._retry(race, error, logging.INFO)
        except StoreUnavailable as error:
            outcome = error.reason
            self._retry(race, error, logging.INFO)
            if self._tries[uid] >= _TRIES_UNTOLD:
                await self._tell(race, error)
        except (Refused, StoreRefused) as error:
            outcome = error.reason
            self._retry(race, error, logging.WARNING)
            await self._stall(race, error.reason, wording.summary(str(error)))
        except NameTaken as error:
            outcome = error.reason
            self._retry(race, error, logging.WARNING)
            await self._stall(race, error.reason, str(error))
        except Exception as error:  # whatever is odd about one object, it costs its own race a condition
            outcome = "Unexpected"
            log.exception("a pass ended by an error that nobody expected", extra=_names(race))
            self._retry(race, error, logging.ERROR)
            await self._stall(race, "UnexpectedError", _UNEXPECTED.format(type(error).__name__))
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
        log.log(level, "%s; again in %.0f s", error, wait, extra=_names(race))
        self.wakeups.wake(race.uid, wait)

    async def _tell(self, race: Race, error: Unavailable | Refused | StoreRefused | Exception) -> None:
        """Puts what a person must act on into the status, as far as that can be written."""
        message = wording.summary(str(error))
        present = race.status
        if race.ended or present.get("message") == message:
            return
        try:
            await self._write(race, {**present, "message": message})
        except (Unavailable, Conflict, Refused) as further:
            log.info("the status can't be written: %s", further, extra=_names(race))

    async def _stall(self, race: Race, reason: str, message: str) -> None:
        """Says in the condition Stalled that a person must act; the next pass that succeeds takes that back."""
        try:
            wanted = status.stalled(race.status, reason, message, race.generation, self._clock())
            if not race.ended and wanted != race.status:
                await self._write(race, wanted)
        except Exception:  # the object is odd already; that it can't be told of must not be what stops the pass
            log.warning("the status can't be written", exc_info=True, extra=_names(race))

    async def _pass(self, race: Race) -> timedelta | None:
        if race.deleting:
            return None
        news = race.news
        try:
            planned = race.planned()
        except SpecError as error:
            if not race.ended:
                problems = "; ".join(str(problem) for problem in error.problems)
                await self._write(race, status.invalid(race.generation, problems, race.status, self._clock()))
            return None
        if takeover.is_due(race.status, planned, ended=race.ended, begun=bool(race.jobs)):
            await self._take_over(race, planned)
        seen = await self._observe(race, planned)
        decision = decide(seen, self._wanted(race, planned), race.indexes)
        await self._carry_out(race, planned, decision)
        if decision.create:
            seen = replace(seen, jobs=dict(race.jobs))  # the events of what was just made tell nothing new of it
        wait = await self._report(race, seen, decision.verdict)
        race.passed, race.results = news, len(seen.finished)
        waits = [pause for pause in (decision.again, wait) if pause is not None]
        if race.cleared:
            race.let_go()
        elif not waits:
            race.rest()
        return min(waits, default=None)

    def _wanted(self, race: Race, planned: Plan) -> tuple[Manifest, ...]:
        """The children, where a Job is missing; making their manifests takes longer than all the rest of a pass."""
        if race.ended or race.indexes.keys() <= race.jobs.keys():
            return ()
        url, taken_over = self._access.url(race.uid), race.taken_over(planned)
        return children(planned.job, planned, race.uid, url, self._settings, taken_over)

    async def _take_over(self, race: Race, planned: Plan) -> None:
        """Has the race take over what another job measured, and says so before anything is made for the rest."""
        info, now = job_info(race, planned), self._clock()
        found = await asyncio.to_thread(takeover.take, self._store, info, planned, now)
        await self._write(race, {**race.status, "takenOver": found})
        race.lay_out(planned, race.generation)
        await self._cluster.event(race.raw, takeover.EVENT, found["message"], warning=found["count"] == 0, at=now)

    def _consult(self, race: Race, planned: Plan) -> tuple[dict[int, bool], str | None]:
        """What Redis knows of a race that goes on: the trials with a result, by whether they succeeded, and what the
        first failed one said. Sees to it that the job is registered and has its user. Called off the event loop.
        """
        if race.uid not in self._known:
            self._store.register(job_info(race, planned))
            self._known.add(race.uid)
        if race.poison is None:
            self._access.grant(race.uid)
        trials = self._store.trials(race.uid)
        finished = {index: trial.outcome == "Succeeded" for index, trial in trials.items()}
        self._instruct(race, finished)
        return finished, self._first_failure(race.uid, trials)

    async def _observe(self, race: Race, planned: Plan) -> Observation:
        finished, failure = ({}, None) if race.ended else await asyncio.to_thread(self._consult, race, planned)
        seen = Observation(
            plan=planned,
            uid=race.uid,
            generation=race.generation,
            suspended=planned.job.spec.suspend,
            jobs=dict(race.jobs),
            pods=tuple(race.pods.values()),
            finished=finished,
            status=race.status,
            now=self._clock(),
            kueue=is_kueue(planned.job),
            first_failure=failure,
            collected_at=race.collected_at,
            trouble=race.trouble,
            disrupted=race.disrupted(),
            poison=race.poison,
            gone=tuple(race.gone.values()),
        )
        if race.ended:
            return seen
        known = race.unseen_ends
        race.unseen_ends = {index: known.get(index, seen.now) for index in ended_unseen(seen, race.indexes)}
        refused = await self._refusals.of(race.namespace, podless(seen))
        return replace(seen, refused=refused, unseen_ends=dict(race.unseen_ends))

    def _instruct(self, race: Race, finished: Mapping[int, bool]) -> None:
        """Tells runners that are still to start which trials have a result: a pod that was lost late is made again."""
        news = {index: succeeded for index, succeeded in finished.items() if race.instructed.get(index) != succeeded}
        if news:
            self._access.instruct(race.uid, news)
            race.instructed |= news

    def _first_failure(self, uid: str, trials: Mapping[int, TrialSummary]) -> str | None:
        first = min((index for index, trial in trials.items() if trial.outcome == "Failed"), default=None)
        record = None if first is None else self._store.trial(uid, first)
        if record is None:
            return None
        result = record.result
        return wording.phrase(f"{result.entry}/{result.repeat} {result.reason}: {result.message}")

    async def _carry_out(self, race: Race, planned: Plan, decision: Decision) -> None:
        # What a Job's pods read comes first; nothing else has an order.
        await asyncio.gather(*(self._create(race, child) for child in decision.create if child["kind"] != "Job"))
        for child in decision.create:
            if child["kind"] == "Job":
                await self._create(race, child)
        for name, share in decision.parallelism.items():
            await self._cluster.patch_job(race.namespace, name, {"parallelism": share})
        for name, suspended in decision.suspend.items():
            await self._cluster.patch_job(race.namespace, name, {"suspend": suspended})
        if decision.missing:
            rejections = await asyncio.to_thread(self._store.rejections, race.uid)
            lost = (with_rejection(missing, rejections) for missing in decision.missing)
            records = [missing_record(race, planned, each, self._clock()) for each in lost]
            await asyncio.to_thread(self._store.accept, race.uid, 0, records)
            self.wakeups.wake(race.uid)
        if decision.delete_parent:
            await self._cluster.delete_parent(race.namespace, race.name, race.uid)
        elif race.ended:
            for name in decision.stop:
                await self._cluster.delete_job(race.namespace, name)
            if not race.cleared:
                await asyncio.to_thread(self._access.revoke, race.uid)
                race.cleared = True

    async def _create(self, race: Race, manifest: Manifest) -> None:
        made, name = await self._cluster.create(manifest), manifest["metadata"]["name"]
        if made is not None:
            log.info("created %s %s", manifest["kind"], name, extra=_names(race))
        if manifest["kind"] == "Job":
            self.races.made_job(made if made is not None else await self._made_before(race, name))

    async def _made_before(self, race: Race, name: str) -> Mapping[str, Any]:
        """The Job that was there already, whose event has not come yet.

        Raises:
            NameTaken: it is somebody else's.
            Conflict: it is gone again.
        """
        found = await self._cluster.job(race.namespace, name)
        if found is None:
            raise Conflict(f"Job {name} was there and is gone")
        if parent_uid(found) != race.uid:
            raise NameTaken(
                f"Job {name} is there already and is not this BenchmarkJob's: delete it, and the trials begin"
            )
        return found

    async def _report(self, race: Race, seen: Observation, verdict: Verdict | None) -> timedelta | None:
        """Writes the status if it changed; returns how long to wait where it is too early to."""
        if race.ended:
            await self._judge_again(race)
            return None
        places = await asyncio.to_thread(standings, self._store, seen.plan, race.uid) if seen.finished else []
        judged = await self.judging.judge(race, seen.plan, verdict) if verdict is not None else None
        wanted, present = status.status(seen, verdict, places, self._image(seen.plan), judged), race.status
        if wanted == present:
            return None
        last = self._written.get(race.uid)
        early = STATUS_SECONDS - (seen.now - last).total_seconds() if last else 0.0
        news = status.news(present, wanted)
        if early > 0 and not news:
            return timedelta(seconds=early)
        await self._write(race, wanted)
        await self._tell_news(race, news)
        if verdict is not None:
            self.wakeups.wake(race.uid)
            for other in self.races:
                if other.awaiting and other.board == race.board:
                    self.wakeups.wake(other.uid)
        return None

    async def _tell_news(self, race: Race, news: Sequence[status.News]) -> None:
        """An Event for each, after the status that says the same was written."""
        for item in news:
            level = logging.WARNING if item.warning else logging.INFO
            log.log(level, "%s: %s", item.reason, item.message, extra=_names(race))
            await self._cluster.event(race.raw, item.reason, item.message, warning=item.warning, at=self._clock())

    async def _judge_again(self, race: Race) -> None:
        """Brings what an ended race says of regressions up to date, where people or a later job may have changed it."""
        if race.plan is None or not self.judging.may_differ(race):
            return
        if await asyncio.to_thread(self._store.job, race.uid) is None:
            return  # its results were deleted: what was said of them stays
        found, present = await self.judging.judge(race, race.plan), race.status
        if race.awaiting and found.reason == AWAITING_CONFIRMATION:
            return  # what was said of it when it ended says more
        wanted = status.judged(present, found, race.generation, self._clock())
        if wanted != present:
            await self._write(race, wanted)
            await self._tell_news(race, status.news(present, wanted))

    def _image(self, planned: Plan) -> str | None:
        return planned.job.spec.runner.image or self._settings.runner_image

    async def _write(self, race: Race, wanted: dict[str, Any]) -> None:
        written = await self._cluster.write_status(race.raw, wanted)
        self._written[race.uid] = self._clock()
        if written is not None:
            self.races.saw_parent(written)


def _names(race: Race) -> dict[str, str]:
    """What every line of the log about a race carries."""
    return {"namespace": race.namespace, "benchmarkjob": race.name, "uid": race.uid}

"""One pass over one BenchmarkJob: looks at the whole state, calls `decision`, and carries out what it decides.

This is the edge between the pure modules, the Kubernetes API and the store.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from velodrome.board.desk import StoredSuggestions
from velodrome.board.extension import raise_trials
from velodrome.board.tenancy import BoardPolicy
from velodrome.board.warm_start import register_search
from velodrome.errors import SpecError
from velodrome.keys import search_uid
from velodrome.plan import Plan
from velodrome.results.records import Rounds
from velodrome.results.registration import job_info
from velodrome.search.trials import search_plan
from velodrome.store import Store, TrialSummary
from velodrome.trends.verdicts import AWAITING_CONFIRMATION
from velodrome_operator import policy, status, takeover, texts
from velodrome_operator.access import Access
from velodrome_operator.admission import BoardRefused, admit
from velodrome_operator.children import ChildSettings, Manifest, children, search_children
from velodrome_operator.cluster import Cluster, Conflict, NameTaken
from velodrome_operator.decision import Decision, decide
from velodrome_operator.extension import Extension
from velodrome_operator.judgement import Judgement
from velodrome_operator.missing_results import MissingResult, ended_unseen, with_rejection
from velodrome_operator.outcome import Ending, jobs_without_pods
from velodrome_operator.ownership import parent_uid
from velodrome_operator.pass_input import Observation
from velodrome_operator.race_view import observed
from velodrome_operator.races import Race, Races
from velodrome_operator.ranker import Beside
from velodrome_operator.records import missing_record
from velodrome_operator.refusals import Refusals
from velodrome_operator.rounds import count, further, written
from velodrome_operator.search_decision import after_search, decide_search, has_work, rooms_by_job
from velodrome_operator.searches import AskedSearches, rooms_of
from velodrome_operator.standings import standings, standings_beside
from velodrome_operator.status_writer import StatusWriter

log = logging.getLogger("velodrome.operator")


class Reconciler:
    """Brings a race's objects, results and status to what they should be. To do it twice changes nothing more."""

    def __init__(
        self,
        cluster: Cluster,
        store: Store,
        access: Access,
        settings: ChildSettings,
        wake: Callable[[str], None],
        clock: Callable[[], datetime],
        boards: BoardPolicy,
        beside: Beside,
    ) -> None:
        self.races = Races()
        self.judgement = Judgement(cluster, store, self.races, beside.races)
        self.writer = StatusWriter(cluster, self.races, clock)
        self.searches = AskedSearches(store, beside.searches)
        self._cluster = cluster
        self._store = store
        self._access = access
        self._settings = settings
        self._wake = wake
        self._clock = clock
        self._boards = boards
        self._ranker = beside.races
        self._refusals = Refusals(cluster)
        self._extension = Extension(store, boards, self.writer, clock)
        self._registered: dict[str, tuple[int, int]] = {}

    def forget(self, uid: str) -> None:
        """Forgets a race that is gone."""
        self._registered.pop(uid, None)
        self._extension.forget(uid)
        self.writer.forget(uid)

    async def reconcile(self, race: Race) -> timedelta | None:
        """Makes one pass. Returns when to look again at the latest, or None if only an event matters.

        Raises:
            TryAgain, ActionNeeded: as the API server or Redis answers.
        """
        if race.parent.deleting:
            return None
        with race.parent.parsed():
            return await self._reconcile(race)

    async def _reconcile(self, race: Race) -> timedelta | None:
        news = race.logbook.news
        try:
            planned = race.planned()
            if not race.parent.ended and not race.workload.jobs:  # settings that changed end no race that runs
                policy.enforce(planned.job, self._settings)
        except SpecError as error:
            await self._refuse(race, error)
            return None
        try:
            if await self._extension.begins(race):
                return timedelta(0)
            if race.searching and not race.parent.ended:
                return await self._search(race, planned, news)
            seen = await self._look(race, planned)
        except BoardRefused as error:
            wanted = status.refused(race.parent.generation, error.reason, str(error), race.parent.status, self._clock())
            await self.writer.update(race, wanted)
            return None
        decision = decide(seen, self._wanted(race, planned), race.indexes)
        if race.searched is not None and not race.parent.ended:
            decision = await self._after_search(race, decision)
        await self._carry_out(race, planned, decision)
        if any(child["kind"] == "Job" for child in decision.create):
            # The status is the next pass's work: to write it takes as long as the Job did, and others wait for theirs.
            race.logbook.passed = news
            return timedelta(0)
        wait = await self._report(race, seen, decision.ending)
        race.logbook.passed, race.logbook.results = news, len(seen.finished)
        waits = [pause for pause in (decision.again, wait) if pause is not None]
        if race.logbook.cleared:
            race.let_go()
        elif not waits:
            race.rest()
        return min(waits, default=None)

    async def _refuse(self, race: Race, error: SpecError) -> None:
        """Ends a race that can't be run as it is written, unless it has ended."""
        parent = race.parent
        if parent.ended:
            await self._see_again(race)
            return
        problems = "; ".join(str(problem) for problem in error.problems)
        wanted = status.refused(parent.generation, error.reason, problems, parent.status, self._clock())
        await self.writer.replace(race, wanted)

    async def _see_again(self, race: Race) -> None:
        """Says in the status of a race that has ended that its present generation was seen."""
        if race.parent.generation != race.parent.status.get("observedGeneration"):
            await self.writer.update(race, status.seen_again(race.parent.status, race.parent.generation))

    async def _look(self, race: Race, planned: Plan) -> Observation:
        """What there is of the trials that rank, after what was taken over and asked for in addition."""
        begun = not race.workload.jobs.keys().isdisjoint(race.indexes)
        if takeover.is_due(race.parent.status, planned, race.run, ended=race.parent.ended, begun=begun):
            await self._take_over(race, planned)
        seen = await self._observe(race, planned)
        while await self._ask_for_more(race, planned, seen):
            seen = await self._observe(race, planned)
        return replace(seen, rounds=race.looked)

    def _wanted(self, race: Race, planned: Plan) -> tuple[Manifest, ...]:
        """The children, if a Job is missing. To make their manifests takes longer than all the rest of a pass."""
        if race.parent.ended or race.indexes.keys() <= race.workload.jobs.keys():
            return ()
        url, taken_over = self._access.url(race.results_uid), race.taken_over(planned)
        key_of = partial(self._access.report_key, race.results_uid)
        return children(planned.job, planned, race.results_uid, url, self._settings, taken_over, key_of, race.unmade)

    async def _search(self, race: Race, planned: Plan, news: int) -> timedelta | None:
        """Makes one pass over a race that searches. Returns as `reconcile`. The next pass confirms winners."""
        await asyncio.to_thread(self._prepare, race)
        if race.searching:
            race.saw_search(await self.searches.look(race))
        if not race.searching:
            race.lay_out_again()
            race.logbook.instructed = {}
            return timedelta(0)
        finished = race.search.finished
        await asyncio.to_thread(self._instruct, race, finished)
        seen = await self._with_refusals(race, observed(race, planned, self._clock(), finished))
        room = rooms_by_job(race.search, race.lanes, rooms_of(race))
        decision = decide_search(seen, race.search, race.lanes, room, self._wanted_for_search(race, room))
        await self._carry_out(race, search_plan(planned, StoredSuggestions(self._store, race.trials_uid)), decision)
        race.logbook.passed, race.logbook.results = news, len(finished)
        if any(child["kind"] == "Job" for child in decision.create):
            return timedelta(0)
        image = planned.job.spec.runner.image or self._settings.runner_image
        wanted = status.status(seen, decision.ending, [], image)
        wait = await self.writer.update(race, wanted, seen.now)
        return min((pause for pause in (decision.again, wait) if pause is not None), default=None)

    async def _after_search(self, race: Race, decision: Decision) -> Decision:
        """What is to be done of it while Jobs of the search are there."""
        jobs, turns = race.workload.jobs, dict[str, tuple[int, ...]]()
        if any(name in jobs and not jobs[name].finished for name in race.lanes):
            turns = await asyncio.to_thread(self._store.turns, search_uid(race.results_uid))
        return after_search(decision, jobs, race.workload.pods.values(), race.lanes, turns)

    def _wanted_for_search(self, race: Race, rooms: Mapping[str, int]) -> tuple[Manifest, ...]:
        """The children of a search, if a Job is missing whose pods have something to do. `rooms` is by Job name."""
        look, jobs = race.search, race.workload.jobs
        missing = {
            one: rooms[name]
            for name, one in race.lanes.items()
            if name not in jobs and rooms.get(name) and has_work(one, look)
        }
        if not missing or race.base is None:
            return ()
        url, of = self._access.url(race.results_uid), race.trials_uid

        def key_of(lane: str, turn: int) -> str:
            return self._access.report_key(f"{of}.{lane}", turn)

        stretches = race.lanes.values()
        return search_children(race.base.job, race.results_uid, url, self._settings, key_of, stretches, missing)

    async def _take_over(self, race: Race, planned: Plan) -> None:
        """Takes over what another job measured. Writes this into the status before any child is made for the rest."""
        now = self._clock()
        await asyncio.to_thread(self._register, race)
        found = await self._taken(race, planned, now)
        await self.writer.replace(race, {**race.parent.status, "takenOver": found})
        race.lay_out_again()
        missed = found["count"] == 0
        if not missed or planned.job.spec.trials.taken_from is not None:
            await self._cluster.event(race.parent.raw, takeover.EVENT, found["message"], warning=missed, at=now)

    async def _taken(self, race: Race, planned: Plan, now: datetime) -> dict[str, Any]:
        """Takes over results, and returns what the status is to say about it."""
        return await asyncio.to_thread(takeover.take, self._store, race.results_uid, race.run, planned, now)

    async def _ask_for_more(self, race: Race, planned: Plan, seen: Observation) -> bool:
        """Looks at the results of a race until decided, if all trials of its rounds have one. Returns whether it got a
        further round. That round is written into the status before any child is made for it.
        """
        finished = len(seen.finished) >= seen.total
        if not seen.until_decided or race.parent.ended or not (finished or race.looked is None):
            return False
        found = await self._rounds(race, planned)
        if found is None:
            return False
        if found != race.looked:
            await asyncio.to_thread(self._store.keep_rounds, race.results_uid, found)
        race.looked = found
        more = further(race.rounds, planned, found) if finished else ()
        if not more:
            return False
        now, wanted = self._clock(), {**race.parent.status, "rounds": written((*race.rounds, *more))}
        if takeover.takes(planned, race.run):
            wanted["takenOver"] = await self._taken(race, planned, now)
        await self.writer.replace(race, wanted)
        race.lay_out_again()
        message = texts.round_begins(found, count(more))
        await self._cluster.event(
            race.parent.raw, texts.ROUND, message, warning=False, at=now, about=str(more[-1].number)
        )
        return True

    async def _rounds(self, race: Race, planned: Plan) -> Rounds | None:
        """What a race until decided asks for. Another process looks at its results, if there is one."""
        if self._ranker is not None:
            found: Rounds | None = await self._ranker.ask("rounds", race.results_uid)
            return found
        from velodrome.board.rounds import read_rounds

        return await asyncio.to_thread(read_rounds, self._store, planned, race.results_uid)

    def _consult(self, race: Race) -> tuple[dict[int, bool], str | None]:
        """What Redis knows about a race that goes on. Called outside of the event loop.

        Returns, by index, whether the trials with a result succeeded, and the message of the first failed trial.
        """
        self._prepare(race)
        trials = self._store.trials(race.results_uid)
        finished = {index: trial.outcome == "Succeeded" for index, trial in trials.items()}
        self._instruct(race, finished)
        return finished, self._first_failure(race.results_uid, trials)

    def _prepare(self, race: Race) -> None:
        """Makes sure that the race is registered and has its user. Called outside of the event loop."""
        if self._registered.get(race.uid) != (race.run, race.parent.generation):
            self._register(race)
        if race.logbook.poison is None and self._access.grant(race.results_uid):
            # Redis was started again since: it may be another one, or may have lost what this operator told it.
            self._register(race)
            race.logbook.instructed = {}

    def _register(self, race: Race) -> None:
        """Registers the race and its search. Called outside of the event loop.

        Raises BoardRefused, or as the store does.
        """
        assert race.base is not None
        info = job_info(race.base, race.results_uid, race.parent.created_at)
        admit(self._store, self._boards, info)
        if race.base.job.spec.search is not None:
            register_search(self._store, race.base, info)
            known = self._store.job(race.results_uid)
            race.searched = race.searched if known is None else known.searched or race.searched
            if race.searched is not None:  # Redis may have lost what this operator knows
                race.searched = self._store.keep_searched(race.results_uid, race.searched)
            raise_trials(self._store, race.base, info)
        self._registered[race.uid] = race.run, race.parent.generation
        race.looked = None  # Redis may know less of it than this operator: look again, and store that

    async def _observe(self, race: Race, planned: Plan) -> Observation:
        finished, failure = ({}, None) if race.parent.ended else await asyncio.to_thread(self._consult, race)
        seen = observed(race, planned, self._clock(), finished)
        seen = replace(seen, first_failure=failure)
        return seen if race.parent.ended else await self._with_refusals(race, seen)

    async def _with_refusals(self, race: Race, seen: Observation) -> Observation:
        """Adds what the API server refused, and since when trials have ended whose pod nobody sees."""
        load = race.workload
        known = load.unseen_ends
        load.unseen_ends = {index: known.get(index, seen.now) for index in ended_unseen(seen, race.indexes)}
        refused = await self._refusals.of(race.namespace, jobs_without_pods(seen))
        return replace(seen, refused=refused, unseen_ends=dict(load.unseen_ends))

    def _instruct(self, race: Race, finished: Mapping[int, bool]) -> None:
        """Shows future runners which trials have a result: Kubernetes replaces a pod that was lost after its report."""
        known = race.logbook.instructed
        news = {index: succeeded for index, succeeded in finished.items() if known.get(index) != succeeded}
        if news:
            self._access.instruct(race.trials_uid, news)
            race.logbook.instructed |= news

    def _first_failure(self, uid: str, trials: Mapping[int, TrialSummary]) -> str | None:
        first = min((index for index, trial in trials.items() if trial.outcome == "Failed"), default=None)
        record = None if first is None else self._store.trial(uid, first)
        if record is None:
            return None
        result = record.result
        return texts.phrase(f"{result.entry}/{result.repeat} {result.reason}: {result.message}")

    async def _carry_out(self, race: Race, planned: Plan, decision: Decision) -> None:
        # What a Job's pods read is made first. The rest needs no order.
        await asyncio.gather(*(self._create(race, child) for child in decision.create if child["kind"] != "Job"))
        for child in decision.create:
            if child["kind"] == "Job":
                await self._create(race, child)
        for name, share in decision.parallelism.items():
            await self._cluster.patch_job(race.namespace, name, {"parallelism": share})
        for name, suspended in decision.suspend.items():
            await self._cluster.patch_job(race.namespace, name, {"suspend": suspended})
        if decision.missing:
            await asyncio.to_thread(self._record_missing, race, planned, decision.missing, self._clock())
            self._wake(race.uid)
        if decision.delete_parent:
            await self._cluster.delete_parent(race.namespace, race.name, race.uid)
        elif race.parent.ended or decision.ending is None:  # the status says first how a race ended
            for name in decision.stop:
                await self._cluster.delete_job(race.namespace, name)
            if race.parent.ended and not race.logbook.cleared:
                await asyncio.to_thread(self._access.revoke, race.results_uid)
                race.logbook.cleared = True

    def _record_missing(self, race: Race, planned: Plan, lost: Sequence[MissingResult], now: datetime) -> None:
        """Records trials that ended without a result as failed. Called outside of the event loop."""
        uid = race.trials_uid
        rejections = self._store.rejections(uid)
        records = [missing_record(race, planned, with_rejection(each, rejections), now) for each in lost]
        self._store.accept(uid, 0, records)

    async def _create(self, race: Race, manifest: Manifest) -> None:
        made, name = await self._cluster.create(manifest), manifest["metadata"]["name"]
        if made is not None:
            log.info("created %s %s", manifest["kind"], name, extra=race.log_fields)
        if manifest["kind"] == "Job":
            self.races.made_job(made if made is not None else await self._made_before(race, name))

    async def _made_before(self, race: Race, name: str) -> Mapping[str, Any]:
        """The Job that exists already, and whose event has not come yet.

        Raises:
            NameTaken: the Job belongs to somebody else.
            Conflict: the Job is gone again.
        """
        found = await self._cluster.job(race.namespace, name)
        if found is None:
            raise Conflict(f"Job {name} was there and is gone")
        if parent_uid(found) != race.uid:
            raise NameTaken(
                f"Job {name} is there already and is not this BenchmarkJob's: delete it, and the trials begin"
            )
        return found

    async def _report(self, race: Race, seen: Observation, ending: Ending | None) -> timedelta | None:
        """Writes the status if it changed. Returns how long to wait if it is too early to write."""
        if race.parent.ended:
            await self._judge_again(race)
            await self._see_again(race)
            return None
        places = await self._standings(race, seen.plan) if seen.finished else []
        judged = await self.judgement.judge(race, seen.plan, ending) if ending is not None else None
        image = seen.plan.job.spec.runner.image or self._settings.runner_image
        wanted = status.status(seen, ending, places, image, judged)
        changed = wanted != race.parent.status
        wait = await self.writer.update(race, wanted, seen.now)
        if ending is not None and changed and wait is None:
            self._wake(race.uid)
            for other in self.races:
                if other.parent.awaiting and other.parent.board == race.parent.board:
                    self._wake(other.uid)
        return wait

    async def _standings(self, race: Race, planned: Plan) -> list[status.ObjectiveStanding]:
        """How the race's entries rank, by another process if there is one."""
        if self._ranker is not None:
            return await standings_beside(self._ranker, planned, race.results_uid)
        return await asyncio.to_thread(standings, self._store, planned, race.results_uid)

    async def _judge_again(self, race: Race) -> None:
        """Updates the condition Regressed of an ended race, if people or a later job may have changed the judgement."""
        if race.plan is None or not self.judgement.may_differ(race):
            return
        if await asyncio.to_thread(self._store.job, race.results_uid) is None:
            return  # its results were deleted: the condition stays as it is
        found = await self.judgement.judge(race, race.plan)
        if race.parent.awaiting and found.reason == AWAITING_CONFIRMATION:
            return  # the condition from the race's end says more
        await self.writer.update(race, status.judged(race.parent.status, found, race.parent.generation, self._clock()))

"""What to say about regressions when a race has ended. A thin edge around `velodrome.trends.regressions`."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from velodrome.errors import ActionNeeded, TryAgain, VelodromeError
from velodrome.plan import Plan
from velodrome.store import Store
from velodrome_operator.cluster import Cluster
from velodrome_operator.outcome import Ending
from velodrome_operator.races import Race, Races
from velodrome_operator.ranker import Ranker
from velodrome_operator.regressed import Regressed, confirming, regressed

if TYPE_CHECKING:
    from velodrome.trends.regressions import Comparison

log = logging.getLogger("velodrome.operator")


class Judgement:
    """Judges races that have ended. `marks` is, by board, how often people pinned or accepted results there.

    Without a `ranker` a thread compares.
    """

    def __init__(self, cluster: Cluster, store: Store, races: Races, ranker: Ranker | None = None) -> None:
        self.marks: dict[str, int] = {}
        self._cluster = cluster
        self._store = store
        self._races = races
        self._ranker = ranker

    def may_differ(self, race: Race) -> bool:
        """Whether the judgement may differ now from the one when the race ended."""
        return race.parent.awaiting or self.marks.get(race.parent.board, 0) != race.logbook.judged_marks

    async def judge(self, race: Race, planned: Plan, ending: Ending | None = None) -> Regressed:
        """Judges the race. `ending` is how it ends, if it ends now.

        A race that ends complete gets a second job if a regression needs that job's confirmation. If results can't be
        compared, the condition says so, and the race ends all the same.

        Raises:
            TryAgain: as Redis or the API server answers.
        """
        marks = self.marks.get(race.parent.board, 0)
        try:
            found = await self._comparisons(race.results_uid)
        except TryAgain:
            raise
        except Exception as error:  # an error in the board's history must not keep this race from its end
            log.warning("it can't be judged: %r", error, extra={"benchmarkjob": race.name, "uid": race.uid})
            reason = error.reason if isinstance(error, VelodromeError) else "NotJudged"
            return Regressed("Unknown", reason, str(error)[:1000])
        words = ""
        complete = ending is not None and ending.type == "Complete"
        if complete and race.parent.confirms is None and any(one.awaits_confirmation for one in found):
            words = await self._confirm(race, planned)
        race.logbook.judged_marks = marks
        return regressed(found, words)

    async def _comparisons(self, uid: str) -> tuple[Comparison, ...]:
        """Every comparison of a job."""
        if self._ranker is not None:
            found: tuple[Comparison, ...] = await self._ranker.ask("comparisons", uid)
            return found
        return await asyncio.to_thread(_comparisons, self._store, uid)

    async def _confirm(self, race: Race, planned: Plan) -> str:
        """Makes the job that confirms a race's regressions. Returns what to say about it, also if it can't be made."""
        manifest = confirming(race.parent.raw, planned.job, race.results_uid)
        name = manifest["metadata"]["name"]
        try:
            if await self._cluster.create(manifest) is not None:
                log.info("created BenchmarkJob %s", name, extra={"benchmarkjob": race.name, "uid": race.uid})
        except ActionNeeded as error:
            return f"The job that would confirm it can't be made: {error}"
        return f"BenchmarkJob {name} runs to confirm it."


def _comparisons(store: Store, uid: str) -> tuple[Comparison, ...]:
    """Every comparison of a job. SciPy is imported only when there is something to judge."""
    from velodrome.trends.regressions import judge

    return judge(store, uid)

"""Asks how far searches are: another process, if there is one, since Optuna takes CPU time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from velodrome.errors import StoreUnavailable
from velodrome.search.trials import search_of
from velodrome_operator.lanes import LaneAsk, SearchAsk, SearchLook, at_once, rooms
from velodrome_operator.searcher import Searcher

if TYPE_CHECKING:
    from velodrome.store import Store
    from velodrome_operator.races import Race
    from velodrome_operator.ranker import Ranker


class AskedSearches:
    """`made` counts the suggestions of all searches, and `seconds` is the CPU time that looking and choosing took."""

    def __init__(self, store: Store, ranker: Ranker | None) -> None:
        self.made, self.seconds = 0, 0.0
        self._ranker = ranker
        self._searcher = Searcher(store)

    async def look(self, race: Race) -> SearchLook:
        """How far the race's search is, after as many trials were suggested as may run. Raises as the store does."""
        room = rooms_of(race)
        assert race.base is not None
        names, made = tuple(race.base.configs), jobs_of(race)
        asked = {
            lane.lane: LaneAsk(tuple(names[at] for at in lane.entries), room.get(lane.lane, 0), made.get(lane.lane, {}))
            for lane in race.lanes.values()
        }
        found = await self._ask(race.results_uid, SearchAsk(search_of(race.base.job).max_trials, asked))
        if found is None:
            raise StoreUnavailable(f"Redis knows no race {race.results_uid}: it is registered again")
        self.made, self.seconds = self.made + found.made, self.seconds + found.seconds
        return found

    async def _ask(self, uid: str, asked: SearchAsk) -> SearchLook | None:
        if self._ranker is None:
            return await asyncio.to_thread(self._searcher.look, uid, asked)
        found: SearchLook | None = await self._ranker.ask("search", uid, asked)
        return found


def rooms_of(race: Race) -> dict[str, int]:
    """How many trials each lane of the race may run at once, without the lanes that are over."""
    assert race.base is not None
    open_ = {lane.lane: len(lane.entries) for lane in race.lanes.values() if lane.lane not in race.search.over}
    return rooms(open_, at_once(race.base.job))


def jobs_of(race: Race) -> dict[str, dict[int, int]]:
    """The completions of the search's Jobs that are there, by lane and by the turn at which their stretch begins."""
    found: dict[str, dict[int, int]] = {}
    for name, one in race.lanes.items():
        job = race.workload.jobs.get(name)
        if job is not None and not job.deleting and one.turns is not None:
            found.setdefault(one.lane, {})[one.turns.start] = job.completions
    return found

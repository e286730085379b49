"""What the process beside the operator does about searches: it takes results, suggests trials, and ends hopeless ones.

All of it is in Redis, so a process that starts anew carries on. Optuna takes CPU time that grows with the number of
trials, and no other race waits for that here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from velodrome.keys import search_uid
from velodrome_operator.lanes import (
    EntryLook,
    LaneAsk,
    SearchAsk,
    SearchLook,
    ahead,
    stretch_name,
    stretch_start,
    stretches,
)

if TYPE_CHECKING:
    from velodrome.board.desk import Answer, SearchDesk
    from velodrome.store import Store


class Searcher:
    """The searches of all races that were asked about. Each is read from the store when it is asked about first."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._desks: dict[str, SearchDesk] = {}

    def look(self, uid: str, asked: SearchAsk) -> SearchLook | None:
        """Takes the results that are new, fills each lane's room, and says how far the search of that race is.

        None if the race is not registered with so many trials. The winners are stored before this returns them.
        Raises as the store does.
        """
        desk = self._desks.get(uid)
        if desk is None or desk.most != asked.most:
            desk = self._opened(uid)
        if desk is None or desk.most != asked.most:
            return None
        try:
            found = _look(self._store, desk, uid, asked.lanes)
        except BaseException:  # what it remembers may be ahead of the store, or behind it
            self._desks.pop(uid, None)
            raise
        if found.searched is None and not found.lost:
            self._desks[uid] = desk
        else:
            self._desks.pop(uid, None)
        return found

    def _opened(self, uid: str) -> SearchDesk | None:
        from velodrome.board.desk import SearchDesk
        from velodrome.board.takeover import plan_of

        job = self._store.job(uid)
        planned = None if job is None else plan_of(job)
        if planned is None or planned.job.spec.search is None:
            return None

        def ask(question: Callable[[Store], Answer]) -> Answer:
            return question(self._store)

        desk = SearchDesk(planned, uid, ask)
        desk.read()
        desk.tell_again()
        return desk


def _look(store: Store, desk: SearchDesk, uid: str, lanes: Mapping[str, LaneAsk]) -> SearchLook:
    began, state, of = time.process_time(), desk.state, search_uid(uid)
    desk.take(desk.going)
    for index, running in store.running(of, sorted(desk.going) if desk.prunes else ()).items():
        desk.judge(index, *running)
    made, laid = 0, dict[str, tuple[range, ...]]()
    at_once, seconds = sum(asked.room for asked in lanes.values()), desk.choice_seconds
    for lane, asked in lanes.items():
        laid[lane] = _stretches(desk, lane, asked)
        turn = sum(len(desk.turns.get(stretch_name(lane, one.start), ())) for one in laid[lane])
        most = asked.room + ahead(asked.room, at_once, seconds)
        while _going(desk, asked) < most:
            start = next((one.start for one in laid[lane] if turn in one), laid[lane][-1].start)
            if desk.suggest(asked.entries, stretch_name(lane, start)) is None:
                break
            made, turn = made + 1, turn + 1
    over = frozenset(
        lane for lane, asked in lanes.items() if not _going(desk, asked) and state.next((), asked.entries) is None
    )
    lost = state.without_winner() if state.is_over() else {}
    searched = store.keep_searched(uid, state.searched()) if state.is_over() and not lost else None
    return SearchLook(
        turns={stretch: tuple(trials) for stretch, trials in desk.turns.items()},
        stretches=laid,
        finished={index: one.told.state == "Complete" for index, one in state.outcomes.items()},
        entries=tuple(_entry(desk, entry) for entry in state.studies),
        over=over,
        searched=searched,
        lost=lost,
        made=made,
        seconds=time.process_time() - began,
    )


def _stretches(desk: SearchDesk, lane: str, asked: LaneAsk) -> tuple[range, ...]:
    """The stretches of a lane, before anything more is suggested."""
    own = {start: desk.turns[name] for name in desk.turns if (start := stretch_start(lane, name)) is not None}
    given = {start: len(trials) for start, trials in own.items()}
    going = {start for start, trials in own.items() if not desk.going.isdisjoint(trials)}
    return stretches(given, going, asked.made, sum(given.values()) + desk.state.left(asked.entries))


def _going(desk: SearchDesk, asked: LaneAsk) -> int:
    return sum(1 for index in desk.going if desk.tried.entry(index) in asked.entries)


def _entry(desk: SearchDesk, entry: str) -> EntryLook:
    from velodrome.search.sentences import value_words

    state = desk.state
    number = state.best(entry)
    best = None if number is None else state.outcomes_of(entry)[number].told.values[0]
    said = "" if best is None else f"{entry} {value_words(state.keys[0], best)} by trial {number}"
    return EntryLook(entry, state.spent(entry), best, number, said)

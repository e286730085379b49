"""Tells open pages when something that they show has changed.

One look at Redis a second serves all pages of this process, in one round trip, and none happens while no page is open.
A page does nothing until it is woken: then a part of it asks whether what it shows has changed, and draws it again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Literal, Protocol

from streamlit import runtime
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ClientState_pb2 import ClientState
from streamlit.runtime.scriptrunner import ScriptRunContext, get_script_run_ctx
from streamlit.runtime.scriptrunner_utils.script_run_context import ThreadState

from velodrome.errors import StoreUnavailable, VelodromeError
from velodrome.store.markers import Marker
from velodrome_leaderboard.access.current import ENDED
from velodrome_leaderboard.access.people import ANYBODY, Person, is_over
from velodrome_leaderboard.memory import KEPT_SECONDS, memory_of, store_of
from velodrome_leaderboard.viewer import now

_LOG = logging.getLogger("velodrome.leaderboard")

_LOOK_SECONDS = 1.0
# While Redis is away, pages say again how old their results are.
_AWAY_SECONDS = 10.0
# Streamlit keeps the session of a browser that lost its connection for two minutes.
_ABSENT_SECONDS = 150.0

Answers = Mapping[Marker, object]


class OpenPart(Protocol):
    """A part of an open page."""

    @property
    def state(self) -> Literal["open", "absent", "gone"]:
        """Whether it is there. A browser that lost its connection is absent: it may come back."""
        ...

    def wake(self) -> None:
        """Runs it again."""
        ...


@dataclass(slots=True)
class Watcher:
    """When to wake a part of a page. Times are those of a clock that only goes forward, in seconds.

    It is woken some time after a change was seen, so that no answer which viewers share is older than the change. For
    the same reason it is woken once after it was drawn: what it shows may be older than the first look.
    """

    part: OpenPart
    url: str
    markers: tuple[Marker, ...]
    due: float | None
    person: Person = ANYBODY
    every: float | None = None
    seen: tuple[object, ...] | None = None
    away: bool = False
    over: bool = False
    absent_since: float | None = None

    def look(self, answers: Answers | None, at: float, *, over: bool = False) -> bool:
        """Takes what Redis says now, None if it says nothing. Returns whether to wake the part now."""
        away = answers is None
        if away != self.away or over != self.over:
            self.away, self.over, self.due = away, over, at
        if answers is not None:
            found = tuple(answers[marker] for marker in self.markers)
            if self.seen is not None and found != self.seen and self.due is None:
                self.due = at + KEPT_SECONDS
            self.seen = found
        if self.due is None or self.due > at:
            return False
        again = _AWAY_SECONDS if away else self.every
        self.due = None if again is None else at + again
        return True


class PageWatch:
    """The watchers of all open pages."""

    def __init__(self) -> None:
        self._watchers: dict[object, Watcher] = {}
        self._lock = Lock()

    def add(self, key: object, watcher: Watcher) -> None:
        """From now on, this watcher has the key."""
        with self._lock:
            self._watchers[key] = watcher

    def __len__(self) -> int:
        return len(self._watchers)

    def look(self, at: float) -> list[OpenPart]:
        """Asks Redis once, and returns the parts to wake now."""
        with self._lock:
            kept = {key: one for key, one in self._watchers.items() if _is_kept(one, at)}
            self._watchers = kept
            groups = defaultdict(list)
            for watcher in kept.values():
                if watcher.absent_since is None:
                    groups[watcher.url].append(watcher)
        found = []
        for url, watchers in groups.items():
            answers = _ask(url, list(dict.fromkeys(marker for one in watchers for marker in one.markers)))
            moment = now()
            found += [one.part for one in watchers if one.look(answers, at, over=is_over(one.person, moment, ENDED))]
        return found


def _is_kept(watcher: Watcher, at: float) -> bool:
    """Whether its part may still be there. Notes since when it is absent."""
    state = watcher.part.state
    if state == "open":
        watcher.absent_since = None
    elif watcher.absent_since is None:
        watcher.absent_since = at
    return state != "gone" and (watcher.absent_since is None or at - watcher.absent_since < _ABSENT_SECONDS)


def _ask(url: str, markers: Sequence[Marker]) -> Answers | None:
    memory = memory_of(url)
    try:
        answers = store_of(url).answers(markers)
        if not markers:
            store_of(url).ping()
    except StoreUnavailable as error:
        memory.failed(error)
        return None
    except VelodromeError:
        return None  # the page itself reports it
    memory.answered()
    return answers


WATCH = PageWatch()


def join(
    url: str, markers: Sequence[Marker], person: Person, every: float | None = None, *, away: bool = False
) -> bool:
    """Called by a fragment: it is run again when a marker changes, when Redis goes away or comes back, and when the
    person's session is over; and in any case after `every` seconds. `away`: it was drawn while Redis was away.

    It stays joined when it runs again without the rest of the page. Returns whether it is drawn with the page.
    """
    context = get_script_run_ctx()
    if context is None or context.fragment_ids_this_run:
        return False
    fragment = ThreadState.get().fragment_id
    if fragment is not None and runtime.exists():
        due = time.monotonic() + KEPT_SECONDS
        watcher = Watcher(
            _Fragment(context, fragment), url, tuple(dict.fromkeys(markers)), due, person, every, away=away
        )
        WATCH.add((context.session_id, fragment), watcher)
    return True


@dataclass(frozen=True, slots=True)
class _Fragment:
    """A fragment of a Streamlit page in somebody's browser. Use it only in the server's event loop, but for `state`."""

    context: ScriptRunContext
    name: str

    @property
    def state(self) -> Literal["open", "absent", "gone"]:
        session = runtime.get_instance().get_app_session(self.context.session_id)
        if session is None:
            return "absent"
        return "open" if session.has_fragment(self.name) else "gone"

    def wake(self) -> None:
        """Asks for it as the browser asks for a fragment that runs every few seconds."""
        state = ClientState(
            query_string=self.context.query_string,
            page_script_hash=self.context.page_script_hash,
            fragment_id=self.name,
            is_auto_rerun=True,
            context_info=self.context.context_info,
        )
        runtime.get_instance().handle_backmsg(self.context.session_id, BackMsg(rerun_script=state))


@asynccontextmanager
async def watching(_app: object) -> AsyncIterator[None]:
    """While the server runs, it looks for open pages."""
    task = asyncio.create_task(_look_for_ever())
    try:
        yield
    finally:
        task.cancel()


async def _look_for_ever() -> None:
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        if not WATCH:
            continue
        try:
            for part in await asyncio.to_thread(WATCH.look, time.monotonic()):
                part.wake()
        except Exception:
            _LOG.exception("the look for open pages failed, and comes again")

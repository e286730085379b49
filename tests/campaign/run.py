"""One whole campaign: races run while the schedule strikes; then all must end and be deleted."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import redis

from tests.campaign.history import History
from tests.campaign.model import Fault, Summary, check, summary
from tests.campaign.observers import Records, Statuses, left_in_redis, ranked
from tests.campaign.races import Races, cleared, left_objects
from tests.campaign.report import progress
from tests.campaign.schedule import Stroke, schedule
from tests.campaign.strikes import Striker, Undo, Unfinished
from tests.cluster.control import ClusterError
from tests.e2e.conftest import Kube

T = TypeVar("T")

# How long a part of the cluster may be away after a stroke. If it is away longer, the test is broken.
_PATIENCE_WITH_THE_CLUSTER = 240.0
_STRAY_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """Settings of a campaign. `patience` is how long races may take to end after the last disturbance, in seconds."""

    kills: int
    seed: int
    races: int
    trials: int
    image: str
    patience: float = 600.0
    pause: float = 3.0


@dataclass(slots=True)
class _Pending:
    """A stroke that is not over yet: how to end it, and when."""

    stroke: Stroke
    due: float
    undo: Undo


@dataclass
class Campaign:
    """`run` runs the campaign once, and notes what happened in `history`."""

    kube: Kube
    wanted: Wanted
    history: History
    say: Callable[[str], None]
    _pending: list[_Pending] = field(default_factory=list)
    _races_known: set[str] = field(default_factory=set)

    def run(self) -> tuple[Summary, list[Fault]]:
        """Strikes, waits, cleans up, and judges.

        Raises:
            ClusterError: the cluster did not come back.
        """
        wanted = self.wanted
        cleared(self.kube)
        self.history.note("start", seed=wanted.seed, kills=wanted.kills, races=wanted.races, trials=wanted.trials)
        self.races = Races(self.kube, self.history, wanted.image, wanted.trials)
        self.records = Records(self.kube, self.history)
        with self.records.client:  # look for strays after the last observation
            with self.records, Statuses(self.kube, self.history) as self.statuses:
                try:
                    self._strike_all()
                finally:
                    self._end_all(time.monotonic() + 3600)  # make the cluster whole again, whatever happened
                self.history.note("quiet")
                self._await_races()
            self._look_for_strays()
        self.history.note("finish")
        faults = check(self.history.events, wanted.patience)
        return summary(self.history.events, faults), faults

    # -- while it strikes -------------------------------------------------------------------------------------------

    def _strike_all(self) -> None:
        striker, done, began = Striker(self.kube), 0, time.monotonic()
        self._keep_going()
        self._until_trials_run(striker)
        for stroke in schedule(self.wanted.seed, self.wanted.kills, pause=self.wanted.pause):
            self._sleep(stroke.pause)
            self._keep_going()
            self._one(striker, stroke)
            done += stroke.kill
            stands = progress(done, self.wanted.kills, self.records.accepted, len(self.races.going), self.races.ended,
                              time.monotonic() - began)  # fmt: skip
            self.say(f"{stands}; {stroke.way} of {stroke.part}")

    def _until_trials_run(self, striker: Striker) -> None:
        """Waits until there is a runner, before the first stroke."""
        end = time.monotonic() + _PATIENCE_WITH_THE_CLUSTER
        while not striker.runs("runner") and time.monotonic() < end:
            time.sleep(0.5)

    def _one(self, striker: Striker, stroke: Stroke) -> None:
        """Strikes. If the part has no target now, tries again a little later."""
        target, undo = "", None
        end = time.monotonic() + 30
        while not target and time.monotonic() < end:
            target, undo = self._persist(lambda: striker.strike(stroke))
            if not target:
                self._sleep(1)
                self._keep_going()
        self.history.note("stroke", number=stroke.number, part=stroke.part, way=stroke.way, kill=stroke.kill,
                          target=target, lasts=round(stroke.lasts, 1))  # fmt: skip
        if target and undo is not None:
            self._pending.append(_Pending(stroke, time.monotonic() + stroke.lasts, undo))

    def _keep_going(self) -> None:
        """Deletes ended races whose results were observed, and applies new ones in their place."""
        self._see()
        for uid, name in list(self.races.going.items()):
            if self.statuses.ended(uid) == "Complete":
                self._see_the_end(uid, name)
                self._persist(partial(self.races.delete, uid))
        while len(self.races.going) < self.wanted.races:
            self._persist(self.races.apply)
            self._follow()

    def _see(self) -> None:
        self.records.sees()
        self.statuses.sees()

    def _follow(self) -> None:
        for uid in self.races.going:
            self._races_known.add(uid)
            self.records.follow(uid)
            self.statuses.known.add(uid)

    def _see_the_end(self, uid: str, name: str) -> None:
        """Notes the content of Redis for a Complete race before it is deleted."""
        end = time.monotonic() + _PATIENCE_WITH_THE_CLUSTER
        while True:
            self._end_due()
            with contextlib.suppress(redis.RedisError):
                self.records.look(uid)
                break
            if time.monotonic() > end:
                raise ClusterError("Redis did not come back")
            time.sleep(0.5)
        self.history.note("ranked", race=uid, samples=ranked(self.records.client, uid, name))

    # -- what was struck comes back ---------------------------------------------------------------------------------

    def _sleep(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._end_due()
            time.sleep(min(0.1, max(0.0, end - time.monotonic())))

    def _end_due(self) -> None:
        now = time.monotonic()
        for pending in [one for one in self._pending if one.due <= now]:
            self._pending.remove(pending)
            try:
                pending.undo()
            except Unfinished:
                pending.due = now + pending.stroke.lasts
                self._pending.append(pending)
            else:
                self.history.note("over", number=pending.stroke.number)

    def _end_all(self, end: float) -> None:
        for pending in self._pending:
            pending.due = 0.0
        while self._pending and time.monotonic() < end:
            self._end_due()
            for pending in self._pending:
                pending.due = 0.0
        self.kube.cluster.up()

    def _persist(self, act: Callable[[], T]) -> T:
        """Repeats a call to the API server until it succeeds, because the API server or etcd may be away."""
        end = time.monotonic() + _PATIENCE_WITH_THE_CLUSTER
        while True:
            try:
                return act()
            except ClusterError:
                if time.monotonic() > end:
                    raise
                self._sleep(0.5)

    # -- when it has struck -----------------------------------------------------------------------------------------

    def _await_races(self) -> None:
        end = time.monotonic() + self.wanted.patience
        logged = 0.0
        while self.races.going and time.monotonic() < end:
            self._see()
            for uid, name in list(self.races.going.items()):
                if self.statuses.ended(uid):
                    self._see_the_end(uid, name)
                    self._persist(partial(self.races.delete, uid))
            if time.monotonic() > logged + 10:
                logged = time.monotonic()
                self.say(f"no more strokes; races {len(self.races.going)} on and {self.races.ended} ended")
            time.sleep(1)

    def _look_for_strays(self) -> None:
        """Notes what is left of deleted races, after the time that sweeps and garbage collection may take."""
        for uid in list(self.races.going):  # races that did not end
            self._persist(partial(self.races.delete, uid))
        end = time.monotonic() + _STRAY_SECONDS
        objects: Sequence[str]
        while True:
            objects, (names, users) = left_objects(self.kube), left_in_redis(self.records.client, self._races_known)
            if not (objects or names or users) or time.monotonic() > end:
                break
            time.sleep(2)
        self.history.note("strays", objects=list(objects), keys=names, users=users)


def campaign(kube: Kube, wanted: Wanted, file: Path, say: Callable[[str], None]) -> tuple[Summary, list[Fault]]:
    """Runs a campaign with its history in a file."""
    with file.open("w", encoding="utf-8") as opened:
        return Campaign(kube, wanted, History(opened), say).run()

"""Deletes a job, an entry of a board, or a board, with everything that is stored about it.

One step deletes one job, or one entry of one job, as a whole or not at all. If a deletion of several steps was
interrupted, the same call again continues it. The caller checks whether a race still runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

import redis

from velodrome import keys
from velodrome.errors import StoreRefused, StoreUnavailable
from velodrome.metrics.catalogue import label_of
from velodrome.results.marks import Baseline, Deed
from velodrome.store import decoding, removal
from velodrome.store.access import Argument, text_of
from velodrome.store.edge import connect
from velodrome.store.encoding import age
from velodrome.store.reader import Reader
from velodrome.store.successors import cohort_changes, entry_heirs

if TYPE_CHECKING:
    from velodrome.results.records import JobInfo
    from velodrome.store.removal import Removal, SaidOfResults

_TRIES = 100


class Pinned(StoreRefused):
    """The job is a baseline that a person pinned."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a deletion removes: numbers of jobs and of trials with a result, the marks on them, and about how many
    bytes of memory it frees.
    """

    jobs: int
    trials: int
    marks: tuple[SaidOfResults, ...]
    bytes: int

    @property
    def baselines(self) -> tuple[Baseline, ...]:
        """The pinned baselines among the marks."""
        return tuple(mark for mark in self.marks if isinstance(mark, Baseline))


@dataclass(frozen=True, slots=True)
class DeletionTarget:
    """What is to be deleted: a job, by its uid; an entry of a board; or a board."""

    board: str
    uid: str | None = None
    entry: str | None = None

    def has(self, mark: SaidOfResults | Deed) -> bool:
        """Whether the mark, or what was done to one, belongs to what is to be deleted."""
        return (self.uid is None or mark.job_uid == self.uid) and (self.entry is None or mark.entry == self.entry)


class Deleter(Reader):
    """Deletes from a store. It works on a Redis whose memory is full, because it deletes before it writes.

    Its methods raise as those of `Store` do.
    """

    def __init__(self, client: redis.Redis) -> None:
        super().__init__(client)
        self._do = self._redis.script("remove.lua")

    def footprint(self, target: DeletionTarget) -> Footprint:
        """What deleting the target would remove."""
        jobs = self.targets(target)
        trials, size = 0, 0
        for job in jobs:
            uids = (job.uid, keys.search_uid(job.uid))
            stored = [keys.job(uid, part) for uid in uids for part in get_args(keys.JobPart)]
            sizes = self._redis.ask_all([("MEMORY", "USAGE", key) for key in stored])
            entries = [trial.entry for trial in self.trials(job.uid).values()]
            own = len(entries) if target.entry is None else entries.count(target.entry)
            share = 1.0 if target.entry is None else own / max(1, len(entries))
            trials += own
            size += int(share * sum(found or 0 for found in sizes))
        return Footprint(len(jobs), trials, tuple(self._marks_on(target)), size)

    def targets(self, target: DeletionTarget) -> list[JobInfo]:
        """The jobs from which the deletion removes something, oldest first."""
        found = [job for job in self._all_jobs(target.board) if target.uid in (None, job.uid)]
        if target.entry is not None:
            found = [job for job in found if target.entry in job.entries]
        return found[::-1]

    def delete(
        self, target: DeletionTarget, *, with_baselines: bool = False, each: Callable[[JobInfo], None] | None = None
    ) -> int:
        """Deletes the target, and returns from how many jobs. Entries of the board then rank by their newest job that
        is left.

        Acceptances of deleted results are deleted too. An entry loses its results and its place on the board; its name
        stays in the descriptions of its jobs. `each` is called with each job before something of it is deleted.

        Raises:
            Pinned: a person pinned a part of it as baseline, and `with_baselines` is not set; nothing was deleted.
        """
        if not with_baselines:
            self._refuse_pinned(target)
        jobs = self.targets(target)
        for job in jobs:
            if each is not None:
                each(job)
            self._step(job, target, with_baselines=with_baselines)
        if target.uid is None and target.entry is None:
            self._leftovers(target.board)
        return len(jobs)

    def _refuse_pinned(self, target: DeletionTarget) -> None:
        pinned = [mark for mark in self._marks_on(target) if isinstance(mark, Baseline)]
        if pinned:
            names = ", ".join(f"{mark.entry} {label_of(mark.metric_key) or '(all metrics)'}" for mark in pinned[:5])
            raise Pinned(
                f"job {pinned[0].job_uid} is pinned on board {target.board} as the baseline of {names}: pin another "
                "first (velodrome baseline set), or delete the pins with it (--with-baselines)"
            )

    def _step(self, job: JobInfo, target: DeletionTarget, *, with_baselines: bool) -> None:
        for _ in range(_TRIES):
            seen = self._seen(job.board)
            uids = [text_of(uid) for uid in self._redis.ask("ZREVRANGE", keys.board_jobs(job.board), 0, -1)]
            ages = {uid: age(place, uid) for uid, place in self.places(uids).items()}
            if job.uid not in ages:
                return  # somebody else deleted it meanwhile
            if not with_baselines:
                self._refuse_pinned(target)
            removed = self._removal(job, target, ages)
            arguments = (job.board, *seen, len(ages), *removal.flat(removal.commands(removed)))
            if self._do((keys.CHANGES, keys.board_jobs(job.board)), arguments) == 1:
                return
        raise StoreUnavailable(f"board {job.board} changes all the time: delete when fewer races go on there")

    def _removal(self, job: JobInfo, target: DeletionTarget, ages: Mapping[str, str]) -> Removal:
        """What is to be removed, as the board is now. `ages` has the ages of all its jobs by uid, newest first."""
        uids = list(ages)
        older = uids[uids.index(job.uid) + 1 :]
        where = keys.job(job.uid, "samples")
        samples = self._redis.readable(decoding.samples_field, self._redis.ask("HKEYS", where), where)
        places = [(key, cohort, entry) for entry, key, cohort in samples]
        whole = target.entry is None or len(job.entries) == 1
        entries = job.entries if target.entry is None else (target.entry,)
        fields = {}
        if not whole:
            places = [place for place in places if place[2] == target.entry]
            fields = self._fields(job, entries[0])
        own = DeletionTarget(job.board, job.uid, target.entry)
        return removal.Removal(
            job,
            cohort_changes(self._redis, job, ages, older, places),
            entry_heirs(self._redis, job, ages, older, entries, inherit=target.entry is None),
            (*self._marks_on(own), *(deed for deed in self.log(job.board) if own.has(deed))),
            last=whole and len(uids) == 1,
            fields=fields,
        )

    def _fields(self, job: JobInfo, entry: str) -> dict[str, list[Argument]]:
        parts: tuple[keys.JobPart, ...] = ("failures", "conflicts", "entries", "samples")
        names = self._redis.ask_all([("HKEYS", keys.job(job.uid, part)) for part in parts])
        return removal.fields_of_entry(job, entry, dict(zip(parts, names, strict=True)))

    def _seen(self, board: str) -> list[bytes]:
        """How often the board's results and marks changed, as the bytes of Redis."""
        found = self._redis.ask("HMGET", keys.CHANGES, f"results:{board}", f"marks:{board}")
        return [number or b"0" for number in found]

    def _leftovers(self, board: str) -> None:
        """Removes what is left of a board that has no job."""
        if self._redis.ask("ZCARD", keys.board_jobs(board)) == 0:
            arguments = (board, *self._seen(board), 0, *removal.flat(removal.board_leftovers(board)))
            self._do((keys.CHANGES, keys.board_jobs(board)), arguments)

    def _marks_on(self, target: DeletionTarget) -> Iterator[SaidOfResults]:
        said: list[SaidOfResults] = [*self.baselines(target.board), *self.acknowledgements(target.board)]
        return (mark for mark in said if target.has(mark))

    def _all_jobs(self, board: str) -> list[JobInfo]:
        """Every job of a board, newest first."""
        uids = self._redis.ask("ZREVRANGE", keys.board_jobs(board), 0, -1)
        found: list[JobInfo] = []
        for start in range(0, len(uids), 200):
            some = [text_of(uid) for uid in uids[start : start + 200]]
            found += [job for job in self._jobs_of(some) if job is not None]
        return found


def open_deleter(url: str) -> Deleter:
    """A deleter at a redis://, rediss:// or unix:// URL. Raises as `open_store` does."""
    return Deleter(connect(url))

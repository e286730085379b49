"""The part of the store that searches write: suggestions, what ends early, and the winners.

Search trials are kept like those of a job, under a uid of their own (`keys.search_uid`). That job is of no board, and
no list of jobs has it.
"""

from __future__ import annotations

import json

import redis

from velodrome import keys
from velodrome.errors import StoreRefused
from velodrome.results.records import JobInfo
from velodrome.results.searches import Searched, Suggestion
from velodrome.store import decoding
from velodrome.store.encoding import check_job
from velodrome.store.reader import Reader


class Searches(Reader):
    """Writes about searches. Its methods raise as those of `velodrome.store.Store` do, and may be repeated."""

    def __init__(self, client: redis.Redis) -> None:
        super().__init__(client)
        self._suggest = self._redis.script("suggest.lua")
        self._restate = self._redis.script("restate.lua")

    def register_search(self, job: JobInfo) -> None:
        """Makes room for the search trials of a registered job. Only the first call for a uid counts.

        Raises:
            ValueError: the job contradicts itself, or is no job of search trials.
        """
        check_job(job)
        if job.search_of is None:
            raise ValueError(f"the job {job.uid} does not say whose search trials it has")
        self._redis.ask("SETNX", keys.job(job.uid, "info"), job.model_dump_json())
        self._redis.ask("SETNX", keys.job(job.uid, "position"), "0")

    def suggest(self, uid: str, index: int, suggestion: Suggestion, lane: str = "") -> Suggestion:
        """Stores a suggestion, unless there is one for this index, and returns the one that counts.

        A suggestion of a `lane` gets its next turn. Runners are told both; a repeated call tells them the same again.
        """
        names = (keys.job(uid, "suggestions"), keys.instructions(uid), keys.job(uid, "turns"))
        text = self._suggest(names, (index, suggestion.model_dump_json(), keys.PARAMETERS, lane, keys.TURN))
        return self._redis.parsed(Suggestion.model_validate_json, text, names[0], index)

    def stop_trial(self, uid: str, index: int, attempt: str, why: str) -> None:
        """Tells one attempt at a search trial to end it, and why. A later attempt knows nothing of that."""
        self._redis.ask("HSET", keys.instructions(uid), f"{keys.STOP}{index}:{attempt}", why)

    def keep_searched(self, uid: str, searched: Searched) -> Searched:
        """Stores how the search of a registered job ended, unless that is stored, and returns what counts.

        Raises:
            StoreRefused: the job is not registered.
        """
        while True:
            job, text = self._registered(uid)
            counts = job.searched or searched
            winners = [
                part
                for entry, chosen in counts.entries.items()
                for part in (f"{keys.WINNER}{entry}", json.dumps(dict(chosen.values)))
            ]
            if self._restates(text, job.model_copy(update={"searched": counts}), *winners):
                return counts

    def _registered(self, uid: str) -> tuple[JobInfo, bytes]:
        """A registered job, and its text as it is stored.

        Raises:
            StoreRefused: the job is not registered.
        """
        name = keys.job(uid, "info")
        text = self._redis.ask("GET", name)
        if text is None:
            raise StoreRefused(f"Redis at {self._redis.address} knows no job {uid!r}: register it first")
        return self._redis.parsed(decoding.parse_job, text, name), text

    def _restates(self, text: bytes, after: JobInfo, *instructions: str) -> bool:
        """Stores a job anew, unless it changed since it was read as this text. Returns whether it did."""
        names = (keys.job(after.uid, "info"), keys.CHANGES, keys.instructions(after.uid))
        return bool(self._restate(names, (after.board, text, after.model_dump_json(), *instructions)))

"""Observers of a campaign: the content of Redis for each race, twice a second, and every status as it is written."""

from __future__ import annotations

import contextlib
import hashlib
import json
import subprocess
import threading
import time
from typing import Any, Self

import redis

from tests.campaign.history import History
from tests.campaign.races import NAMESPACE
from tests.e2e.conftest import Kube
from tests.e2e.redis_access import RedisAccess
from velodrome import keys
from velodrome.errors import VelodromeError
from velodrome.store import Store

_POLL_SECONDS = 0.5
_STATUS = '{.metadata.uid}{" "}{.metadata.resourceVersion}{" "}{.status}{"\\n"}'


class _Thread:
    """Repeats an action in a thread of its own until the context ends."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.interrupt()
        self._thread.join(30)

    def interrupt(self) -> None:
        """Ends the thread's waiting."""

    def sees(self) -> None:
        """Returns as long as the thread does its work.

        Raises:
            RuntimeError: an unexpected error ended it, so its later observations are missing.
        """
        if self._error is not None:
            raise RuntimeError(f"{type(self).__name__} ended, and nobody watched from then on") from self._error

    def once(self) -> None:
        """The repeated action."""
        raise NotImplementedError

    def _work(self) -> None:
        try:
            while not self.over.is_set():
                self.once()
                self.over.wait(_POLL_SECONDS)
        except Exception as error:  # any error: `sees` raises it in the main thread
            self._error = error


class Records(_Thread):
    """Notes the content of Redis for each race whenever it changed: the records by digest, and their counts."""

    def __init__(self, kube: Kube, history: History) -> None:
        super().__init__()
        self._history = history
        self._races: set[str] = set()
        self._said: dict[str, dict[str, Any]] = {}
        self._kube = kube
        self.client = administrator(kube)

    def follow(self, uid: str) -> None:
        """Observes this race from now on. Its content stays known after the race is deleted."""
        self._races.add(uid)

    @property
    def accepted(self) -> int:
        """The number of observed results."""
        return sum(len(said["records"]) for said in list(self._said.values()))

    def once(self) -> None:
        for uid in list(self._races):
            with contextlib.suppress(redis.RedisError):  # Redis is killed sometimes; the next look finds it again
                self.look(uid)

    def look(self, uid: str) -> None:
        """Reads one race in one transaction, and notes it if it changed.

        Raises:
            redis.RedisError: Redis does not answer.
        """
        with self.client.pipeline(transaction=True) as pipe:
            pipe.hgetall(keys.job(uid, "records"))
            pipe.hgetall(keys.job(uid, "entries"))
            pipe.hgetall(keys.job(uid, "rejected"))
            pipe.hlen(keys.job(uid, "conflicts"))
            records, entries, rejected, conflicts = pipe.execute()
        said = {
            "records": {
                index.decode(): hashlib.sha256(text).hexdigest()[:16]
                for index, text in sorted(records.items(), key=lambda item: int(item[0]))
            },
            "counted": _sum(entries, b"succeeded:"),
            "failed": _sum(entries, b"failed:"),
            "rejected": {reason.decode(): int(times) for reason, times in rejected.items()},
            "conflicts": conflicts,
        }
        if said != self._said.get(uid):
            self._said[uid] = said
            self._history.note("kept", race=uid, **said)


class Statuses(_Thread):
    """Notes every status of a race that the API server reports. Starts a broken watch again."""

    def __init__(self, kube: Kube, history: History) -> None:
        super().__init__()
        self._history = history
        at = kube.cluster.at
        self._line = [
            *(f"{at.bin}/kubectl", f"--kubeconfig={at.kubeconfig}", "-n", NAMESPACE),
            *("get", "bmj", "--watch", "-o", f"jsonpath={_STATUS}"),
        ]
        self._process: subprocess.Popen[str] | None = None
        self._said: dict[str, dict[str, Any]] = {}
        self.known: set[str] = set()
        """The races whose application is in the history."""

    def once(self) -> None:
        with subprocess.Popen(self._line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            self._process = process
            assert process.stdout is not None
            for line in process.stdout:
                uid, _, rest = line.partition(" ")
                version, _, text = rest.partition(" ")
                if (
                    uid in self.known and text.strip() and line.endswith("\n")
                ):  # a watch may break in the middle of a line
                    self._note(uid, int(version), json.loads(text))
            process.terminate()

    def interrupt(self) -> None:
        if self._process is not None:
            self._process.terminate()

    def ended(self, uid: str) -> str:
        """How a race has ended, by its statuses: Complete, Failed, or nothing yet."""
        return str(self._said.get(uid, {}).get("ended", ""))

    def _note(self, uid: str, version: int, status: dict[str, Any]) -> None:
        trials = status.get("trials", {})
        held = {one["type"] for one in status.get("conditions", ()) if one["status"] == "True"}
        said = {
            "total": trials.get("total", 0),
            "succeeded": trials.get("succeeded", 0),
            "failed": trials.get("failed", 0),
            "disrupted": trials.get("disrupted", 0),
            "ended": next((kind for kind in ("Complete", "Failed") if kind in held), ""),
            "message": status.get("message", ""),
        }
        if said != self._said.get(uid):
            self._said[uid] = said
            self._history.note("status", race=uid, version=version, **said)


def administrator(kube: Kube) -> redis.Redis:
    """The installation's Redis, by its Service's address, which a kill does not change."""
    host = kube("-n", "velodrome", "get", "service", "velodrome-redis", "-o", "jsonpath={.spec.clusterIP}")
    url = RedisAccess.of(kube).url(host.strip(), 6379)
    return redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=5)


def ranked(client: redis.Redis, uid: str, board: str, seconds: float = 60) -> dict[str, int]:
    """The number of values by which each entry of a race is ranked for accuracy, over all cohorts.

    Raises:
        VelodromeError: Redis did not answer in time.
    """
    end = time.monotonic() + seconds
    while True:
        try:
            return _ranked(Store(client), uid, board)
        except VelodromeError:
            if time.monotonic() > end:
                raise
            time.sleep(1)


def _ranked(store: Store, uid: str, board: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for cohort in store.cohorts(board, "accuracy"):
        for row in store.ranking_rows(board, "accuracy", cohort.cohort_id):
            if row.job_uid == uid:
                found[row.entry] = found.get(row.entry, 0) + len(row.samples)
    return found


def left_in_redis(client: redis.Redis, races: set[str]) -> tuple[list[str], list[str]]:
    """What is left of deleted races: keys without results, and users.

    Raises:
        redis.RedisError: Redis does not answer.
    """
    names = [key.decode() for key in client.scan_iter(f"{keys.PREFIX}:*")]
    of_races = [name for name in names if any(uid in name for uid in races)]
    kept = tuple(keys.job(uid, "info").removesuffix("info") for uid in races)
    users = [user.decode() for user in client.execute_command("ACL", "USERS")]
    return [name for name in of_races if not name.startswith(kept)], [
        user for user in users if any(uid in user for uid in races)
    ]


def _sum(fields: dict[bytes, bytes], prefix: bytes) -> int:
    return sum(int(value) for name, value in fields.items() if name.startswith(prefix))

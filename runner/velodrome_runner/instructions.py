"""Reads what an executor publishes for a job's runners: which trials have an accepted result, the parameters of a
search, and which of its trials are to end early. No torch.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import redis

from velodrome import keys
from velodrome.errors import ConfigurationError, StoreUnavailable, TrialFailed
from velodrome.results.records import Outcome
from velodrome_runner.log import complain, say
from velodrome_runner.publish import connect
from velodrome_runner.settings import Settings

_CODES: dict[bytes, tuple[Outcome, int]] = {
    b"Succeeded": ("Succeeded", keys.EXIT_OK),
    b"Failed": ("Failed", keys.EXIT_FAILED),
}


def earned(settings: Settings, index: int) -> int | None:
    """The exit code for this process if its trial already has an accepted result; None if it must run.

    A pod may be lost after its report and before its end was seen. Kubernetes then makes another pod, which does not
    need to train again. This asks Redis once. If Redis does not answer, or refuses this user, the trial runs.
    """
    if settings.redis_url is None:
        return None
    try:
        with contextlib.closing(connect(settings.redis_url, settings.login)) as client:
            answer = client.hget(keys.instructions(settings.job_uid), str(index))
    except (redis.RedisError, ValueError) as error:
        complain(f"whether trial {index} has a result is not known, so it runs: {type(error).__name__}: {error}")
        return None
    if not isinstance(answer, bytes) or answer not in _CODES:
        return None
    outcome, code = _CODES[answer]
    say(f"trial {index} has an accepted result already ({outcome}): nothing is left to do")
    return code


# How long a trial waits for Redis to learn its parameters, and between two looks whether it is to end.
_PATIENCE_SECONDS = 30.0
_LOOK_SECONDS = 0.5
# A trial whose turn has not come looks again after such pauses: its parameters are mostly chosen before it starts.
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.01, 0.25


def in_turn(settings: Settings) -> Settings:
    """The settings with the index of the trial whose turn it is in the settings' lane. Without a lane, the same ones.

    Waits until the operator has chosen that trial's parameters. It may never do so: then this process is ended.

    Raises as `told` does.
    """
    if not settings.lane:
        return settings
    return replace(settings, index=int(told(settings, f"{keys.TURN}{settings.lane}:{settings.index}", waits=True)))


def told(settings: Settings, field: str, *, waits: bool = False) -> str:
    """The instruction of that name. Asks again for a while if Redis does not answer, and if it `waits`, until the
    instruction is there.

    Raises:
        ConfigurationError: there is no such instruction, or no Redis is named.
        StoreUnavailable: Redis does not answer.
    """
    if settings.redis_url is None:
        raise ConfigurationError(
            f"{keys.ENV_REDIS_URL} is not set, and a trial of a search learns its parameters from Redis"
        )
    end, pause = time.monotonic() + _PATIENCE_SECONDS, _SHORTEST_PAUSE
    with contextlib.closing(connect(settings.redis_url, settings.login)) as client:
        while True:
            try:
                answer = client.hget(keys.instructions(settings.job_uid), field)
            except redis.RedisError as error:
                if time.monotonic() > end:
                    raise StoreUnavailable(f"Redis does not tell {field}: {type(error).__name__}: {error}") from error
                time.sleep(_LOOK_SECONDS)
                continue
            if answer is None and waits:
                time.sleep(pause)
                end, pause = time.monotonic() + _PATIENCE_SECONDS, min(2 * pause, _LONGEST_PAUSE)
                continue
            if not isinstance(answer, bytes):
                raise ConfigurationError(f"Redis has no {field} for job {settings.job_uid}: was its search deleted?")
            return answer.decode()


class EarlyEnd:
    """Whether a search trial is to end early, as another thread finds out. No training step waits for Redis."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._why: str | None = None
        self._done = threading.Event()

    def check(self) -> None:
        """Raises TrialFailed, `Pruned`, once the trial is to end."""
        if self._why is not None:
            raise TrialFailed("Pruned", self._why)

    def look(self) -> None:
        """Body of the thread: asks until the answer is there, or the trial is over. An outage ends no trial."""
        assert self._settings.redis_url is not None
        field = f"{keys.STOP}{self._settings.index}:{self._settings.attempt}"
        with contextlib.closing(connect(self._settings.redis_url, self._settings.login)) as client:
            while not self._done.wait(_LOOK_SECONDS) and self._why is None:
                with contextlib.suppress(redis.RedisError):
                    answer = client.hget(keys.instructions(self._settings.job_uid), field)
                    self._why = answer.decode() if isinstance(answer, bytes) else None

    def end(self) -> None:
        """Ends the thread."""
        self._done.set()


@contextlib.contextmanager
def stopping(settings: Settings, *, wanted: bool) -> Iterator[EarlyEnd]:
    """Looks whether the trial is to end early, if that is `wanted` and Redis is there."""
    found = EarlyEnd(settings)
    if wanted and settings.redis_url is not None:
        threading.Thread(target=found.look, name="velodrome-stopping", daemon=True).start()
    try:
        yield found
    finally:
        found.end()

"""Reads what the operator publishes for a job's runners: which trials have an accepted result. No torch."""

from __future__ import annotations

import contextlib

import redis

from velodrome import keys
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

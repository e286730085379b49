"""What the operator lets a job's runners read: which trials have an accepted result. Imports no torch."""

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
    """How this process should end where its trial has an accepted result already; None where it is to run.

    A pod may be lost after its report and before its end was seen: Kubernetes then makes another, which need not train
    again. Redis is asked once; one that does not answer, or that this user may not read, holds no trial up.
    """
    if settings.redis_url is None:
        return None
    try:
        with contextlib.closing(connect(settings.redis_url)) as client:
            answer = client.hget(keys.instructions(settings.job_uid), str(index))
    except (redis.RedisError, ValueError) as error:
        complain(f"whether trial {index} has a result is not known, so it runs: {type(error).__name__}: {error}")
        return None
    if not isinstance(answer, bytes) or answer not in _CODES:
        return None
    outcome, code = _CODES[answer]
    say(f"trial {index} has an accepted result already ({outcome}): nothing is left to do")
    return code

"""Runs the trial of this process, from its environment to its exit code."""

from __future__ import annotations

import os
import sys

from velodrome import keys
from velodrome_runner import interruption, privacy


def run_one(command: tuple[str, ...] | None = None, *, own: bool = False) -> int:
    """Runs the trial of this process's environment: with Velodrome's training, or with your own `command`.

    `command` may be absent if the entry has one.

    SIGTERM and SIGINT end it at the next Python instruction, with 128 plus the signal's number. It then reports
    nothing, and is run again later.
    """
    return interruption.guarded(lambda: _run_one(command, own=own))


def _run_one(command: tuple[str, ...] | None, *, own: bool) -> int:
    from velodrome.errors import ConfigurationError
    from velodrome_runner import threads
    from velodrome_runner.log import Tail, complain
    from velodrome_runner.settings import Settings

    tail = Tail()
    sys.stdout, sys.stderr = tail.wrap(sys.stdout), tail.wrap(sys.stderr)
    # cuBLAS reads this when CUDA starts, and may refuse deterministic operation without it.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    try:
        settings = Settings.read(privacy.withdrawn(os.environ))
        count = threads.thread_count(os.environ)
        threads.use(count)
        from velodrome_runner.instructions import earned
        from velodrome_runner.orders import planned

        plan, trial = planned(settings)
        code = earned(settings, trial.index)
        if code is not None:
            return code
        if own or trial.config.command is not None:
            privacy.seal()
            from velodrome_runner.own import run as run_own

            return run_own(settings, plan, trial, threads=count, tail=tail, command=command)
        from velodrome_runner.trial import run

        threads.use(count)
        return run(settings, plan, trial, threads=count, tail=tail)
    except ConfigurationError as error:
        complain(f"{error.reason}: {error}")
        return keys.EXIT_CONFIGURATION

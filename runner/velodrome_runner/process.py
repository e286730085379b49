"""Runs the trial of this process, from its environment to its exit code; or rehearses entries, if that asks for it."""

from __future__ import annotations

import os
import sys

from velodrome import keys
from velodrome.kernel.descendants import adopt, end_below
from velodrome_runner import interruption, privacy

# What the trial has started gets this many seconds to end when the trial has ended.
_LEFTOVER_SECONDS = 1.0


def run_one(command: tuple[str, ...] | None = None, *, own: bool = False) -> int:
    """Runs the trial of this process's environment: with Velodrome's training, or with your own `command`.

    `command` may be absent if the entry has one.

    SIGTERM and SIGINT end it at the next Python instruction, with 128 plus the signal's number. It then reports
    nothing, and is run again later. Everything that the trial started has ended when this returns, also daemons.
    """
    adopt()
    try:
        return interruption.guarded(lambda: _run_one(command, own=own), last=end_leftovers)
    finally:
        end_leftovers()


def end_leftovers() -> None:
    """Ends what this trial started and left running, and says so in its log."""
    ended = end_below(os.getpid(), grace_seconds=_LEFTOVER_SECONDS)
    if ended:
        from velodrome_runner.log import say

        say(f"ended what this trial had left running: {', '.join(map(str, ended))}")


def _run_one(command: tuple[str, ...] | None, *, own: bool) -> int:
    from velodrome.errors import ConfigurationError, StoreUnavailable
    from velodrome_runner import threads
    from velodrome_runner.log import Tail, complain
    from velodrome_runner.settings import Settings

    tail = Tail()
    sys.stdout, sys.stderr = tail.wrap(sys.stdout), tail.wrap(sys.stderr)
    # cuBLAS reads this when CUDA starts, and may refuse deterministic operation without it.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    try:
        environ = privacy.withdrawn(os.environ)
        if environ.get(keys.ENV_REHEARSAL):
            from velodrome_runner.rehearsal import answer

            return answer(environ)
        settings = Settings.read(environ)
        count = threads.thread_count(os.environ)
        threads.use(count)
        from velodrome_runner.instructions import earned, in_turn
        from velodrome_runner.orders import planned

        settings = in_turn(settings)
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
    except StoreUnavailable as error:  # it could not learn what to run, so it runs again
        complain(f"{error.reason}: {error}")
        return keys.EXIT_INTERRUPTED
    except ConfigurationError as error:
        complain(f"{error.reason}: {error}")
        return keys.EXIT_CONFIGURATION

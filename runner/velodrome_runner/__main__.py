"""`velodrome-runner` runs one trial. `serve` runs many, each in a process of its own."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from velodrome import keys
from velodrome_runner.process import run_one

_USAGE = f"""\
usage: python -m velodrome_runner          run one trial and report its result
       python -m velodrome_runner serve    run trials as they are asked for, one JSON line each on standard input
       python -m velodrome_runner data     read the data set that a JSON line on standard input names, and tell about it
       velodrome-runner exec -- COMMAND    run one trial with a training program of one's own (docs/own-code.md)

`velodrome-runner` and `python -m velodrome_runner` are the same.

Environment variables say what one trial has to do:
  {keys.ENV_SPEC:36}path of the BenchmarkJob as JSON
  {keys.ENV_INDEX:36}index of the trial in the job's plan
  {keys.ENV_JOB_UID:36}uid of the BenchmarkJob
  {keys.ENV_ATTEMPT:36}name that no other attempt at this trial has
  {keys.ENV_SCRATCH:36}folder where the result is kept until Redis has it
  {keys.ENV_REDIS_URL:36}redis://, rediss:// or unix:// URL; without it the result stays in that folder
  {keys.ENV_REDIS_USERNAME:36}user of Redis, if the URL names none
  {keys.ENV_REDIS_PASSWORD_FILE:36}file with that user's password
  {keys.ENV_REPORT_KEY_FILE:36}file with what the trial's reports must show (default: they show nothing)
  {keys.ENV_REDIS_CA_FILE:36}certificates that Redis' certificate must come from, for rediss://
  {keys.ENV_PUSHGATEWAY:36}URL of a Pushgateway for live metrics (default: none are pushed)
  {keys.ENV_ARTIFACTS:36}folder in which the job's trials keep files (default: below the scratch folder)
  {keys.ENV_DATA:36}folder below which dataset.source paths lie (default: the current one)
  {keys.ENV_CPUS:36}threads to compute with (default: the CPUs that this process may use)
  {keys.ENV_CONCURRENT:36}trials that share this machine, this one included (default: 1)
  {keys.ENV_REHEARSAL:36}file for what a rehearsal finds of the entries {keys.ENV_ENTRIES}; then no trial runs
  {keys.ENV_DEADLINE:36}seconds to keep trying to deliver the result (default: 600)

A line for `serve` is {{"id": "...", "env": {{...}}, "log": "path"}}; it answers with one JSON line an event:
ready, started (with pid), exited (with code or signal), refused (with message).

exit codes:
  {keys.EXIT_OK:<5}the trial succeeded
  {keys.EXIT_FAILED:<5}the trial failed
  {keys.EXIT_CONFIGURATION:<5}the trial can't run as it is written
  {keys.EXIT_UNDELIVERED:<5}the result could not be delivered; it waits in the scratch folder
  {keys.EXIT_INTERRUPTED:<5}the trial was interrupted and reported nothing
"""


def main(arguments: list[str] | None = None) -> int:
    """Runs what the arguments ask for and returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments in (["-h"], ["--help"]):
        sys.stdout.write(_USAGE)
        return keys.EXIT_OK
    if arguments == ["serve"]:
        from velodrome_runner.serve import serve

        return serve()
    if arguments == ["data"]:
        from velodrome_runner.data.report import answer

        return answer(sys.stdin)
    if arguments[:1] == ["exec"]:
        command = arguments[2:] if arguments[1:2] == ["--"] else arguments[1:]
        return run_one(tuple(command) or None, own=True)
    if arguments:
        sys.stderr.write(f"unknown arguments: {' '.join(arguments)}\n\n{_USAGE}")
        return 2
    return run_one()


def end(code: int) -> NoReturn:
    """Ends this process at once. Python would look through all of torch's objects first: that takes a second of CPU
    time, and a pod's node waits for it. The trial has closed and ended everything that it had by now.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    end(main())

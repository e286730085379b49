"""`python -m velodrome_operator` watches BenchmarkJobs until somebody stops it."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path

import kopf

from velodrome import keys
from velodrome.board.retention import Retention
from velodrome.board.tenancy import BoardPolicy, BoardRule, parse_rule
from velodrome.connections.clients import RedisLogin
from velodrome_operator import memory
from velodrome_operator.children import ChildSettings
from velodrome_operator.handlers import registry
from velodrome_operator.service import SERIES_LIMIT, Options, connected

_MOST_DAYS = 36_500
FILES_SECONDS = 90.0
_DESCRIPTION = """\
Watches BenchmarkJobs, runs their trials as Indexed Jobs, accepts what the runners report, and shows Prometheus, at
/metrics, what the results are, which of them regressed, and how races and the operator itself do.

Reads from the environment:
  VELODROME_REDIS_URL            redis:// or rediss:// URL of a Redis 7 (or Valkey)
  VELODROME_REDIS_USERNAME       a user that may manage users, if the URL names none
  VELODROME_REDIS_PASSWORD_FILE  file with its password, read again at each new connection
  VELODROME_REDIS_CA_FILE        certificates that Redis' certificate must come from; runners get them too
  VELODROME_JOB_KEY_FILE         file with the key that the passwords of races derive from (default: the file job-key
                                 beside the password's file, or the password in the URL)

Talks to the cluster that it runs in, else to the one of KUBECONFIG.
"""


def main(arguments: list[str] | None = None) -> int:
    """Runs until SIGTERM or SIGINT. Returns 0 after an orderly stop, and 2 for bad arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m velodrome_operator",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--namespace",
        action="append",
        default=[],
        help="watch this namespace alone; repeat it for more; the whole cluster without it",
    )
    parser.add_argument("--runner-image", help="image of the runners where a job names none, pinned by digest")
    parser.add_argument("--redis-address", help="host:port of Redis as pods reach it; that of the URL without it")
    parser.add_argument(
        "--pushgateway", help="URL of a Pushgateway for runners' live metrics; without it none are pushed"
    )
    parser.add_argument(
        "--allow-init-containers",
        action="store_true",
        help="run the init containers of spec.runner.template; without it, jobs that have any fail with InvalidSpec",
    )
    parser.add_argument(
        "--listen", default="0.0.0.0:8080", help="HOST:PORT where /healthz, /readyz and /metrics are answered"
    )
    parser.add_argument(
        "--leaderboard-url",
        default="",
        help="where people find the leaderboard: alerts link to it",
    )
    parser.add_argument(
        "--series-limit",
        type=int,
        default=SERIES_LIMIT,
        help="how many series of results and BenchmarkJobs /metrics has at most (default: %(default)s): what regressed "
        "is kept first, then what is newest; velodrome_exporter_series_dropped counts how many were left out",
    )
    parser.add_argument(
        "--retain-jobs",
        type=int,
        metavar="N",
        help="delete the results of jobs beyond a board's newest N; without it, of none",
    )
    parser.add_argument(
        "--retain-days",
        type=float,
        metavar="D",
        help="delete the results of jobs that are older; without it, of none. Whatever the limits, these stay: each "
        "board's newest job, pinned baselines, what runs, and the newest jobs that have, and have values of, an entry",
    )
    parser.add_argument(
        "--no-report-keys",
        action="store_true",
        help="make no report keys: runners of version 0.1.0 in images of entries can report then, and code of an entry "
        "that learns the uid of another pod of its race can report for it",
    )
    parser.add_argument(
        "--boards",
        choices=["shared", "owned"],
        default="shared",
        help="who may write to a board that no --board names: every namespace, or only the one whose race wrote to it "
        "first (default: %(default)s). The races of others end as Failed, with the reason BoardRefused and no pod",
    )
    parser.add_argument(
        "--board",
        dest="board_rules",
        action="append",
        type=_rule,
        default=[],
        metavar="PATTERN=NAMESPACE[,NAMESPACE...]",
        help="the boards that match take results of these namespaces alone, or of all with *; repeat it for more "
        "boards: the first that matches counts. For example --board=digits=team-a,team-b --board='team-a-*=team-a'",
    )
    parser.add_argument("--dry-run", action="store_true", help="ask the API server to check every write and keep none")
    parser.add_argument("--log-level", default="INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR"])
    given = parser.parse_args(arguments)
    url = os.environ.get("VELODROME_REDIS_URL")
    if not url:
        parser.error("set VELODROME_REDIS_URL, for example rediss://redis:6379/0, and VELODROME_REDIS_PASSWORD_FILE")
    if given.runner_image and "@sha256:" not in given.runner_image:
        parser.error(f"--runner-image: {given.runner_image} is not pinned by digest: write NAME@sha256:DIGEST")
    kopf.configure(log_format=kopf.LogFormat.JSON)
    logging.getLogger("velodrome").setLevel(given.log_level)
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)  # otherwise every event of every pod logs two lines
    host, _, port = given.listen.rpartition(":")
    if not port.isdecimal():
        parser.error(f"--listen: {given.listen} is no HOST:PORT")
    if given.series_limit < 0:
        parser.error(f"--series-limit: {given.series_limit} is less than 0")
    if given.retain_jobs is not None and given.retain_jobs < 1:
        parser.error(f"--retain-jobs: {given.retain_jobs} is less than 1")
    if given.retain_days is not None and not 0 < given.retain_days <= _MOST_DAYS:
        parser.error(f"--retain-days: {given.retain_days} is not between 0 and {_MOST_DAYS}")
    age = None if given.retain_days is None else timedelta(days=given.retain_days)
    login, job_key = RedisLogin.read(os.environ), os.environ.get(keys.ENV_JOB_KEY_FILE)
    _await([path for path in (login.password_file, login.ca_file, job_key and Path(job_key)) if path])
    options = Options(
        redis_url=url,
        login=login,
        job_key_file=Path(job_key) if job_key else None,
        redis_address=given.redis_address,
        namespaces=frozenset(given.namespace),
        settings=ChildSettings(
            runner_image=given.runner_image,
            pushgateway=given.pushgateway,
            init_containers=given.allow_init_containers,
            authority=_authority(parser, url, login),
            report_keys=not given.no_report_keys,
        ),
        dry_run=given.dry_run,
        listen=(host, int(port)),
        leaderboard_url=given.leaderboard_url.rstrip("/"),
        series_limit=given.series_limit,
        retention=Retention(given.retain_jobs, age),
        boards=BoardPolicy(given.boards, tuple(given.board_rules)),
    )
    memory.keep_small()
    asyncio.run(
        kopf.operator(
            registry=registry(partial(connected, options)),
            standalone=True,
            clusterwide=not given.namespace,
            namespaces=given.namespace,
        )
    )
    return 0


def _await(files: Sequence[Path], seconds: float = FILES_SECONDS) -> None:
    """Returns when the files are there, or when the time is up: what needs them then says which is missing.

    At the very first start an init container makes the Secret, and the kubelet shows it in the pod a little later.
    """
    end, told = time.monotonic() + seconds, False
    while (missing := [str(path) for path in files if not path.exists()]) and time.monotonic() < end:
        if not told:
            sys.stderr.write(f"waiting for {', '.join(missing)}\n")
            told = True
        time.sleep(0.2)


def _authority(parser: argparse.ArgumentParser, url: str, login: RedisLogin) -> str | None:
    """The certificates that Redis' certificate must come from, for the runners; None without TLS."""
    if login.ca_file is None or not url.startswith("rediss://"):
        return None
    try:
        return login.ca_file.read_text(encoding="utf-8")
    except OSError as error:
        parser.error(f"{keys.ENV_REDIS_CA_FILE}: {login.ca_file} can't be read ({error.strerror})")


def _rule(text: str) -> BoardRule:
    try:
        return parse_rule(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


if __name__ == "__main__":
    sys.exit(main())

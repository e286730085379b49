"""`python -m velodrome_operator` watches BenchmarkJobs until somebody stops it."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from datetime import timedelta
from functools import partial

import kopf

from velodrome.board.retention import Retention
from velodrome_operator import memory
from velodrome_operator.children import ChildSettings
from velodrome_operator.handlers import registry
from velodrome_operator.service import SERIES_LIMIT, Options, connected

_MOST_DAYS = 36_500
_DESCRIPTION = """\
Watches BenchmarkJobs, runs their trials as Indexed Jobs, accepts what the runners report, and shows Prometheus, at
/metrics, what the results are, which of them regressed, and how races and the operator itself do.

Reads VELODROME_REDIS_URL: a Redis 7 (or Valkey) user that may manage users. Talks to the cluster that it runs in,
else to the one of KUBECONFIG.
"""


def main(arguments: list[str] | None = None) -> int:
    """Runs until SIGTERM or SIGINT. Returns 0 after an orderly stop, and 2 for bad arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m velodrome_operator",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--namespace", help="watch this namespace alone; the whole cluster without it")
    parser.add_argument("--runner-image", help="image of the runners where a job names none, pinned by digest")
    parser.add_argument("--redis-address", help="host:port of Redis as pods reach it; that of the URL without it")
    parser.add_argument(
        "--pushgateway", help="URL of a Pushgateway for runners' live metrics; without it none are pushed"
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
    parser.add_argument("--dry-run", action="store_true", help="ask the API server to check every write and keep none")
    parser.add_argument("--log-level", default="INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR"])
    given = parser.parse_args(arguments)
    url = os.environ.get("VELODROME_REDIS_URL")
    if not url:
        parser.error("set VELODROME_REDIS_URL, for example redis://:PASSWORD@redis:6379/0")
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
    options = Options(
        redis_url=url,
        redis_address=given.redis_address,
        namespace=given.namespace,
        settings=ChildSettings(runner_image=given.runner_image, pushgateway=given.pushgateway),
        dry_run=given.dry_run,
        listen=(host, int(port)),
        leaderboard_url=given.leaderboard_url.rstrip("/"),
        series_limit=given.series_limit,
        retention=Retention(given.retain_jobs, age),
    )
    memory.keep_small()
    asyncio.run(
        kopf.operator(
            registry=registry(partial(connected, options)),
            standalone=True,
            clusterwide=given.namespace is None,
            namespaces=[given.namespace] if given.namespace else [],
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

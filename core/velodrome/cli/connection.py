"""Which Redis a command uses: the one that was named, or Velodrome's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING

import typer

from velodrome.cli.console import complain
from velodrome.errors import StoreRefused
from velodrome.machine.home import open_home
from velodrome.machine.redis.server import OwnRedis
from velodrome.store import Store, open_store
from velodrome.text import line

if TYPE_CHECKING:
    from velodrome.cli.cluster.kubectl import Kubectl
    from velodrome.store.roles import Role


@contextmanager
def redis_for(url: str | None, *, writes: bool = True) -> Iterator[OwnRedis | str]:
    """The named Redis, after a check that it answers; or Velodrome's own, which runs until the context ends.

    A command that `writes` needs room for results on the disk of Velodrome's own Redis. One that only reads does not.

    Raises:
        StoreUnavailable: the named Redis does not answer.
        LocalError: Velodrome's own Redis can't be started.
    """
    if url is None:
        with OwnRedis(open_home(writes=writes), writes=writes) as own:
            yield own
    else:
        with checked_store(url) as store:
            store.ping()
        yield url


@contextmanager
def results_store(
    url: str | None, *, writes: bool = False, kubectl: Kubectl | None = None, installed_in: str = "velodrome"
) -> Iterator[Store]:
    """The store in that Redis, or in that of the cluster which `kubectl` reaches. When the context ends, it reports
    what was left out because it can't be read.

    On a cluster, a command that only reads connects as a user who may only read.

    Raises:
        StoreUnavailable: the named Redis does not answer.
        LocalError: Velodrome's own Redis can't be started.
        ClusterError: the cluster's Redis can't be reached.
    """
    with ExitStack() as stack:
        if kubectl is not None:
            from velodrome.cli.cluster.forwarding import forwarded_redis

            role: Role = "marks" if writes else "leaderboard"
            found: OwnRedis | str = stack.enter_context(forwarded_redis(kubectl, installed_in, role))
        else:
            found = stack.enter_context(redis_for(url, writes=writes))
        store = stack.enter_context(checked_store(found if isinstance(found, str) else found.url))
        yield store
        for words in store.left_out:
            complain(line(f"left out: {words}"))


def chosen_store(
    redis: str | None,
    installed_in: str,
    context: str | None,
    kubeconfig: str | None,
    *,
    cluster: bool,
    writes: bool = False,
) -> AbstractContextManager[Store]:
    """`results_store` by the options of a command: on the cluster that kubectl reaches if it says `cluster`."""
    from velodrome.cli.cluster.kubectl import Kubectl

    there = Kubectl(None, context, kubeconfig) if cluster else None
    return results_store(redis, writes=writes, kubectl=there, installed_in=installed_in)


def checked_store(url: str) -> Store:
    """A store at the URL; a usage error if that is not the URL of a Redis."""
    try:
        return open_store(url)
    except StoreRefused as error:
        raise typer.BadParameter(str(error), param_hint="--redis") from error

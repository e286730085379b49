"""Which Redis a command uses: the one that was named, or Velodrome's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from velodrome.cli.console import complain
from velodrome.errors import StoreRefused
from velodrome.machine.home import open_home
from velodrome.machine.redis.server import OwnRedis
from velodrome.store import Store, open_store
from velodrome.text import line


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
def results_store(url: str | None, *, writes: bool = False) -> Iterator[Store]:
    """The store in that Redis. When the context ends, it reports what was left out because it can't be read.

    Raises:
        StoreUnavailable: the named Redis does not answer.
        LocalError: Velodrome's own Redis can't be started.
    """
    with redis_for(url, writes=writes) as redis, checked_store(redis if isinstance(redis, str) else redis.url) as store:
        yield store
        for words in store.left_out:
            complain(line(f"left out: {words}"))


def checked_store(url: str) -> Store:
    """A store at the URL; a usage error if that is not the URL of a Redis."""
    try:
        return open_store(url)
    except StoreRefused as error:
        raise typer.BadParameter(str(error), param_hint="--redis") from error

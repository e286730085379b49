"""Where results are: in Velodrome's own folder, in another folder, or in a Redis that a URL names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from velodrome.errors import LocalError
from velodrome.keys import ENV_REDIS_URL
from velodrome.machine.home import Home, locate_home, open_home
from velodrome.machine.redis.server import OwnRedis

Where = str | os.PathLike[str] | None


@dataclass(frozen=True, slots=True)
class ResultPlace:
    """A data folder, and the Redis with the results: one that runs for this folder, or the one of a URL."""

    home: Home
    redis: OwnRedis | str

    @property
    def url(self) -> str:
        """The URL for clients, with the password in it."""
        return self.redis if isinstance(self.redis, str) else self.redis.url


@contextmanager
def place_at(where: Where, *, writes: bool) -> Iterator[ResultPlace]:
    """The place that `where` means, as on the command line: None is the Redis of `VELODROME_REDIS_URL`, else the folder
    of `VELODROME_HOME` or of this user. A text with `://` is the URL of a Redis, and anything else is such a folder.

    The Redis of a folder runs until the context ends. A caller that only reads gets no new folder.

    Raises:
        LocalError: the folder does not exist (for a caller that only reads), can't be used, or has no Redis to start.
    """
    where = where or os.environ.get(ENV_REDIS_URL) or None
    if isinstance(where, str) and "://" in where:
        yield ResultPlace(open_home(writes=False), where)
        return
    environ = dict(os.environ) if where is None else {**os.environ, "VELODROME_HOME": os.fspath(where)}
    home = locate_home(environ)
    if not writes and where is not None and not home.redis.is_dir():
        raise LocalError(
            f"{home.folder} holds no results of Velodrome: name the folder that VELODROME_HOME names while races run, "
            "or the URL of a Redis, such as redis://127.0.0.1:6379"
        )
    home = open_home(environ, writes=writes)
    with OwnRedis(home, writes=writes) as own:
        yield ResultPlace(home, own)


def folder_of(path: str | os.PathLike[str] | None, home: Home) -> Path:
    """The folder of the data: the one that is named, or that of the data folder."""
    return (home.data if path is None else Path(path).expanduser()).absolute()

"""What a shell completes: boards, jobs, entries and objectives, from the results that there are.

A shell asks while a person types. So nothing is written, nothing is said, and every error gives no names.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

import typer

from velodrome.keys import ENV_REDIS_URL

if TYPE_CHECKING:
    from velodrome.store import Reader

_NEWEST = 200  # jobs that are looked at


def boards(context: typer.Context, incomplete: str) -> list[str]:
    """The names of boards."""
    return _starting(context, incomplete, lambda reader: (board.name for board in reader.boards()))


def jobs(context: typer.Context, incomplete: str) -> list[str]:
    """The names of jobs, newest first."""
    return _starting(context, incomplete, lambda reader: (job.name for job in reader.jobs(limit=_NEWEST)))


def entries(context: typer.Context, incomplete: str) -> list[str]:
    """The entries of the job or the board that stands before, or of the newest board."""
    return _starting(context, incomplete, lambda reader: _entries(reader, context))


def objectives(context: typer.Context, incomplete: str) -> list[str]:
    """The objectives of the job or the board that stands before, or of the newest board."""
    from velodrome.board.choosing import chosen_board, chosen_job, chosen_objectives

    def names(reader: Reader) -> Iterator[str]:
        job = context.params.get("job")
        board = chosen_job(reader, job).board if job else chosen_board(reader, context.params.get("board"))
        yield from (one.name for one in chosen_objectives(reader, board))

    return _starting(context, incomplete, names)


def deleted(context: typer.Context, incomplete: str) -> list[str]:
    """What `delete` takes: first the kind, and then the names of that kind."""
    match [*(context.params.get("what") or ())]:
        case []:
            return [kind for kind in ("job", "entry", "board") if kind.startswith(incomplete)]
        case ["job"]:
            return jobs(context, incomplete)
        case ["board"] | ["entry"]:
            return boards(context, incomplete)
        case ["entry", board]:
            return _starting(context, incomplete, lambda reader: _entries_of(reader, board))
    return []


def runs(context: typer.Context, incomplete: str) -> list[str]:
    """Trials as JOB/ENTRY/REPEAT, part by part."""
    from velodrome.board.choosing import chosen_job

    def names(reader: Reader) -> Iterator[str]:
        name, *rest = incomplete.split("/")
        if not rest:
            yield from (f"{job.name}/" for job in reader.jobs(limit=_NEWEST))
            return
        job = chosen_job(reader, name)
        if len(rest) == 1:
            yield from (f"{name}/{entry}/" for entry in job.entries)
        else:
            yield from (f"{name}/{rest[0]}/{repeat}" for repeat in range(job.repeats))

    return _starting(context, incomplete, names)


def _entries(reader: Reader, context: typer.Context) -> Iterator[str]:
    from velodrome.board.choosing import chosen_board, chosen_job

    job = context.params.get("job")
    if job:
        yield from chosen_job(reader, job).entries
        return
    yield from _entries_of(reader, chosen_board(reader, context.params.get("board")))


def _entries_of(reader: Reader, board: str) -> Iterator[str]:
    return (state.entry for _, state in reader.board_entries(board))


def _starting(context: typer.Context, incomplete: str, names: Callable[[Reader], Iterator[str]]) -> list[str]:
    """The names that begin with what was typed, each once. Names with characters that a terminal obeys are left out."""
    from velodrome.text import is_clean

    found: dict[str, None] = {}
    with suppress(Exception):
        from velodrome.api.places import place_at
        from velodrome.machine.home import locate_home
        from velodrome.machine.redis.server import connect
        from velodrome.store import open_store

        url = context.params.get("redis") or os.environ.get(ENV_REDIS_URL)
        with place_at(url or locate_home().folder, writes=False) as place:
            with connect(place.url) as client:  # asks once, where the store would wait for a Redis to come back
                client.ping()
            with open_store(place.url) as store:
                found = dict.fromkeys(name for name in names(store) if name.startswith(incomplete))
    return [name for name in found if is_clean(name)]

"""`leaderboard`: the rankings in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from velodrome.cli.console import say, write_json_line
from velodrome.cli.options import Address, Json, Open, Port, RedisUrl
from velodrome.keys import ENV_BOARDS, ENV_SIGN_IN

if TYPE_CHECKING:
    from velodrome.machine.leaderboard import Leaderboard
    from velodrome.machine.processes.stop import Stop
    from velodrome.machine.redis.server import OwnRedis

EXAMPLES = """\
  velodrome leaderboard --open
  velodrome leaderboard --redis redis://results.example:6379 --port 9000
  velodrome leaderboard --boards 'team-a-*' --boards digits
"""

_LOOK_SECONDS = 0.5
_REDIS_SECONDS = 2.0


def leaderboard(
    port: Port = None,
    address: Address = "127.0.0.1",
    boards: Annotated[
        list[str] | None,
        typer.Option(
            "--boards",
            metavar="PATTERN",
            envvar=ENV_BOARDS,
            help="Show these boards alone, such as team-a-*; repeat it, or use commas. Without it, all boards.",
        ),
    ] = None,
    sign_in: Annotated[
        Path | None,
        typer.Option(
            "--sign-in",
            metavar="FILE",
            envvar=ENV_SIGN_IN,
            help="Let people in who sign in as this file says (docs/sign-in.md). Without it, everybody may look.",
        ),
    ] = None,
    open_: Open = False,
    json: Json = False,
    redis: RedisUrl = None,
) -> None:
    """Serve the leaderboard until Ctrl-C."""
    from velodrome.board.tenancy import ShownBoards
    from velodrome.cli.connection import redis_for
    from velodrome.machine.home import open_home
    from velodrome.machine.leaderboard import Leaderboard
    from velodrome.machine.processes.stop import stopped_by_signals

    try:
        shown = ShownBoards.parse(boards or [])
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--boards") from error
    with stopped_by_signals() as stop, redis_for(redis, writes=False) as source:
        url = source if isinstance(source, str) else source.url
        with Leaderboard(open_home(writes=False), url, port, address, str(shown), sign_in) as served:
            served.await_up()
            if json:
                write_json_line({"url": served.url})
            else:
                say(f"The leaderboard is at {served.url} (Ctrl-C ends it)")
            if open_:
                open_browser(served.url)
            serve_until_stopped(served, source, stop)


def open_browser(url: str) -> None:
    """Opens the page in this machine's browser, or says that there is none."""
    import webbrowser

    from velodrome.cli.console import complain

    if not webbrowser.open(url):
        complain(f"no browser was found here: open {url} by hand")


def serve_until_stopped(served: Leaderboard, redis: OwnRedis | str, stop: Stop) -> None:
    """Keeps the leaderboard and Velodrome's own Redis up until the person stops them.

    Raises:
        LocalError: the leaderboard ended by itself.
    """
    import time

    looked = 0.0
    while not stop.requested:
        if not served.is_running():
            served.await_up()  # raises the reason why it ended
        if not isinstance(redis, str) and time.monotonic() - looked > _REDIS_SECONDS:
            looked = time.monotonic()
            redis.ensure()
        time.sleep(_LOOK_SECONDS)

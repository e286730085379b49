"""The app around the pages: their addresses, the style, and what is shown while Redis is unavailable."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import streamlit as st

from velodrome import keys
from velodrome.errors import ActionNeeded, TryAgain
from velodrome_leaderboard import faults, links, markup
from velodrome_leaderboard.access.people import NotAViewer, SignInNeeded
from velodrome_leaderboard.data import ResultSource, source
from velodrome_leaderboard.views import (
    board,
    boards,
    compare,
    entry,
    guide,
    history,
    job,
    live,
    profiles,
    run,
    search,
    signing_in,
)

Render = Callable[[ResultSource], None]

PAGES: dict[str, tuple[str, Render]] = {
    links.BOARDS: ("Boards", boards.render),
    links.BOARD: ("Board", board.render),
    links.JOB: ("Job", job.render),
    links.RUN: ("Run", run.render),
    links.HISTORY: ("History", history.render),
    links.PROFILE: ("Profile", profiles.render),
    links.COMPARE: ("Compare", compare.render),
    links.ENTRY: ("Entry", entry.render),
    links.SEARCH: ("Search", search.render),
    links.GUIDE: (guide.TITLE, guide.render),
}

_SITE = (("Leaderboards", links.HOME), (guide.TITLE, links.GUIDE), ("API", links.API))
_STYLE = Path(__file__).with_name("style.css")
_ICON = Path(__file__).with_name("icon.svg")  # a browser would fetch an icon by name from the Internet


def main() -> None:
    """Runs the whole app when a browser asks for a page. The first page is the list of boards."""
    st.set_page_config(page_title="Velodrome", page_icon=str(_ICON), layout="wide")
    pages = [
        st.Page(partial(show, render), title=title, url_path=path, default=path == links.BOARDS)
        for path, (title, render) in PAGES.items()
    ]
    st.navigation(pages, position="hidden").run()


def show(render: Render) -> None:
    """Shows a page. If Redis has a problem, shows what is wrong, and the page again as soon as Redis answers."""
    st.html(_STYLE)
    try:
        st.html(markup.site(_SITE))
        here = source()
        signing_in.show(here.person)
        with faults.part_of_page():
            render(here)
        if left_out := here.left_out():
            st.html(markup.alert("Some of what is stored is left out, as it can't be read.", left_out))
    except SignInNeeded:
        signing_in.ask()
    except NotAViewer as error:
        signing_in.refuse(str(error))
    except TryAgain as error:
        st.html(markup.alert("The results can't be read right now.", [str(error)], "busy"))
        live.wait(os.environ.get(keys.ENV_REDIS_URL, ""))
    except ActionNeeded as error:
        st.html(markup.alert("The results can't be read before somebody changes something.", [str(error)]))

"""The app that `streamlit run` serves: the pages, and beside them the API and /metrics.

Streamlit puts the folder of this file first on sys.path.
"""

from pathlib import Path

import streamlit.config
from starlette.middleware import Middleware
from starlette.routing import Mount, Route
from streamlit.starlette import App

from velodrome_leaderboard import faults, metrics
from velodrome_leaderboard.access.current import sign_in
from velodrome_leaderboard.access.gate import Gate
from velodrome_leaderboard.api.routes import PREFIX, api
from velodrome_leaderboard.lost_connection import OwnWords
from velodrome_leaderboard.watching import watching

# Streamlit collects garbage after each run of a page, which walks through all results that are kept: on a board of
# 1,000 entries that cost more than the page itself. Python collects by itself when enough has been made.
streamlit.config.set_option("runner.postScriptGC", False)
# A browser keeps parts of a page from this size on (bytes), and they are not sent again: the style is on each page.
streamlit.config.set_option("global.minCachedMessageSize", 4000)

_how = sign_in()
if _how is not None:  # what a person began at one pod, another one may end: the cookie of that has the same key
    streamlit.config.set_option("server.cookieSecret", _how.cookie_secret)

app = App(
    Path(__file__).with_name("script.py"),
    routes=[Mount(PREFIX, api), Route(metrics.PATH, metrics.scrape)],
    middleware=[Middleware(Gate, how=_how), Middleware(OwnWords)],
    secrets=None if _how is None else _how.secrets(),
    on_script_error=faults.show,
    lifespan=watching,
)

"""The app that `streamlit run` serves: the pages, and the API beside them.

Streamlit puts the folder of this file first on sys.path.
"""

from pathlib import Path

from starlette.middleware import Middleware
from starlette.routing import Mount
from streamlit.starlette import App

from velodrome_leaderboard import faults
from velodrome_leaderboard.api.routes import PREFIX, api
from velodrome_leaderboard.lost_connection import OwnWords

app = App(
    Path(__file__).with_name("script.py"),
    routes=[Mount(PREFIX, api)],
    middleware=[Middleware(OwnWords)],
    on_script_error=faults.show,
)

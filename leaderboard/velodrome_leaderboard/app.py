"""The app that `streamlit run` serves. Streamlit puts the folder of this file first on sys.path."""

from pathlib import Path

from streamlit.starlette import App

from velodrome_leaderboard import faults

app = App(Path(__file__).with_name("script.py"), on_script_error=faults.show)

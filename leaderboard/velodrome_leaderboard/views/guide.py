"""How to read the pages: each word that they use, in a few sentences."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from velodrome import __version__
from velodrome_leaderboard import links, markup
from velodrome_leaderboard.data import ResultSource

TITLE = "How to read these pages"
_TEXT = Path(__file__).parents[1] / "guide.md"


def render(_source: ResultSource) -> None:
    """Shows the page."""
    st.set_page_config(page_title=f"{TITLE} · Velodrome")
    st.html(markup.heading(TITLE, [("Leaderboards", links.HOME)], [f"Velodrome {__version__}"]))
    st.markdown(_TEXT.read_text(encoding="utf-8"), width=860)

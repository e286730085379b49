"""Puts charts on a page: in the viewer's colours, and with words for those who can't see them."""

from __future__ import annotations

from typing import Literal

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from velodrome.text import line
from velodrome_leaderboard.charts import Chart, dressed
from velodrome_leaderboard.viewer import palette


def draw(
    chart: Chart, words: str, width: Literal["stretch", "content"] = "stretch", at: DeltaGenerator | None = None
) -> None:
    """Shows the chart. `words` say what it shows."""
    (at or st).altair_chart(dressed(chart, palette()), width=width, alt=line(words))

"""Facts about the viewer: the time, their time zone, and the colours of their theme."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st

from velodrome_leaderboard.charts import DARK, LIGHT, Palette


def now() -> datetime:
    """The present time, for the pages."""
    return datetime.now(UTC)


def zone() -> tzinfo:
    """The browser's time zone; UTC if this machine does not know it."""
    try:
        return ZoneInfo(st.context.timezone or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        return UTC


def palette() -> Palette:
    """Colours that stand out on the page's background."""
    return DARK if st.context.theme.type == "dark" else LIGHT

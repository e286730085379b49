"""What a page shows when an error comes that nobody foresaw: plain words, a reference, and the rest of the page."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from velodrome.errors import VelodromeError
from velodrome_leaderboard import markup
from velodrome_leaderboard.access.people import SignInNeeded

_LOG = logging.getLogger("velodrome.leaderboard")


@contextmanager
def part_of_page() -> Iterator[None]:
    """Shows an unforeseen error of this part of a page in its place. What comes after it is shown as always.

    Errors of the store concern the whole page, which handles them.
    """
    try:
        yield
    except VelodromeError:
        raise
    except Exception as error:
        show(error)


def show(error: Exception) -> bool:
    """Writes the error into the log under a reference, and shows the reference. True: no more needs to be shown.

    A session that ends while a page is open is no fault: the part of the page says so.
    """
    if isinstance(error, SignInNeeded):
        st.html(markup.alert("Your session is over.", ["Load this page again to sign in."], "busy"))
        return True
    reference = secrets.token_hex(4)
    _LOG.error("a part of a page could not be shown, reference %s", reference, exc_info=error)
    st.html(
        markup.alert(
            "This part of the page could not be shown.",
            [
                "The fault is in Velodrome. Please give whoever runs this leaderboard the reference ",
                markup.Cell(reference, tone="code"),
                ": its log has the cause.",
            ],
        )
    )
    return True

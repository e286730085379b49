"""Signing in and out: what a page shows to somebody who may not look yet, and whose session it is."""

from __future__ import annotations

import streamlit as st

from velodrome_leaderboard import markup
from velodrome_leaderboard.access.people import Person


def ask() -> None:
    """Shows the way to sign in. Afterwards the person is back on this page."""
    st.html(markup.heading("Velodrome", [], ["Sign in to look at this leaderboard."]))
    if st.button("Sign in", type="primary"):
        st.login()


def refuse(why: str) -> None:
    """Says why a person who is signed in may not look, and lets them sign in as somebody else."""
    st.html(markup.heading("Velodrome", []))
    st.html(markup.alert("You may not look at this leaderboard.", [why]))
    if st.button("Sign out"):
        st.logout()


def show(person: Person) -> None:
    """Shows who is signed in, with a way out. Nothing where nobody has to sign in."""
    if person.session:
        with st.container(horizontal=True, horizontal_alignment="right", vertical_alignment="center"):
            role = " · admin" if person.admin else ""
            st.html(markup.note("Signed in as ", markup.Cell(person.name), role), width="content")
            if st.button("Sign out", type="tertiary"):
                st.logout()

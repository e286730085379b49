"""What admins do from the pages: each time it asks again who looks, and writes as Redis' user for marks."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from velodrome import keys
from velodrome.connections.clients import RedisLogin
from velodrome.errors import ActionNeeded, LocalError
from velodrome.store import Store, open_store
from velodrome.store.roles import Role
from velodrome.text import line
from velodrome_leaderboard.access.people import Person
from velodrome_leaderboard.data import source

_LOG = logging.getLogger("velodrome.leaderboard")
_USER: Role = "marks"


class NotAnAdmin(ActionNeeded):
    """The person may look, and may set no marks."""

    reason = "NotAnAdmin"


@dataclass(frozen=True, slots=True)
class Desk:
    """Where an admin writes: the store, as the user for marks, and who it is."""

    store: Store
    admin: Person

    def noted(self, what: str) -> None:
        """Writes what was done into this program's log; the board's log has it too."""
        _LOG.warning("%s", line(f"{self.admin.name} {what}"))  # the level that logs show without being asked


@contextmanager
def desk(board: str) -> Iterator[Desk]:
    """The desk of the person who looks now, for marks on this board.

    Raises:
        SignInNeeded: nobody is signed in, or the session is over.
        NotAnAdmin: the person is no admin, or this leaderboard does not show the board.
        LocalError: this leaderboard has no user for marks.
    """
    here = source()
    if not here.person.admin or board not in here.shown:
        raise NotAnAdmin("only admins of this leaderboard set marks: ask one, or whoever runs it")
    yield Desk(_store(here.url), here.person)


def marks_login(environ: Mapping[str, str]) -> RedisLogin | None:
    """Who connects to set marks. None where the URL says that, as on one machine.

    Raises:
        LocalError: the environment names a user who may only read, and none for marks.
    """
    password = environ.get(keys.ENV_MARKS_PASSWORD_FILE, "")
    if password:
        authority = environ.get(keys.ENV_REDIS_CA_FILE, "")
        return RedisLogin(
            environ.get(keys.ENV_MARKS_USERNAME) or _USER, Path(password), Path(authority) if authority else None
        )
    if environ.get(keys.ENV_REDIS_USERNAME):
        raise LocalError(
            f"this leaderboard may only read: set {keys.ENV_MARKS_PASSWORD_FILE} to the file with the password of the "
            f"user {_USER} of Redis"
        )
    return None


@st.cache_resource(show_spinner=False)
def _store(url: str) -> Store:
    return open_store(url, marks_login(os.environ))

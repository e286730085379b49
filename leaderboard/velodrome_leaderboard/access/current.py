"""Who looks now: in a page, the person of its browser; in an answer to a program, whoever the request shows."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from threading import Lock

import streamlit as st

from velodrome import keys
from velodrome.board.tenancy import ShownBoards
from velodrome_leaderboard.access.people import ANYBODY, Person, SignInNeeded, is_over, person_of
from velodrome_leaderboard.access.settings import SignIn, read_sign_in
from velodrome_leaderboard.viewer import now

_OVER = "your session is over: sign in again"


@dataclass(frozen=True, slots=True)
class EndedSessions:
    """The sessions that people ended by signing out, until their time would be over anyhow."""

    _until: dict[str, datetime] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def add(self, person: Person) -> None:
        """Ends the person's session."""
        with self._lock:
            for session in [one for one, until in self._until.items() if until <= now()]:
                del self._until[session]
            if person.session and person.until is not None:
                self._until[person.session] = person.until

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._until))

    def __contains__(self, session: object) -> bool:
        return session in self._until


ENDED = EndedSessions()
_asking: ContextVar[Person | None] = ContextVar("asking", default=None)


def sign_in() -> SignIn | None:
    """How people sign in; None if everybody may look.

    Raises:
        LocalError: the file that the environment names is wrong.
    """
    path = os.environ.get(keys.ENV_SIGN_IN, "")
    return _read(path) if path else None


@lru_cache(maxsize=4)
def _read(path: str) -> SignIn:
    return read_sign_in(Path(path))


def from_claims(claims: Mapping[str, object], how: SignIn) -> Person:
    """The person of these claims, if the session still holds. Raises as `person_of` does."""
    person = person_of(claims, how.rules)
    require(person)
    return person


def current() -> Person:
    """Who looks now.

    Raises:
        SignInNeeded: nobody is signed in, or the session is over.
        NotAViewer: the person may not look.
    """
    how = sign_in()
    if how is None:
        return ANYBODY
    asking = _asking.get()
    if asking is not None:
        return asking
    claims: dict[str, object] = dict(st.user.to_dict())
    return from_claims(claims, how)


def require(person: Person) -> None:
    """Returns if the person's session still holds.

    Raises:
        SignInNeeded: it is over.
    """
    if is_over(person, now(), ENDED):
        raise SignInNeeded(_OVER)


@contextmanager
def asked_by(person: Person) -> Iterator[None]:
    """While it lasts, what is asked in this context is asked by that person."""
    token = _asking.set(person)
    try:
        yield
    finally:
        _asking.reset(token)


@dataclass(frozen=True, slots=True)
class PersonsBoards(ShownBoards):
    """The boards that a person is shown while the session holds: each question asks again whether it does.

    So a part of a page that draws itself again, and a page that stays open, end with the session.
    """

    person: Person = ANYBODY

    def __contains__(self, board: object) -> bool:
        require(self.person)
        return ShownBoards.__contains__(self, board) and board in self.person.shown

    @property
    def everything(self) -> bool:
        """Whether all boards are shown."""
        require(self.person)
        return not self.patterns and self.person.shown.everything

"""Answers that outlast Redis: while it is away, pages show the last answers, and say how old they are."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from datetime import datetime
from functools import wraps
from threading import Lock
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import streamlit as st

from velodrome.errors import StoreUnavailable
from velodrome.store import Store
from velodrome_leaderboard.beside import open_pages
from velodrome_leaderboard.viewer import now

# Long enough that viewers share an answer, short enough that no one waits for a result.
KEPT_SECONDS = 1

_MOST_ANSWERS = 1000
# After a failure, Redis is asked again when this time is over. Until then a page waits for no timeout.
_PATIENCE_SECONDS = 2.0

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(slots=True)
class LastAnswers:
    """What one Redis answered last, for all viewers. `error` is set from a failure to the next answer."""

    answered_at: datetime | None = None
    failed_at: datetime | None = None
    error: StoreUnavailable | None = None
    _answers: OrderedDict[Hashable, object] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    def answered(self) -> None:
        """Redis answered now."""
        self.answered_at, self.error = now(), None

    def failed(self, error: StoreUnavailable) -> None:
        """Redis did not answer now."""
        self.failed_at, self.error = now(), error

    @property
    def resting(self) -> StoreUnavailable | None:
        """The failure of a moment ago, after which it is too early to ask again."""
        if self.error is None or self.failed_at is None:
            return None
        return self.error if (now() - self.failed_at).total_seconds() < _PATIENCE_SECONDS else None

    def keep(self, question: Hashable, answer: object) -> None:
        """Keeps the answer until there are too many newer ones."""
        with self._lock:
            self._answers[question] = answer
            self._answers.move_to_end(question)
            if len(self._answers) > _MOST_ANSWERS:
                self._answers.popitem(last=False)

    def last(self, question: Hashable, error: StoreUnavailable) -> object:
        """The last answer to the question. Raises `error` if there is none."""
        with self._lock:
            if question not in self._answers:
                raise error
            return self._answers[question]


@st.cache_resource(show_spinner=False)
def store_of(url: str) -> Store:
    """The store in the Redis at this URL, which all viewers share."""
    return open_pages(url)


@st.cache_resource(show_spinner=False)
def memory_of(url: str) -> LastAnswers:  # noqa: ARG001 - what the cache goes by
    """The memory of the Redis at this URL."""
    return LastAnswers()


Reading = Callable[Concatenate[str, P], R]


def kept(seconds: float, most: int = 200, *, versions: bool = False) -> Callable[[Reading[P, R]], Reading[P, R]]:
    """Viewers share the answer of the decorated function for some seconds. While Redis is away, they get the last one.

    The first argument of the function is the URL of Redis; all arguments must be hashable. With `versions`, the last
    argument is the version of a board, and only the answer for the newest one outlasts Redis.
    """

    def decorate(read: Reading[P, R]) -> Reading[P, R]:
        @st.cache_resource(ttl=seconds, max_entries=most, show_spinner=False)
        @wraps(read)
        def ask(url: str, *args: P.args, **kwargs: P.kwargs) -> R:
            return _asked(read, url, *args, **kwargs)

        return _remembering(read, cast("Reading[P, R]", ask), versions=versions)

    return decorate


def remembered(read: Reading[P, R]) -> Reading[P, R]:
    """Asks Redis each time. While it is away, viewers get the last answer. Arguments are as those of `kept`."""

    @wraps(read)
    def ask(url: str, *args: P.args, **kwargs: P.kwargs) -> R:
        return _asked(read, url, *args, **kwargs)

    return _remembering(read, cast("Reading[P, R]", ask))


def _asked(read: Reading[P, R], url: str, *args: P.args, **kwargs: P.kwargs) -> R:
    """The answer of Redis. Notes that it answered, or that it did not."""
    memory = memory_of(url)
    if memory.resting is not None:
        raise memory.resting
    try:
        found = read(url, *args, **kwargs)
    except StoreUnavailable as error:
        memory.failed(error)
        raise
    memory.answered()
    return found


def _remembering(read: Reading[P, R], ask: Reading[P, R], *, versions: bool = False) -> Reading[P, R]:
    @wraps(read)
    def answer(url: str, *args: P.args, **kwargs: P.kwargs) -> R:
        memory = memory_of(url)
        asked = args[:-1] if versions else args
        question = (read.__name__, asked, tuple(sorted(cast("dict[str, Any]", kwargs).items())))
        try:
            found = ask(url, *args, **kwargs)
        except StoreUnavailable as error:
            return cast("R", memory.last(question, error))
        memory.keep(question, found)
        return found

    return cast("Reading[P, R]", answer)

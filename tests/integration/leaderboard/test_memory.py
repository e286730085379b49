"""Answers that outlast Redis."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import streamlit as st

from velodrome.errors import StoreUnavailable
from velodrome_leaderboard.memory import kept


class Asked:
    """A question to a Redis that may be away."""

    def __init__(self) -> None:
        self.away = False

    def __call__(self, url: str, uid: str, version: str) -> str:
        if self.away:
            raise StoreUnavailable("away")
        return f"{uid} {version}"


def asking(asked: Asked, *, versions: bool) -> Callable[[str, str, str], str]:
    st.cache_resource.clear()

    @kept(60, versions=versions)
    def read(url: str, uid: str, version: str) -> str:
        return asked(url, uid, version)

    return read


def test_only_the_answer_for_the_newest_version_outlasts_redis() -> None:
    asked = Asked()
    read = asking(asked, versions=True)
    assert [read("redis://a", "job", version) for version in "12"] == ["job 1", "job 2"]

    asked.away = True
    assert read("redis://a", "job", "3") == "job 2"
    with pytest.raises(StoreUnavailable):
        read("redis://a", "other", "2")


def test_without_versions_each_question_has_its_own_answer() -> None:
    asked = Asked()
    read = asking(asked, versions=False)
    assert read("redis://a", "job", "1") == "job 1"

    asked.away = True
    with pytest.raises(StoreUnavailable):
        read("redis://a", "job", "2")

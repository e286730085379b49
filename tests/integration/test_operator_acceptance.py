"""`helm test` against a real Redis: it finds its row, waits for what is missing, and cleans up whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from velodrome.store import Store
from velodrome_operator import acceptance
from velodrome_operator.acceptance import InstallationFaulty, accept, row
from velodrome_operator.cluster import Cluster
from velodrome_operator.crd import spec_schema

if TYPE_CHECKING:
    from tests.integration.conftest import Race


class Quick(Cluster):
    """An API server with an operator that ends each race as it is told, as soon as somebody asks."""

    def __init__(self, end: Callable[[], Mapping[str, Any]]) -> None:
        super().__init__(None)  # type: ignore[arg-type]  # nothing is called
        self.end = end
        self.there: dict[str, Any] | None = None
        self.deleted: list[str] = []

    async def openapi(self) -> dict[str, Any]:
        kind = {"properties": {"spec": spec_schema()}}
        return {"components": {"schemas": {"dev.velodrome.v1alpha1.BenchmarkJob": kind}}}

    async def create(self, manifest: Mapping[str, Any]) -> dict[str, Any] | None:
        if self.there is not None:
            return None
        self.there = {**manifest, "metadata": {**manifest["metadata"], "uid": "uid-of-the-test"}}
        return self.there

    async def parent(self, namespace: str, name: str) -> dict[str, Any] | None:
        return None if self.there is None else {**self.there, "status": self.end()}

    async def delete_parent(self, namespace: str, name: str, uid: str) -> None:
        self.there = None
        self.deleted.append(uid)


def told(kind: str, message: str = "") -> dict[str, Any]:
    return {"message": "it runs", "conditions": [{"type": kind, "status": "True", "message": message}]}


def run(cluster: Quick, store: Store, seconds: float = 20.0) -> list[str]:
    said: list[str] = []
    work = accept(cluster, store, "races", "velodrome-test", seconds, said.append)
    with ThreadPoolExecutor(1) as thread:  # the tests' own may have a loop already, that of a browser
        thread.submit(asyncio.run, work).result()
    return said


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptance, "_LOOK_SECONDS", 0.01)


@pytest.fixture
def measured(make_race: type[Race]) -> Race:
    """The race of the test, with its one entry."""
    return make_race(uid="uid-of-the-test", board="velodrome-test", entries=("mlp",), repeats=1)


def test_it_ends_with_the_row_and_leaves_no_object(store: Store, measured: Race) -> None:
    def race() -> Mapping[str, Any]:
        store.register(measured.info)
        store.accept(measured.uid, 1, [measured.record(0)])
        return told("Complete")

    cluster = Quick(race)
    said = run(cluster, store)
    assert said[-1].startswith("the leaderboard shows mlp: "), said
    assert cluster.deleted == ["uid-of-the-test"]
    assert row(store, "velodrome-test", "another") == "", "a row of an earlier test is none of this one's"


def test_an_object_that_an_earlier_test_left_is_replaced(store: Store, measured: Race) -> None:
    def race() -> Mapping[str, Any]:
        store.register(measured.info)
        store.accept(measured.uid, 1, [measured.record(0)])
        return told("Complete")

    cluster = Quick(race)
    cluster.there = {"metadata": {"uid": "old"}}
    run(cluster, store)
    assert cluster.deleted == ["old", "uid-of-the-test"]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (told("Failed", "no image"), "the race failed: no image"),
        (told("Reconciling"), "did not end in time. Its status says: it runs"),
        ({}, "nothing, so no operator looks at it"),
        (told("Complete"), "shows no row of it"),
    ],
)
def test_it_says_what_is_wrong_and_leaves_no_object(store: Store, status: dict[str, Any], words: str) -> None:
    cluster = Quick(lambda: status)
    with pytest.raises(InstallationFaulty, match=words):
        run(cluster, store, 0.3)
    assert cluster.deleted == ["uid-of-the-test"]

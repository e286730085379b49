"""Which namespaces an operator looks at: all, or those that it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import kopf
import pytest

from velodrome_operator import __main__ as program
from velodrome_operator.cluster import Cluster
from velodrome_operator.inventory import take_in
from velodrome_operator.races import Races
from velodrome_operator.watches import Watches


class Listing(Cluster):
    """An API server that notes what is listed where, and refuses to list the whole cluster."""

    def __init__(self) -> None:
        super().__init__(None)  # type: ignore[arg-type]  # nothing is called
        self.asked: list[tuple[str, str | None]] = []

    async def _nothing(self, kind: str, namespace: str | None) -> AsyncIterator[dict[str, Any]]:
        self.asked.append((kind, namespace))
        for one in list[dict[str, Any]]():
            yield one

    def parents(self, namespace: str | None) -> AsyncIterator[dict[str, Any]]:
        return self._nothing("parents", namespace)

    def jobs(self, namespace: str | None, uid: str | None = None) -> AsyncIterator[dict[str, Any]]:
        return self._nothing("jobs", namespace)

    def pods(self, namespace: str | None, uid: str | None = None) -> AsyncIterator[dict[str, Any]]:
        return self._nothing("pods", namespace)


class Standing:
    """As much of a controller as a listing needs."""

    def __init__(self) -> None:
        self.races = Races()


@pytest.mark.parametrize(
    ("namespaces", "asked"), [(frozenset(), [None]), (frozenset({"b", "a"}), ["a", "b"])], ids=["all", "two"]
)
def test_a_listing_is_of_these_namespaces_alone(namespaces: frozenset[str], asked: list[str | None]) -> None:
    cluster = Listing()
    asyncio.run(take_in(cluster, Standing(), Watches(), namespaces))  # type: ignore[arg-type]
    assert cluster.asked == [(kind, name) for kind in ("parents", "jobs", "pods") for name in asked]


@pytest.mark.parametrize(
    ("arguments", "namespaces"),
    [([], []), (["--namespace=a", "--namespace", "b"], ["a", "b"])],
    ids=["all", "two"],
)
def test_kopf_watches_the_same(
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    namespaces: list[str],
) -> None:
    given: dict[str, Any] = {}

    async def operator(**how: Any) -> None:
        given.update(how)

    monkeypatch.setattr(kopf, "operator", operator)
    monkeypatch.setattr(kopf, "configure", lambda **_: None)
    monkeypatch.setattr("velodrome_operator.memory.keep_small", lambda: None)
    monkeypatch.setenv("VELODROME_REDIS_URL", "redis://unused")
    assert program.main(arguments) == 0
    assert (given["clusterwide"], list(given["namespaces"])) == (not namespaces, namespaces)

"""Whose an object is, by its controlling ownerReference. Pure.

A label is what a watch is filtered by, and anybody's to write in any namespace; the API server holds no label to
anything. An ownerReference names one object by its uid, and garbage collection goes by it too. What a user of the same
namespace can still make is in docs/decisions/0018.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, NamedTuple, TypeVar

from velodrome import keys
from velodrome_operator import shapes

Facts = TypeVar("Facts")
Raw = Mapping[str, Any]

# Of one namespace, so that whoever fills one harms nobody elsewhere. What finds no room is found by the next sweep.
MOST_ORPHANS = 2_000


def parent_uid(raw: Raw) -> str | None:
    """The uid of the BenchmarkJob that controls an object; None where none does."""
    return _controller(raw, keys.GROUP, keys.KIND)


def job_uid(raw: Raw) -> str | None:
    """The uid of the Job that controls a pod; None where none does."""
    return _controller(raw, "batch", "Job")


def _controller(raw: Raw, group: str, kind: str) -> str | None:
    for owner in shapes.items(shapes.at(raw, "metadata", "ownerReferences")):
        if shapes.at(owner, "controller") is True:
            of_group = shapes.text(shapes.at(owner, "apiVersion")).partition("/")[0] == group
            uid = shapes.text(shapes.at(owner, "uid"))
            return uid if of_group and shapes.at(owner, "kind") == kind and uid else None
    return None


class _Orphan(NamedTuple):
    owner: str
    facts: Any
    age: int


class Orphans(Generic[Facts]):
    """Children that were seen before what owns them, until that comes: at most so many of each namespace.

    The oldest make room: who fills a namespace with objects that nobody owns has the others there found later.
    """

    def __init__(self, most: int = MOST_ORPHANS) -> None:
        self._most = most
        self._of: dict[str, dict[str, _Orphan]] = {}
        self._age = 0

    def __len__(self) -> int:
        return sum(map(len, self._of.values()))

    def put(self, namespace: str, owner: str, uid: str, facts: Facts) -> None:
        """Keeps a child as it is now."""
        here = self._of.setdefault(namespace, {})
        here.pop(uid, None)
        here[uid] = _Orphan(owner, facts, self._age)
        if len(here) > self._most:
            del here[next(iter(here))]

    def take(self, namespace: str, owner: str) -> list[Facts]:
        """The children of an owner that is known now; they are kept here no more."""
        here = self._of.get(namespace, {})
        uids = [uid for uid, orphan in here.items() if orphan.owner == owner]
        return [here.pop(uid).facts for uid in uids]

    def drop(self, namespace: str, uid: str) -> None:
        """A child is gone."""
        self._of.get(namespace, {}).pop(uid, None)

    def grow_old(self) -> None:
        """To be called after each full listing: drops those that nothing has shown since the call before."""
        for namespace, here in list(self._of.items()):
            self._of[namespace] = {uid: orphan for uid, orphan in here.items() if orphan.age == self._age}
            if not self._of[namespace]:
                del self._of[namespace]
        self._age += 1

"""Who owns an object, by its controlling ownerReference. Pure.

Labels are what a watch filters by. Anybody may write any label in any namespace, and the API server checks none of
them. An ownerReference names one object by its uid, and garbage collection uses it too. docs/decisions/0018 says what a
user of the same namespace can still make.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, NamedTuple, TypeVar

from velodrome import keys
from velodrome_operator import shapes

Facts = TypeVar("Facts")
Raw = Mapping[str, Any]

# The limit for each namespace: who fills one must not harm the others. The next sweep finds what had no room.
MOST_ORPHANS = 2_000


def parent_uid(raw: Raw) -> str | None:
    """The uid of the BenchmarkJob that controls an object. None if no BenchmarkJob does."""
    return _controller(raw, keys.GROUP, keys.KIND)


def job_uid(raw: Raw) -> str | None:
    """The uid of the Job that controls a pod. None if no Job does."""
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
    """Children that were seen before their owner. They are kept until the owner comes, with a limit for each namespace.

    The oldest make room. If somebody fills a namespace with objects without owners, others there are found later.
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
        """The children of an owner that is known now. They are removed from here."""
        here = self._of.get(namespace, {})
        uids = [uid for uid, orphan in here.items() if orphan.owner == owner]
        return [here.pop(uid).facts for uid in uids]

    def drop(self, namespace: str, uid: str) -> None:
        """Drops a child that is gone."""
        self._of.get(namespace, {}).pop(uid, None)

    def grow_old(self) -> None:
        """Call this after each full listing: drops children that nothing has shown since the call before."""
        for namespace, here in list(self._of.items()):
            self._of[namespace] = {uid: orphan for uid, orphan in here.items() if orphan.age == self._age}
            if not self._of[namespace]:
                del self._of[namespace]
        self._age += 1

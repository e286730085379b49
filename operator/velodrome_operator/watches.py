"""Whether the watches still report changes: a watch can become silent while its connection stays open. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet


class Watches:
    """Compares what events have shown with what a listing shows.

    A watch that is late for a moment is not silent. What counts is how long events have lacked the oldest change that a
    listing showed. Versions are resource versions, which grow.
    """

    def __init__(self) -> None:
        self._reported: dict[str, int] = {}
        self._owed: dict[str, tuple[int, float]] = {}

    def reported(self, uid: str, version: int) -> None:
        """An event showed an object at that version."""
        self._reported[uid] = max(version, self._reported.get(uid, 0))

    def gone(self, uid: str) -> None:
        """An event showed that an object is gone."""
        self._reported.pop(uid, None)
        self._owed.pop(uid, None)

    def version(self, uid: str) -> int:
        """The newest version of an object that an event showed, or 0 if no event showed it."""
        return self._reported.get(uid, 0)

    @property
    def known(self) -> frozenset[str]:
        """The uids of the objects that events showed."""
        return frozenset(self._reported)

    def compare(self, before: AbstractSet[str], listed: Mapping[str, int], now: float) -> None:
        """Notes what a full listing (uid -> version) shows and no event has shown yet.

        `before` is what was `known` when the listing began. A newer object may be in no list, and is not gone.
        """
        owed = {uid: change for uid, change in self._owed.items() if uid in listed}
        owed = {uid: change for uid, change in owed.items() if self._reported.get(uid, 0) < change[0]}
        for uid, version in listed.items():
            if self._reported.get(uid, 0) < version:
                owed.setdefault(uid, (version, now))
        self._owed = owed
        for uid in before - listed.keys():
            self._reported.pop(uid, None)

    def silent_for(self, now: float) -> float:
        """Seconds since a listing first showed a change that no event has shown until now. 0 if there is none."""
        return now - min((since for _, since in self._owed.values()), default=now)

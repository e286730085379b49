"""Finds places for the jobs of an export among the jobs of a store: in the export's order, merged by time. Pure.

A place is a number that orders the jobs of one store. It is the time of registration, in microseconds since 1970, as
long as clocks go forward. If an earlier job's clock was ahead, it is the number after that job's place. Places of two
stores can be compared only if they are times. Reasons: docs/decisions/0025-order-by-place.md.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass, field

# A place that is later than its job's time by more than this is no time.
MARGIN = 300_000_000  # microseconds
ROOM = 1_000_000


@dataclass(frozen=True, slots=True)
class Ahead:
    """A job of the store whose place lies in the future. Its time does not say which jobs it comes after."""

    place: int
    created: int


@dataclass(slots=True)
class SourceOrder:
    """The order of the export's jobs that were seen so far: each with its place there, and its place here."""

    _seen: list[tuple[int, int]] = field(default_factory=list)

    def note(self, there: int, here: int) -> None:
        """Remembers the two places of a job."""
        insort(self._seen, (there, here))

    def place(self, there: int, created: int, ahead: Sequence[Ahead]) -> int:
        """The place here of a job with the place `there`, which was registered at the time `created`.

        `ahead` has the store's jobs whose places lie in the future, oldest first.
        """
        own = there if created <= there <= created + MARGIN else created
        found = among(own, ahead)
        at = bisect_left(self._seen, (there,))
        if at > 0:
            found = max(found, self._seen[at - 1][1] + 1)
        if at < len(self._seen):
            found = min(found, self._seen[at][1] - 1)
        return max(0, found)


def among(own: int, ahead: Sequence[Ahead]) -> int:
    """The place itself, or a place after the last job in the future that is older. A job there counts as old as the
    oldest job after it.
    """
    times: list[int] = []
    for job in reversed(ahead):
        times.append(min(job.created, times[-1]) if times else job.created)
    older = sum(time <= own for time in times)
    if older == 0:
        return own
    below = ahead[older - 1].place
    return below + ROOM if older == len(ahead) else max(below, ahead[older].place - 1)

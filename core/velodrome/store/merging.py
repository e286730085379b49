"""Where jobs of an export take their place among those of a store: in their source's order, merged by time. Pure.

A place is a number that orders the jobs of one store. It is the time of registering, in microseconds since 1970, as
long as clocks go forward; behind a job whose clock was ahead it is the next number. Places of two stores compare only
as far as they are times. Why so: docs/decisions/0025-order-by-place.md.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass, field

# A place that lies further behind its job's time says nothing about when that was.
MARGIN = 300_000_000  # microseconds
ROOM = 1_000_000


@dataclass(frozen=True, slots=True)
class Ahead:
    """A job of the store whose place lies in the future: its own time does not say what it stands behind."""

    place: int
    created: int


@dataclass(slots=True)
class SourceOrder:
    """The order of an export's jobs, as far as they were seen: each with its place there, and its place here."""

    _seen: list[tuple[int, int]] = field(default_factory=list)

    def note(self, there: int, here: int) -> None:
        """Remembers where a job stands."""
        insort(self._seen, (there, here))

    def place(self, there: int, created: int, ahead: Sequence[Ahead]) -> int:
        """The place of a job that was at the place `there`, and was registered at the time `created`.

        `ahead` has the store's jobs that stand in the future, oldest first.
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
    """The place itself, or one among jobs that stand in the future, as old as what was registered after them."""
    times: list[int] = []
    for job in reversed(ahead):
        times.append(min(job.created, times[-1]) if times else job.created)
    older = sum(time <= own for time in times)
    if older == 0:
        return own
    below = ahead[older - 1].place
    return below + ROOM if older == len(ahead) else max(below, ahead[older].place - 1)

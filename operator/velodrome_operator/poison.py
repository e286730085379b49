"""When the content of an inbox ends its race, so that it harms no other race. Pure.

The content of an inbox concerns its race alone, but its memory concerns all races. A Redis without a memory limit gives
an inbox `UNLIMITED_BYTES`. A Redis with a limit gives it a share of the limit, and a smaller share when Redis is nearly
full. Then the inboxes that take most of the memory end their races, before Redis refuses the reports of all others.
"""

from __future__ import annotations

from dataclasses import dataclass

from velodrome.store import InboxSize, Room
from velodrome.store.store import INBOX_REPORTS

UNLIMITED_BYTES = 256 * 1024 * 1024
SHARE, CROWDED_SHARE = 1 / 4, 1 / 32
CROWDED = 3 / 4


@dataclass(frozen=True, slots=True)
class Poison:
    """Why a race's inbox ends the race: the status condition's reason and message."""

    reason: str
    message: str


def poison(found: InboxSize, room: Room) -> Poison | None:
    """Why the content of an inbox ends its race. None if it does not."""
    if found.reports is None:
        return Poison("InboxUnreadable", "what lies in Redis in the place of the inbox is none that runners filled")
    if found.reports >= INBOX_REPORTS:
        return Poison(
            "InboxOverflow",
            f"{found.reports:,} reports waited in the inbox, and {INBOX_REPORTS:,} are more than honest runners send: "
            "look at what the entries report",
        )
    quota = inbox_bytes(room)
    if found.size is not None and found.size > quota:
        return Poison(
            "InboxOverflow",
            f"the {found.reports:,} reports that waited in the inbox took {_mebibytes(found.size)} of Redis' memory, "
            f"more than the {_mebibytes(quota)} that it may take: look at what the entries report",
        )
    return None


def inbox_bytes(room: Room) -> int:
    """How much memory one inbox may take."""
    if room.most is None:
        return UNLIMITED_BYTES
    return int(room.most * (CROWDED_SHARE if room.used > CROWDED * room.most else SHARE))


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"

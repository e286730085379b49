"""The names of backups, and which of them may go. Pure: no I/O here.

A name has the time of the backup, so names sort from old to new. A new backup gets a name after all that are there,
even if the clock was set back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

_FORM = "velodrome-%Y%m%dT%H%M%SZ.jsonl.gz"
_NAME = re.compile(r"velodrome-\d{8}T\d{6}Z\.jsonl\.gz")
# A backup that is being written. No name of a backup looks like it, so a half file is never taken for one.
PART_PREFIX, PART_SUFFIX = ".velodrome-", ".part"


def moment_of(name: str) -> datetime | None:
    """When the backup of that name was made. None if this is no backup's name."""
    if not _NAME.fullmatch(name):
        return None
    try:
        return datetime.strptime(name, _FORM).replace(tzinfo=UTC)
    except ValueError:
        return None


def backups_in(names: Iterable[str]) -> list[str]:
    """The names of backups among these names, oldest first."""
    return sorted(name for name in names if moment_of(name) is not None)


def next_name(now: datetime, names: Iterable[str]) -> str:
    """The name of a backup that is made now: later than all that are there."""
    newest = max((moment for moment in map(moment_of, names) if moment is not None), default=None)
    moment = now.astimezone(UTC).replace(microsecond=0)
    if newest is not None and moment <= newest:
        moment = newest + timedelta(seconds=1)
    return moment.strftime(_FORM)


def surplus(names: Iterable[str], keep: int) -> list[str]:
    """The backups beyond the newest `keep`, oldest first. With 0, none is surplus."""
    found = backups_in(names)
    return found[:-keep] if 0 < keep < len(found) else []

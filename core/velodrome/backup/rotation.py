"""Making and restoring backups: what `velodrome backup` and `velodrome restore` do, besides talking to people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from velodrome.backup.document import BackupContents, BackupDamaged, check_backup, read_backup, write_backup
from velodrome.backup.names import next_name, surplus
from velodrome.backup.places import BackupPlace, PlaceRefused
from velodrome.store import import_lines

if TYPE_CHECKING:
    from velodrome.store import ImportReport, Reader, Store


@dataclass(frozen=True, slots=True)
class MadeBackup:
    """A backup that was made and read again, and the older ones that were removed."""

    name: str
    contents: BackupContents
    bytes: int
    removed: tuple[str, ...]


def make_backup(reader: Reader, place: BackupPlace, now: datetime, keep: int) -> MadeBackup:
    """Makes a backup, reads it again from its place, and only then removes those beyond the newest `keep`.

    Raises:
        BackupDamaged: what was read again is not what was written. Nothing was removed.
        TryAgain, ActionNeeded: as the store and the place.
    """
    name = next_name(now, place.names())
    contents = place.put(name, lambda stream: write_backup(reader, stream))
    with place.opened(name) as stream:
        found = check_backup(stream, name)
    if found != contents:
        raise BackupDamaged(f"backup {name} holds {found} where {contents} was written: check the disk or the bucket")
    removed = surplus(place.names(), keep)
    for old in removed:
        place.remove(old)
    return MadeBackup(name, contents, place.size(name), tuple(removed))


def newest_backup(place: BackupPlace, name: str | None = None) -> str:
    """The name of the newest backup, or this name if there is such a backup.

    Raises:
        PlaceRefused: there is none.
    """
    names = place.names()
    if name is not None and name not in names:
        raise PlaceRefused(f"there is no backup {name}: velodrome restore --list shows those that there are")
    if not names:
        raise PlaceRefused("there is no backup: velodrome backup makes one")
    return name or names[-1]


def restore_backup(store: Store, place: BackupPlace, name: str) -> ImportReport:
    """Imports a backup, after it was read to its end and found whole. To do it again changes nothing.

    Raises:
        BackupDamaged: it is not whole; nothing was imported.
        TryAgain, ActionNeeded: as the store and the place.
    """
    with place.opened(name) as stream:
        check_backup(stream, name)
        stream.seek(0)
        return import_lines(store, read_backup(stream, name))


@dataclass(frozen=True, slots=True)
class ListedBackup:
    """A backup in a list: what it holds, or why it is damaged."""

    name: str
    bytes: int
    contents: BackupContents | None
    damage: str = ""


def listed_backups(place: BackupPlace) -> Iterator[ListedBackup]:
    """All backups, newest first, each read to its end."""
    for name in reversed(place.names()):
        size = place.size(name)
        try:
            with place.opened(name) as stream:
                yield ListedBackup(name, size, check_backup(stream, name))
        except BackupDamaged as error:
            yield ListedBackup(name, size, None, str(error))

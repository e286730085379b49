"""What a reader should know of ranked entries, each note once with the entries that it is about. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from velodrome.ranking.places import RankedRow


def grouped_notes(rows: Iterable[RankedRow]) -> dict[str, tuple[str, ...]]:
    """By note, the entries of the rows that have it, in the order of the rows. Rows without a note are left out."""
    found: dict[str, list[str]] = {}
    for row in rows:
        if row.note:
            found.setdefault(row.note, []).append(row.entry)
    return {note: tuple(entries) for note, entries in found.items()}

"""Keeps a reading beside the results, which saves the next reader the computation.

The process that collects keeps the reading, once for each change. If a reader finds no reading, or one of another
version of the board or of Velodrome, it computes the reading in its own memory and keeps nothing.

An objective is kept in parts: the head above its table, and pages of its rows, best first. The entries that are
indistinguishable from an entry are kept as spans of places, because a thousand entries have half a million pairs.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json, to_json

from velodrome import __version__
from velodrome.board.document import ObjectiveDocument, objective_document, reading_of
from velodrome.board.latest import Latest, latest_of
from velodrome.board.reading import BoardReader, ObjectiveReading
from velodrome.errors import ActionNeeded
from velodrome.metrics import MetricKey
from velodrome.results.objectives import BoardObjective
from velodrome.store.readings import KeptReading

if TYPE_CHECKING:
    from velodrome.store import Reader, Store

# The number of rows in one page, which is one part.
PAGE = 25
# The number rises when the meaning of the parts changes. The version is there because a release may change ranks or
# words.
_FORM = f"1 {__version__}"
_OBJECTIVES = "objectives"

# Errors of parts that Velodrome did not write. Such parts are ignored, because the results are still there.
_UNREADABLE = (AttributeError, LookupError, TypeError, ValueError)

log = logging.getLogger("velodrome")


def keep(store: Store, board: str) -> tuple[Latest, ...]:
    """Reads a board, and keeps the reading unless the board changed meanwhile. Returns the latest of each entry.

    If a ranking can't be read, or the store is full, nothing is kept. Readers compute the reading then.

    Raises:
        As the store does.
    """
    version = store.board_version(board)
    reader = BoardReader(store, board)
    found = latest_of(store, reader)
    try:
        readings = (reader.judged(reader.objective(objective)) for objective in reader.objectives)
        store.keep_reading(board, version, parts(readings))
    except ActionNeeded as error:
        log.info("board %s is not kept as it was read: %s", board, error)
    return found


def parts(readings: Iterable[ObjectiveReading]) -> dict[str, bytes]:
    """The parts of a board's objectives, by field. It holds one reading at a time."""
    names: list[tuple[str, str]] = []
    found: dict[str, bytes] = {}
    for reading in readings:
        names.append((reading.objective.name, str(reading.objective.key)))
        found |= _objective_parts(objective_document(reading))
    return {_OBJECTIVES: to_json({"form": _FORM, "objectives": names}), **found}


def _objective_parts(document: ObjectiveDocument) -> dict[str, bytes]:
    key, names = document.metric, [row.entry for row in document.ranked]
    content = document.model_dump(mode="json")
    ranked, unranked = content.pop("ranked"), content.pop("unranked")
    places = {name: place for place, name in enumerate(names)}
    for row in ranked:
        row["indistinguishable_from"] = _spans([places[name] for name in row["indistinguishable_from"]])
    head = {"form": _FORM, "head": content, "names": names, "unranked": len(unranked)}
    found = {_field("head", key): to_json(head)}
    for kind, rows in (("ranked", ranked), ("unranked", unranked)):
        for page in range(_pages(len(rows))):
            found[_field(kind, key, page)] = to_json(rows[page * PAGE : (page + 1) * PAGE])
    return found


@dataclass(frozen=True, slots=True)
class Page:
    """One page of an objective's rows. `document` has only these rows; `ranked` and `unranked` count all rows."""

    document: ObjectiveDocument
    ranked: int
    unranked: int


def kept_page(reader: Reader, board: str, key: str, page: int = 1) -> Page | None:
    """A page of the objective with this metric key, in one round trip. Pages count from 1.

    None if no part can be read, or if the parts are of another version.

    Raises:
        As the store does.
    """
    names = [_field("head", key), _field("ranked", key, page - 1), _field("unranked", key, page - 1)]
    return _page(reader.kept_reading(board, names))


def kept_objective(reader: Reader, board: str, key: str) -> ObjectiveReading | None:
    """The whole objective with this metric key, in two round trips. None as for a page.

    Raises:
        As the store does.
    """
    first = reader.kept_reading(board, [_field("head", key)])
    found = _page(KeptReading(first.of, first.now, (*first.parts, None, None)))
    if found is None:
        return None
    ranked = [_field("ranked", key, page) for page in range(_pages(found.ranked))]
    unranked = [_field("unranked", key, page) for page in range(_pages(found.unranked))]
    rest = reader.kept_reading(board, [*ranked, *unranked])
    if rest.of != first.of or None in rest.parts:
        return None
    rows = [b"[" + b",".join(part[1:-1] for part in some if part) + b"]" for some in
            (rest.parts[: len(ranked)], rest.parts[len(ranked) :])]  # fmt: skip
    whole = _page(KeptReading(first.of, first.now, (*first.parts, *rows)))
    return None if whole is None else reading_of(whole.document)


def kept_objectives(reader: Reader, board: str) -> tuple[BoardObjective, ...] | None:
    """The board's objectives, in one round trip. None as for a page.

    Raises:
        As the store does.
    """
    found = reader.kept_reading(board, [_OBJECTIVES])
    try:
        content = _content(found)
        if content is None:
            return None
        return tuple(BoardObjective(name, MetricKey.parse(key)) for name, key in content["objectives"])
    except _UNREADABLE:
        return None


def _page(found: KeptReading) -> Page | None:
    try:
        return _parsed(found)
    except _UNREADABLE:
        return None


def _parsed(found: KeptReading) -> Page | None:
    content = _content(found)
    if content is None:
        return None
    _, ranked, unranked = (from_json(part) if part else [] for part in found.parts)
    names = content["names"]
    for row in ranked:
        spans = row["indistinguishable_from"]
        row["indistinguishable_from"] = [name for first, behind in spans for name in names[first:behind]]
    document = ObjectiveDocument.model_validate({**content["head"], "ranked": ranked, "unranked": unranked})
    return Page(document, len(names), content["unranked"])


def _content(found: KeptReading) -> Any:
    """The first part if it is of this version of the board and of Velodrome, else None."""
    first = found.parts[0] if found.current else None
    content = None if first is None else from_json(first)
    return content if content is not None and content.get("form") == _FORM else None


def _field(kind: str, key: str, page: int | None = None) -> str:
    return f"{kind}:{key}" if page is None else f"{kind}:{page}:{key}"


def _pages(rows: int) -> int:
    return -(-rows // PAGE)


def _spans(places: Iterable[int]) -> list[tuple[int, int]]:
    """Sorted places as spans: each has its first place, and the place after its last one."""
    found: list[tuple[int, int]] = []
    for place in places:
        if found and found[-1][1] == place:
            found[-1] = found[-1][0], place + 1
        else:
            found.append((place, place + 1))
    return found

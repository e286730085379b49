"""A reading kept beside the results, so that the next reader need not work it out again.

Whoever collects keeps it, once for each change; a reader that finds none, or one of another version of the board or of
Velodrome, works it out in its own memory and keeps nothing. An objective is kept in parts: what stands above its table,
and its rows by the page, best first. Who can't be told apart from whom is kept as spans of places: a thousand entries
have half a million pairs.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
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

# Rows of one page, and of one part.
PAGE = 25
# Raised where the parts get another meaning; another release may also rank or word something else.
_FORM = f"1 {__version__}"
_OBJECTIVES = "objectives"

# What others wrote there raises one of these; it is as good as nothing, since the results are still there.
_UNREADABLE = (AttributeError, LookupError, TypeError, ValueError)

log = logging.getLogger("velodrome")


def keep(store: Store, board: str) -> tuple[Latest, ...]:
    """Reads a board, and keeps it where it did not change meanwhile; what each of its entries has now.

    Where the store holds a ranking that can't be read, or has no room, nothing is kept: viewers then compute it.

    Raises:
        As the store does.
    """
    version = store.board_version(board)
    reader = BoardReader(store, board)
    found = latest_of(store, reader)
    try:
        readings = [reader.judged(reader.objective(objective)) for objective in reader.objectives]
        store.keep_reading(board, version, parts(readings))
    except ActionNeeded as error:
        log.info("board %s is not kept as it was read: %s", board, error)
    return found


def parts(readings: Sequence[ObjectiveReading]) -> dict[str, bytes]:
    """What is kept of a board's objectives, by field."""
    names = [(one.objective.name, str(one.objective.key)) for one in readings]
    found = {_OBJECTIVES: to_json({"form": _FORM, "objectives": names})}
    for reading in readings:
        found |= _objective_parts(objective_document(reading))
    return found


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
    """One page of an objective's rows: `document` has these alone; of all there are `ranked` and `unranked`."""

    document: ObjectiveDocument
    ranked: int
    unranked: int


def kept_page(reader: Reader, board: str, key: str, page: int = 1) -> Page | None:
    """A page of an objective by its metric key, in one round trip; pages count from 1.

    None where nothing is kept of it that can be read, or what is kept is of another version.

    Raises:
        As the store does.
    """
    names = [_field("head", key), _field("ranked", key, page - 1), _field("unranked", key, page - 1)]
    return _page(reader.kept_reading(board, names))


def kept_objective(reader: Reader, board: str, key: str) -> ObjectiveReading | None:
    """All of an objective by its metric key, in two round trips; None as for a page.

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
    """The board's objectives, in one round trip; None as for a page.

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
    """The first part, where it is of this version of the board and of Velodrome; else None."""
    first = found.parts[0] if found.current else None
    content = None if first is None else from_json(first)
    return content if content is not None and content.get("form") == _FORM else None


def _field(kind: str, key: str, page: int | None = None) -> str:
    return f"{kind}:{key}" if page is None else f"{kind}:{page}:{key}"


def _pages(rows: int) -> int:
    return -(-rows // PAGE)


def _spans(places: Iterable[int]) -> list[tuple[int, int]]:
    """Places in their order as spans, each from its first to the one behind its last."""
    found: list[tuple[int, int]] = []
    for place in places:
        if found and found[-1][1] == place:
            found[-1] = found[-1][0], place + 1
        else:
            found.append((place, place + 1))
    return found

"""Keeps a reading beside the results, which saves the next reader the computation.

The process that collects keeps the reading, once for each change. If a reader finds no reading, or one of another
version of the board or of Velodrome, it computes the reading in its own memory and keeps nothing.

An objective is kept in parts: the head above its table, and pages of its rows, best first. The entries that are
indistinguishable from an entry are kept as spans of places, because a thousand entries have half a million pairs.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import TypeAdapter
from pydantic_core import from_json, to_json

from velodrome import __version__
from velodrome.board.latest import Latest, latest_of
from velodrome.board.page import PAGE, ObjectiveHead, ObjectivePage, head_of
from velodrome.board.reading import BoardReader, ObjectiveReading
from velodrome.errors import ActionNeeded
from velodrome.metrics.catalogue import MetricKey
from velodrome.ranking.places import ObjectiveRanking, RankedRow, UnrankedRow
from velodrome.results.objectives import BoardObjective
from velodrome.store.readings import KeptReading
from velodrome.trends.regressions import Comparison

if TYPE_CHECKING:
    from velodrome.store import Reader, Store

# The number rises when the meaning of the parts changes. The version is there because a release may change ranks or
# words.
_FORM = f"3 {__version__}"
OBJECTIVES = "objectives"

_HEAD: TypeAdapter[ObjectiveHead] = TypeAdapter(ObjectiveHead)
_RANKED: TypeAdapter[list[tuple[RankedRow, Comparison | None]]] = TypeAdapter(list[tuple[RankedRow, Comparison | None]])
_UNRANKED: TypeAdapter[list[UnrankedRow]] = TypeAdapter(list[UnrankedRow])

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
        store.keep_reading(board, version, parts(_whole(reader)))
    except ActionNeeded as error:
        log.info("board %s is not kept as it was read: %s", board, error)
    return found


def read_parts(reader: Reader, board: str) -> tuple[str, dict[str, bytes]]:
    """The version of a board, and the parts of its reading, which are not kept. Raises as the store does."""
    return reader.board_version(board), parts(_whole(BoardReader(reader, board)))


def _whole(reader: BoardReader) -> Iterator[ObjectiveReading]:
    return (reader.judged(reader.objective(objective)) for objective in reader.objectives)


def parts(readings: Iterable[ObjectiveReading]) -> dict[str, bytes]:
    """The parts of a board's objectives, by field. It holds one reading at a time."""
    names: list[tuple[str, str]] = []
    found: dict[str, bytes] = {}
    for reading in readings:
        names.append((reading.objective.name, str(reading.objective.key)))
        found |= _objective_parts(reading)
    return {OBJECTIVES: to_json({"form": _FORM, "objectives": names}), **found}


def _objective_parts(reading: ObjectiveReading) -> dict[str, bytes]:
    head, verdicts = head_of(reading), reading.verdicts or {}
    key, places = str(head.objective.key), {name: place for place, name in enumerate(head.names)}
    rows = reading.ranking.ranked
    # The names, half a million of a thousand entries, are not written and then read again.
    judged = [(replace(row, indistinguishable_from=()), verdicts.get(row.entry)) for row in rows]
    ranked = _RANKED.dump_python(judged, mode="json")
    for row, (told, _) in zip(rows, ranked, strict=True):
        told["indistinguishable_from"] = _spans(map(places.__getitem__, row.indistinguishable_from))
    unranked = _UNRANKED.dump_python(list(reading.ranking.unranked), mode="json")
    found = {_field("head", key): to_json({"form": _FORM, "head": _HEAD.dump_python(head, mode="json")})}
    for kind, written in (("ranked", ranked), ("unranked", unranked)):
        for start in range(0, len(written), PAGE):
            found[_field(kind, key, start // PAGE + 1)] = to_json(written[start : start + PAGE])
    return found


def kept_page(reader: Reader, board: str, key: str, ranked: int = 1, unranked: int = 1) -> ObjectivePage | None:
    """These pages of the objective with this metric key, in one round trip. Pages count from 1.

    Behind the last page is the last one again, which takes a second round trip. None if a part can't be read, or if the
    parts are of another version.

    Raises:
        As the store does.
    """
    names = [_field("head", key), _field("ranked", key, ranked), _field("unranked", key, unranked)]
    found = reader.kept_reading(board, names)
    try:
        head = _head(found)
        if head is None:
            return None
        if ranked <= head.pages and unranked <= head.unranked_pages:
            return _page(head, found.parts[1:2], found.parts[2:])
    except _UNREADABLE:
        return None
    return kept_page(reader, board, key, min(ranked, head.pages), min(unranked, head.unranked_pages))


def kept_objective(reader: Reader, board: str, key: str) -> ObjectiveReading | None:
    """The whole objective with this metric key, in two round trips. None as for a page.

    Raises:
        As the store does.
    """
    first = reader.kept_reading(board, [_field("head", key)])
    try:
        head = _head(first)
        if head is None:
            return None
        ranked = [_field("ranked", key, page) for page in range(1, head.pages + 1)]
        unranked = [_field("unranked", key, page) for page in range(1, head.unranked_pages + 1)]
        rest = reader.kept_reading(board, [*ranked, *unranked])
        if rest.of != first.of:
            return None
        page = _page(head, rest.parts[: len(ranked)], rest.parts[len(ranked) :])
    except _UNREADABLE:
        return None
    if (len(page.ranked), len(page.unranked)) != (len(head.names), head.unranked):
        return None
    ranking = ObjectiveRanking(head.objective.key, head.alpha, head.logs, page.ranked, page.unranked)
    return ObjectiveReading(head.objective, head.cohorts, head.cohort, ranking, page.verdicts)


def kept_objectives(reader: Reader, board: str) -> tuple[BoardObjective, ...] | None:
    """The board's objectives, in one round trip. None as for a page.

    Raises:
        As the store does.
    """
    found = reader.kept_reading(board, [OBJECTIVES])
    try:
        content = _content(found)
        if content is None:
            return None
        return tuple(BoardObjective(name, MetricKey.parse(key)) for name, key in content["objectives"])
    except _UNREADABLE:
        return None


def usable(found: KeptReading) -> bool:
    """Whether a reading, whose first part is the one called `OBJECTIVES`, is one of this board and of this Velodrome
    now.
    """
    try:
        return _content(found) is not None
    except _UNREADABLE:
        return False


def _head(found: KeptReading) -> ObjectiveHead | None:
    content = _content(found)
    if content is None:
        return None
    head = _HEAD.validate_python(content["head"])
    MetricKey.parse(str(head.objective.key))  # the catalogue has it
    return head


def _page(head: ObjectiveHead, ranked: Iterable[bytes | None], unranked: Iterable[bytes | None]) -> ObjectivePage:
    rows = [row for part in ranked if part for row in from_json(part)]
    for row, _ in rows:
        spans = row["indistinguishable_from"]
        row["indistinguishable_from"] = [name for first, behind in spans for name in head.names[first:behind]]
    judged = _RANKED.validate_python(rows)
    others = _UNRANKED.validate_python([row for part in unranked if part for row in from_json(part)])
    verdicts = {row.entry: verdict for row, verdict in judged if verdict is not None}
    return ObjectivePage(head, tuple(row for row, _ in judged), tuple(others), verdicts)


def _content(found: KeptReading) -> Any:
    """The first part if it is of this version of the board and of Velodrome, else None."""
    first = found.parts[0] if found.current else None
    content = None if first is None else from_json(first)
    return content if content is not None and content.get("form") == _FORM else None


def _field(kind: str, key: str, page: int | None = None) -> str:
    return f"{kind}:{key}" if page is None else f"{kind}:{page}:{key}"


def _spans(places: Iterable[int]) -> list[tuple[int, int]]:
    """Sorted places as spans: each has its first place, and the place after its last one."""
    found = np.fromiter(places, np.int64)
    if not found.size:
        return []
    last = np.append(np.flatnonzero(np.diff(found) != 1), found.size - 1)
    first = np.append(0, last[:-1] + 1)
    return list(zip(found[first].tolist(), (found[last] + 1).tolist(), strict=True))

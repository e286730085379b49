"""Reads the API server's answers as a stranger's: takes any JSON, and returns the wanted type. Pure; never raises.

The API server checks some fields against a schema and others not at all. The operator can't choose who may write an
object. So nothing here trusts a type, a length or a range: a value that is not as it should be reads as absent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

_NOTHING: Mapping[str, Any] = {}
# The API's own counts have 32 bits.
MOST_COUNT = 2**31 - 1
# No clock of a cluster is outside of these years. Further away, sums with durations could overflow.
_FIRST_YEAR, _LAST_YEAR = 1970, 2199
# The longest text of an object that is kept in memory or shown to people.
_LONGEST = 32_768


def mapping(value: object) -> Mapping[str, Any]:
    """The value if it is an object, else an empty object."""
    return value if isinstance(value, Mapping) else _NOTHING


def at(value: object, *path: str) -> Any:
    """The value at the end of the path of fields. None if any of them is missing or is no object."""
    for name in path:
        value = mapping(value).get(name)
    return value


def items(value: object) -> Sequence[Any]:
    """The value if it is a list, else an empty list."""
    return value if isinstance(value, list | tuple) else ()


def text(value: object, default: str = "") -> str:
    """The value if it is a text, cut to the length that the API allows for a message. Else the default."""
    return value[:_LONGEST] if isinstance(value, str) else default


def text_or_none(value: object) -> str | None:
    """The value if it is a text that is not empty, else None."""
    return text(value) or None


def flag(value: object, *, default: bool = False) -> bool:
    """The value if it is true or false, else the default."""
    return value if isinstance(value, bool) else default


def count(value: object, default: int = 0, most: int = MOST_COUNT) -> int:
    """The value if it is a whole number from 0 to `most`, else the default."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most else default


def decimal(value: object, most: int = MOST_COUNT) -> int | None:
    """The number from 0 to `most` that a text of ASCII digits writes, else None."""
    digits = value if isinstance(value, str) else ""
    if not digits.isascii() or not digits.isdecimal() or len(digits) > len(str(most)):
        return None
    number = int(digits)
    return number if number <= most else None


def moment(value: object) -> datetime | None:
    """A time as Kubernetes writes it, in UTC. None for anything else, and for years in which no cluster runs."""
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
        found = found.astimezone(UTC) if found is not None and found.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None
    return found if found is not None and _FIRST_YEAR <= found.year <= _LAST_YEAR else None


def indexes(value: object, limit: int) -> frozenset[int]:
    """Completion indexes below `limit` as Kubernetes writes them: `0,3-5` is {0, 3, 4, 5}."""
    found: set[int] = set()
    for part in text(value).split(",") if limit > 0 else ():
        first, dash, last = part.partition("-")
        begin, end = decimal(first, 2**63), decimal(last if dash else first, 2**63)
        if begin is not None and end is not None:
            found.update(range(begin, min(end, limit - 1) + 1))
    return frozenset(found)


def conditions(value: object) -> list[dict[str, Any]]:
    """The complete conditions: those with texts for type, status, reason and message, and with a time."""
    return [dict(one) for one in items(value) if _is_condition(one)]


def _is_condition(value: object) -> bool:
    one = mapping(value)
    whole = all(isinstance(one.get(name), str) for name in ("type", "status", "reason", "message"))
    return whole and moment(one.get("lastTransitionTime")) is not None


def by_type(value: object) -> dict[str, Mapping[str, Any]]:
    """Conditions of a Job or a pod by their type. The last one of a type counts."""
    return {one["type"]: one for one in map(mapping, items(value)) if isinstance(one.get("type"), str)}


def held(found: Mapping[str, Mapping[str, Any]]) -> frozenset[str]:
    """The types of the conditions that are True."""
    return frozenset(kind for kind, one in found.items() if one.get("status") == "True")


def status(value: object) -> dict[str, Any]:
    """A BenchmarkJob's status as passes use it, without unreadable parts. The next status replaces those."""
    found = dict(mapping(value))
    readable: dict[str, Any] = {
        "conditions": conditions(found.get("conditions")),
        "trials": {
            name: one
            for name, one in mapping(found.get("trials")).items()
            if name == "done" or (count(one, -1) >= 0 and not isinstance(one, bool))
        },
    }
    for name in ("message", "startTime", "completionTime"):
        one = found.get(name)
        fits = isinstance(one, str) and (name == "message" or moment(one) is not None)
        readable[name] = one if fits else None
    kept = {name: one for name, one in readable.items() if one not in (None, [], {})}
    return {name: one for name, one in found.items() if name not in readable} | kept

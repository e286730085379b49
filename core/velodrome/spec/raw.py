"""Reading raw documents, in which anything may be missing or have the wrong type, and what a broken rule is. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from velodrome.spec.wording import Location, dotted, shown


class Broken(NamedTuple):
    """One broken rule: where, what is wrong, and what to write instead."""

    location: Location
    message: str
    hint: str = ""

    @property
    def path(self) -> str:
        """The location, as people write it."""
        return dotted(self.location)


def as_mapping(value: Any) -> Mapping[str, Any]:
    """The value if it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def as_list(value: Any) -> list[Any]:
    """The value if it is a list, else an empty one."""
    return list(value) if isinstance(value, list | tuple) else []


def as_text(value: Any) -> str:
    """The value if it is a string, else an empty string, which no table contains."""
    return value if isinstance(value, str) else ""


def numbered(value: Any) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The mappings of a list, with their positions."""
    return ((index, item) for index, item in enumerate(as_list(value)) if isinstance(item, Mapping))


def trainings(spec: Mapping[str, Any]) -> Iterator[tuple[Location, Mapping[str, Any]]]:
    """Every `training`: that of the job, and those of its entries, with their places."""
    yield ("spec", "training"), as_mapping(spec.get("training"))
    for index, entry in numbered(spec.get("entries")):
        yield ("spec", "entries", index, "training"), as_mapping(entry.get("training"))


def repeated(values: list[tuple[int, Any]]) -> Iterator[tuple[int, Any]]:
    """The texts and numbers that occur earlier in the list, with their positions."""
    seen: set[Any] = set()
    for index, value in values:
        if isinstance(value, str | int):
            if value in seen:
                yield index, value
            seen.add(value)


def taken_names(here: Location, items: Any) -> Iterator[Broken]:
    """Names of a list's items that occur twice."""
    for index, name in repeated([(index, item.get("name")) for index, item in numbered(items)]):
        yield Broken((*here, index, "name"), f"{shown(name)} is taken by another of {dotted(here)}", "names are unique")


def chosen(part: Mapping[str, Any], names: tuple[str, ...]) -> list[str]:
    """Which of the fields are written. A null counts as absent."""
    return [name for name in names if part.get(name) is not None]


def one_of(here: Location, part: Mapping[str, Any], names: tuple[str, ...]) -> Iterator[Broken]:
    """Reports a part that has none of these fields, or several."""
    found, all_names = chosen(part, names), " or ".join((", ".join(names[:-1]), names[-1]))
    if not found:
        yield Broken(here, f"needs {all_names}", "write one of them")
    elif len(found) > 1:
        yield Broken((*here, found[1]), f"is written beside {found[0]}", f"write one of {', '.join(names)}")


def foreign_fields(
    here: Location, part: Mapping[str, Any], name: str, table: Mapping[str, frozenset[str]]
) -> Iterator[Broken]:
    """Fields that belong to other names of the table: Adam has no momentum, for example."""
    for field, value in part.items():
        users = sorted(user for user, fields in table.items() if field in fields)
        if value is not None and users and name in table and name not in users:
            yield Broken((*here, field), f"{name} has no {field}", f"{field} belongs to {', '.join(users)}")

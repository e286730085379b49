"""What a class may be called, in every format: a name that people can read, and tell from the other ones. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence

from velodrome.text import line
from velodrome.vocabulary import MOST_CLASS_NAME
from velodrome_runner.data.format import invalid

_SHOWN = 40  # characters of a name that is refused


def refuse_names(names: Sequence[str], where: Callable[[str], str]) -> None:
    """Refuses names that can't be read, or that look like another one. `where` has words for the place of a name.

    Names of all scripts are welcome. Two names may differ by capitals alone if each is a single letter.

    Raises:
        ConfigurationError: DatasetInvalid; the message names the place and the fix.
    """
    seen: dict[str, str] = {}
    for name in names:
        problem = _problem(name)
        if problem is not None:
            raise invalid(f"{where(name)}: the class {line(repr(name), _SHOWN)} {problem}")
        first = seen.get(alike(name))
        if first is not None:
            raise invalid(f"{where(name)}: the class {_difference(name, first)} ({where(first)})")
        seen[alike(name)] = name


def alike(name: str) -> str:
    """What is equal for names that people take for one: those that differ by spaces, composed letters or capitals."""
    composed = unicodedata.normalize("NFC", " ".join(name.split()))
    return composed if len(composed) == 1 else unicodedata.normalize("NFC", composed.casefold())


def _problem(name: str) -> str | None:
    """What keeps people from reading a name, and the fix."""
    if not name.strip():
        return "is empty, or has only spaces: give it a name"
    if len(name) > MOST_CLASS_NAME:
        return f"has {len(name):,} characters, and {MOST_CLASS_NAME} are the most: give it a shorter name"
    if name != name.strip():
        return "begins or ends with a space: remove the space"
    shown = line(name)
    if shown != name:
        at = next((at for at, (one, other) in enumerate(zip(name, shown, strict=False)) if one != other), 0)
        return f"has a character that can't be seen, U+{ord(name[at]):04X}: remove it"
    return None


def _difference(name: str, first: str) -> str:
    if name == first:
        return f"{name!r} is there twice: give each class a name of its own"
    if name.casefold() != first.casefold():  # they look the same
        return f"{name!a} looks like the class {first!a}: write both alike, or give each a name of its own"
    return f"{name!r} differs by capitals alone from {first!r}: write both alike, or give each a name of its own"

"""The wording of a problem: where it is, and which name was probably meant. Pure."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable

Location = tuple[str | int, ...]
"""Where a value is in a document: keys and list positions, from the outside in."""


def dotted(location: Location) -> str:
    """`("spec", "entries", 1, "name")` as `spec.entries[1].name`; the whole document as `document`."""
    return "".join(_step(part) for part in location).removeprefix(".") or "document"


def _step(part: str | int) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    return f".{part}" if re.fullmatch(r"[\w-]+", part) else f"[{shown(part)}]"


def shown(value: object) -> str:
    """A value as people write it, shortened to one line."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}…"


def close_match(given: str, allowed: Iterable[str]) -> str | None:
    """The allowed name that is closest to `given`, ignoring case. None if no name is close."""
    by_folded = {name.casefold(): name for name in allowed}
    found = difflib.get_close_matches(given.casefold()[:200], by_folded, n=1, cutoff=0.6)
    return by_folded[found[0]] if found else None


def suggestion(given: str, allowed: Iterable[str]) -> str:
    """`did you mean "x"?` if a name is close, else the whole list."""
    names = sorted(allowed)
    close = close_match(given, names)
    return f'did you mean "{close}"?' if close else f"one of: {', '.join(names)}"

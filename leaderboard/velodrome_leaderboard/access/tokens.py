"""Tokens of programs that read the API. The file has a line for each: a name, the token's SHA-256, and boards.

    ci-team-a  9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08  team-a-*,digits
    backup     60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752

Without boards, a token reads all of them. A token is random, so its hash needs no salt: nobody can guess what it is of.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Mapping
from pathlib import Path

from velodrome.board.tenancy import ShownBoards
from velodrome.errors import LocalError
from velodrome_leaderboard.access.people import Person

_LOG = logging.getLogger("velodrome.leaderboard")
_LINE = re.compile(r"(?P<name>\S+)\s+(?P<hash>[0-9a-f]{64})(?:\s+(?P<boards>\S+))?")


def parse_tokens(text: str) -> dict[str, Person]:
    """By hash, the program that has the token. Lines that are empty or begin with # say nothing.

    Raises:
        ValueError: a line is wrong; the message has its number and what to write.
    """
    found: dict[str, Person] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise ValueError(f"line {number}: write NAME, the token's SHA-256 in small letters, and perhaps BOARDS")
        try:
            shown = ShownBoards.parse([match["boards"] or ""])
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error
        found[match["hash"]] = Person(match["name"], shown=shown)
    return found


def read_tokens(path: Path) -> dict[str, Person]:
    """The tokens of a file.

    Raises:
        LocalError: it can't be read, or a line is wrong.
    """
    try:
        return parse_tokens(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise LocalError(f"the list of tokens {path} can't be used: {error}") from error


def holder(tokens: Mapping[str, Person], token: str) -> Person | None:
    """Who has this token. None if nobody has."""
    return tokens.get(hashlib.sha256(token.encode("utf-8", "replace")).hexdigest())


def holder_in(path: Path | None, token: str) -> Person | None:
    """Who has this token by the file as it is now. A file that can't be used knows nobody, and the log says why."""
    if path is None:
        return None
    try:
        return holder(read_tokens(path), token)
    except LocalError as error:
        _LOG.error("%s", error)
        return None

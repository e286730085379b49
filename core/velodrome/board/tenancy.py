"""Which namespaces may send results to which board, and which boards a viewer is shown. Pure: no I/O here.

The administrator gives the operator a policy. A rule lists the namespaces of the boards that its pattern names. A board
that no rule names is shared by all namespaces, or belongs to the namespace whose race wrote to it first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

UnlistedBoards = Literal["shared", "owned"]
EVERYBODY = "*"

_PATTERN = re.compile(r"[a-z0-9*?-]{1,63}")
_NAMESPACE = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_LONGEST_NAME = 63
_NO_BOARD = ""  # the pattern of no board: a name has a letter


@dataclass(frozen=True, slots=True)
class BoardRule:
    """The boards that match `pattern` take results of these namespaces, or of every namespace if one of them is *."""

    pattern: str
    namespaces: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.pattern}={','.join(self.namespaces)}"

    def admits(self, namespace: str) -> bool:
        """Whether races of this namespace may write to the boards of the rule."""
        return EVERYBODY in self.namespaces or namespace in self.namespaces


@dataclass(frozen=True, slots=True)
class BoardPolicy:
    """Who may write to which board. The first rule whose pattern matches counts. `unlisted` is for all other boards."""

    unlisted: UnlistedBoards = "shared"
    rules: tuple[BoardRule, ...] = ()

    def rule_of(self, board: str) -> BoardRule | None:
        """The rule for this board. None if no rule names it."""
        return next((rule for rule in self.rules if fnmatchcase(board, rule.pattern)), None)

    def goes_by_owner(self, board: str) -> bool:
        """Whether the board belongs to one namespace: no rule names it, and such boards are owned."""
        return self.unlisted == "owned" and self.rule_of(board) is None


@dataclass(frozen=True, slots=True)
class BoardRefusal:
    """Why a race may not write to its board. `allowed` are the namespaces that may; `fix` says what to do."""

    board: str
    namespace: str
    allowed: tuple[str, ...]
    fix: str

    @property
    def message(self) -> str:
        """The whole reason, in one sentence."""
        names = f"namespace {self.allowed[0]}" if len(self.allowed) == 1 else f"namespaces {', '.join(self.allowed)}"
        return f"board {self.board} is for races of {names}, and this race is of {self.namespace}: {self.fix}"


def refusal(policy: BoardPolicy, board: str, namespace: str, owner: str | None) -> BoardRefusal | None:
    """Why a race of this namespace may not write to the board. None if it may.

    `owner` is the namespace to which the board belongs. It is None if nobody has written to it so far.
    """
    rule = policy.rule_of(board)
    if rule is not None:
        return None if rule.admits(namespace) else _refused(board, namespace, rule.namespaces, rule.pattern)
    if policy.unlisted == "shared" or owner in (None, namespace):
        return None
    return _refused(board, namespace, (owner,), board)


def _refused(board: str, namespace: str, allowed: tuple[str, ...], pattern: str) -> BoardRefusal:
    own = f"{namespace}-{board}"
    example = f", such as {own}" if len(own) <= _LONGEST_NAME else ""
    share = BoardRule(pattern, (*allowed, namespace))
    fix = f"write another spec.board{example}, or let the administrator start the operator with --board={share}"
    return BoardRefusal(board, namespace, allowed, fix)


def parse_rule(text: str) -> BoardRule:
    """Reads a rule, written as PATTERN=NAMESPACE[,NAMESPACE…].

    Raises:
        ValueError: it is no rule; the message says what to write.
    """
    pattern, equals, names = text.partition("=")
    namespaces = tuple(name.strip() for name in names.split(","))
    if not equals or not names.strip():
        raise ValueError(f"{text!r} is no rule for boards: write PATTERN=NAMESPACE[,NAMESPACE…], such as digits=team-a")
    check_pattern(pattern)
    for name in namespaces:
        if name != EVERYBODY and not _NAMESPACE.fullmatch(name):
            raise ValueError(f"{name!r} in {text!r} is no namespace: write a namespace's name, or * for all of them")
    return BoardRule(pattern, namespaces)


def check_pattern(pattern: str) -> str:
    """Returns the pattern, if it can name a board.

    Raises:
        ValueError: it can't; the message says what to write.
    """
    if not _PATTERN.fullmatch(pattern):
        raise ValueError(
            f"{pattern!r} is no pattern of boards: write a name, with * for any letters and ? for any one letter"
        )
    return pattern


@dataclass(frozen=True, slots=True)
class ShownBoards:
    """The boards that a viewer is shown: those that match one of the patterns, or all boards if there are none."""

    patterns: tuple[str, ...] = ()

    @classmethod
    def parse(cls, patterns: Iterable[str]) -> ShownBoards:
        """From patterns, of which each text may hold several, with commas. Raises as `check_pattern` does."""
        parts = (part.strip() for text in patterns for part in text.split(","))
        return cls(tuple(check_pattern(part) for part in parts if part))

    @classmethod
    def only(cls, patterns: Iterable[str]) -> ShownBoards:
        """The boards of these patterns alone: without a pattern, no board."""
        return cls(tuple(patterns) or (_NO_BOARD,))

    @property
    def everything(self) -> bool:
        """Whether all boards are shown."""
        return not self.patterns

    def __contains__(self, board: object) -> bool:
        return not self.patterns or any(fnmatchcase(str(board), pattern) for pattern in self.patterns)

    def __str__(self) -> str:
        return ",".join(self.patterns)

"""What a person may see and do, from what the provider says of them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from velodrome.board.tenancy import ShownBoards
from velodrome.errors import ActionNeeded
from velodrome_leaderboard.access.settings import MATCHED, ClaimValues, SignInFile, TeamBoards

ALL_BOARDS = ShownBoards()
_PART_OF_A_BOARD = re.compile(r"[a-z0-9-]+")


class SignInNeeded(ActionNeeded):
    """Nobody is signed in, or the session is over."""

    reason = "SignInNeeded"


class NotAViewer(ActionNeeded):
    """The person is signed in, and may not look."""

    reason = "NotAViewer"


@dataclass(frozen=True, slots=True)
class Person:
    """Who looks. `until` is when the session ends, and `session` names it among the person's sessions.

    A program with a token has the token's name, and no session.
    """

    name: str = ""
    admin: bool = False
    shown: ShownBoards = ALL_BOARDS
    until: datetime | None = None
    session: str = ""


# Who looks where no sign-in is configured. Nobody knows who it is, so it is no admin.
ANYBODY = Person()


def person_of(claims: Mapping[str, object], rules: SignInFile) -> Person:
    """The person that the provider's claims describe.

    Raises:
        SignInNeeded: the claims are of nobody, or don't say since when they hold.
        NotAViewer: the person may not look.
    """
    subject, since = claims.get("sub"), claims.get("iat")
    if not claims.get("is_logged_in") or not subject or not isinstance(since, (int, float)) or isinstance(since, bool):
        raise SignInNeeded("sign in to look at this leaderboard")
    name = _name(claims, rules.name)
    admin = rules.admins is not None and _has(claims, rules.admins)
    if not admin and not _has(claims, rules.viewers):
        raise NotAViewer(
            f"You are signed in as {name}. Ask whoever runs this leaderboard to let you look: that goes by the claim "
            f"{rules.viewers.claim} of your sign-in."
        )
    until = datetime.fromtimestamp(since, UTC) + timedelta(hours=rules.session_hours)
    shown = ALL_BOARDS if admin or not rules.boards else _boards(claims, rules.boards)
    return Person(name, admin, shown, until, f"{subject}\n{since}")


def is_over(person: Person, now: datetime, ended: Iterable[str] = ()) -> bool:
    """Whether the person's session ended: its time is over, or it is among the ended ones."""
    return (person.until is not None and now >= person.until) or (bool(person.session) and person.session in ended)


def _name(claims: Mapping[str, object], claim: str) -> str:
    """The person's name. An address that the provider calls unverified names nobody: people may type any."""
    unverified = claim == "email" and claims.get("email_verified") is False
    found = () if unverified else _values(claims, claim)
    return found[0] if found else str(claims["sub"])


def _has(claims: Mapping[str, object], wanted: ClaimValues) -> bool:
    return any(_match(value, found) for value in wanted.values for found in _values(claims, wanted.claim))


def _boards(claims: Mapping[str, object], rules: Iterable[TeamBoards]) -> ShownBoards:
    """The boards of the rules that fit. A rule with `{*}` fits no value whose part can be no part of a board's name."""
    found: list[str] = []
    for rule in rules:
        for value in _values(claims, rule.claim):
            matched = _match(rule.value, value)
            if matched is None:
                continue
            part = "".join(matched.groups())
            for board in rule.boards:
                if MATCHED not in board:
                    found.append(board)
                elif _PART_OF_A_BOARD.fullmatch(part):
                    found.append(board.replace(MATCHED, part))
    return ShownBoards.only(found)


def _match(pattern: str, value: str) -> re.Match[str] | None:
    return re.fullmatch("(.*)".join(map(re.escape, pattern.split("*"))), value, re.DOTALL)


def _values(claims: Mapping[str, object], claim: str) -> tuple[str, ...]:
    """The values of a claim. A claim inside another one is named with a dot: `realm_access.roles`."""
    found: object = claims
    if claim in claims:
        found = claims[claim]
    else:
        for part in claim.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
    several = found if isinstance(found, (list, tuple)) else (found,)
    return tuple(str(one).lower() if isinstance(one, bool) else str(one) for one in several if _is_value(one))


def _is_value(one: object) -> bool:
    return isinstance(one, (str, bool, int)) and one != ""

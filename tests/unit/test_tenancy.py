"""Who may write to which board, and which boards a viewer is shown: a table of cases, and what a person reads."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from velodrome.board.tenancy import BoardPolicy, ShownBoards, parse_rule, refusal

RULES = tuple(parse_rule(text) for text in ("digits=team-a,team-b", "team-c-*=team-c", "all=*", "d*=team-d"))
SHARED, OWNED = BoardPolicy("shared", RULES), BoardPolicy("owned", RULES)


@pytest.mark.parametrize(
    ("policy", "board", "namespace", "owner", "allowed"),
    [
        (SHARED, "free", "team-x", None, None),
        (SHARED, "free", "team-x", "team-a", None),
        (OWNED, "free", "team-x", None, None),
        (OWNED, "free", "team-a", "team-a", None),
        (OWNED, "free", "team-x", "team-a", ("team-a",)),
        (SHARED, "digits", "team-b", "team-a", None),
        (OWNED, "digits", "team-b", "team-a", None),
        (SHARED, "digits", "team-x", None, ("team-a", "team-b")),
        (OWNED, "digits", "team-d", None, ("team-a", "team-b")),  # the first rule that matches counts
        (OWNED, "digits", "team-x", "team-x", ("team-a", "team-b")),  # a rule counts more than an owner
        (OWNED, "team-c-nightly", "team-c", None, None),
        (SHARED, "team-c-nightly", "team-a", None, ("team-c",)),
        (OWNED, "all", "anybody", "team-a", None),
    ],
)
def test_a_namespace_may_write_to_a_board_or_not(
    policy: BoardPolicy, board: str, namespace: str, owner: str | None, allowed: tuple[str, ...] | None
) -> None:
    found = refusal(policy, board, namespace, owner)
    assert (found and found.allowed) == allowed


def test_a_refusal_names_board_owner_and_fix_and_the_fix_helps() -> None:
    found = refusal(OWNED, "free", "team-x", "team-a")
    assert found is not None
    assert found.message == (
        "board free is for races of namespace team-a, and this race is of team-x: write another spec.board, such as "
        "team-x-free, or let the administrator start the operator with --board=free=team-a,team-x"
    )
    fixed = BoardPolicy("owned", (parse_rule("free=team-a,team-x"), *RULES))
    assert refusal(fixed, "free", "team-x", "team-a") is None
    listed = refusal(OWNED, "digits", "team-x", None)
    assert listed is not None
    assert "of namespaces team-a, team-b, and" in listed.message
    assert "--board=digits=team-a,team-b,team-x" in listed.message
    long = refusal(OWNED, "b" * 60, "team-x", "team-a")
    assert long is not None
    assert "such as" not in long.message, "a board of that name could not be written"


def test_only_boards_that_no_rule_names_go_by_their_owner() -> None:
    assert OWNED.goes_by_owner("free")
    assert not OWNED.goes_by_owner("digits")
    assert not SHARED.goes_by_owner("free")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("digits", "write PATTERN=NAMESPACE"),
        ("digits=", "write PATTERN=NAMESPACE"),
        ("=team-a", "'' is no pattern of boards"),
        ("Digits=team-a", "'Digits' is no pattern"),
        ("digits=Team", "'Team' in 'digits=Team' is no namespace"),
        ("digits=team-a,,team-b", "'' in"),
        ("digits=team-*", "'team-*' in"),
    ],
)
def test_a_rule_that_is_none_is_refused_with_what_to_write(text: str, words: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the words are compared
        parse_rule(text)
    assert words in str(refused.value)


names = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)


@given(names, st.lists(names, min_size=1, max_size=4))
def test_a_rule_reads_as_it_is_written(board: str, namespaces: list[str]) -> None:
    rule = parse_rule(f"{board}={','.join(namespaces)}")
    assert parse_rule(str(rule)) == rule
    assert all(refusal(BoardPolicy("owned", (rule,)), board, one, "other") is None for one in namespaces)


@given(names, names, names)
def test_an_owned_board_takes_one_namespace_and_no_other(board: str, owner: str, other: str) -> None:
    policy = BoardPolicy("owned")
    assert refusal(policy, board, owner, owner) is None
    assert (refusal(policy, board, other, owner) is None) == (other == owner)


def test_a_viewer_is_shown_the_boards_of_the_patterns_alone() -> None:
    shown = ShownBoards.parse(["team-a-*, digits", "b?"])
    assert [board for board in ("team-a-x", "digits", "b1", "digits2", "team-b-x", "b12") if board in shown] == [
        "team-a-x",
        "digits",
        "b1",
    ]
    assert ShownBoards.parse([str(shown)]) == shown
    assert "anything" in ShownBoards.parse(["", " , "])
    with pytest.raises(ValueError, match="'Team A' is no pattern of boards"):
        ShownBoards.parse(["Team A"])

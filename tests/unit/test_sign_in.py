"""Who a person is by the claims of a provider, which addresses are open, and what is wrong with a sign-in file."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from velodrome.errors import LocalError
from velodrome_leaderboard.access.people import NotAViewer, Person, SignInNeeded, is_over, person_of
from velodrome_leaderboard.access.routes import local_page, need, way_back
from velodrome_leaderboard.access.settings import SignInFile, read_sign_in
from velodrome_leaderboard.access.tokens import holder, parse_tokens

NOW = datetime(2026, 5, 1, tzinfo=UTC)
FILE: dict[str, Any] = {
    "issuer": "https://login.example.org/realms/x",
    "clientId": "velodrome",
    "clientSecretFile": "client",
    "cookieSecretFile": "cookie",
    "address": "https://velodrome.example.org",
    "viewers": {"claim": "groups", "values": ["team-*"]},
    "admins": {"claim": "realm_access.roles", "values": ["velodrome-admin"]},
    "boards": [
        {"claim": "groups", "value": "team-*", "boards": ["team-{*}-*", "team-{*}"]},
        {"claim": "groups", "value": "*", "boards": ["common"]},
    ],
}


def rules(**changed: Any) -> SignInFile:
    return SignInFile.model_validate(FILE | changed)


def person(rules: SignInFile, **claims: Any) -> Person:
    known = {"sub": "1", "iat": NOW.timestamp(), "is_logged_in": True, "email": "ann@example.org"}
    return person_of(known | claims, rules)


def shown(found: Person, *boards: str) -> list[str]:
    return [board for board in boards if board in found.shown]


def test_a_team_sees_its_own_boards_and_those_of_everybody() -> None:
    found = person(rules(), groups=["team-a", "others"])
    assert shown(found, "team-a", "team-a-x", "team-b-x", "common", "team-ab-x") == ["team-a", "team-a-x", "common"]
    assert not found.admin


@pytest.mark.parametrize(
    "value", ["team-*", "team-?", "team-a*", "team-[a-z]", "team-", "team-A", "team-a\n", "team-{*}"]
)
def test_a_value_that_looks_like_a_pattern_opens_no_board_of_others(value: str) -> None:
    assert shown(person(rules(), groups=[value]), "team-a", "team-b-x", "team-a-x") == []


def test_who_fits_no_rule_sees_no_board() -> None:
    found = person(rules(boards=FILE["boards"][:1], viewers={"claim": "sub", "values": ["*"]}))
    assert not found.shown.everything
    assert shown(found, "team-a", "common") == []


def test_without_rules_viewers_see_all_boards() -> None:
    assert person(rules(boards=[]), groups="team-x").shown.everything


def test_admins_see_all_boards_and_need_not_be_viewers() -> None:
    found = person(rules(), realm_access={"roles": ["velodrome-admin"]})
    assert found.admin
    assert found.shown.everything
    assert not person(rules(admins=None), groups=["team-a"], realm_access={"roles": ["velodrome-admin"]}).admin


@pytest.mark.parametrize(
    "groups", [None, [], "", ["other"], "xteam-a", {"team-a": 1}, [["team-a"]], [{"name": "team-a"}]]
)
def test_who_lacks_the_claim_is_no_viewer(groups: object) -> None:
    with pytest.raises(NotAViewer, match=r"ann@example\.org.*claim groups"):
        person(rules(), groups=groups)


@pytest.mark.parametrize(
    "changed",
    [
        {"sub": ""},
        {"sub": None},
        {"iat": None},
        {"iat": "1"},
        {"iat": True},
        {"is_logged_in": False},
        {"is_logged_in": None},
    ],
)
def test_claims_of_nobody_let_nobody_in(changed: dict[str, Any]) -> None:
    with pytest.raises(SignInNeeded):
        person(rules(), groups=["team-a"], **changed)


def test_an_unverified_address_names_nobody() -> None:
    assert person(rules(), groups=["team-a"], email_verified=True).name == "ann@example.org"
    assert person(rules(), groups=["team-a"], email_verified=False).name == "1"
    assert person(rules(name="preferred_username"), groups=["team-a"], preferred_username="ann").name == "ann"


def test_a_session_ends_by_its_time_or_by_signing_out() -> None:
    found = person(rules(sessionHours=2), groups=["team-a"])
    assert not is_over(found, NOW + timedelta(hours=1))
    assert is_over(found, NOW + timedelta(hours=2))
    assert is_over(found, NOW, ended=[found.session])
    assert not is_over(Person("program"), NOW + timedelta(days=9), ended=[""])


@pytest.mark.parametrize(
    ("path", "needs"),
    [
        ("/", "nothing"), ("/board", "nothing"), ("/static/js/index.js", "nothing"), ("/_stcore/health", "nothing"),
        ("/auth/login", "nothing"), ("/oauth2callback", "nothing"),
        ("/media/0a1b.csv", "person"), ("/_stcore/upload_file/a/b", "person"), ("/api/v1/boards", "person"),
        ("/api", "person"), ("//board", "person"), ("/board/../media/x", "person"), ("/whatever", "person"),
        ("/api/v1/openapi.json", "person"), ("/component/x", "person"), ("/_stcore/agent/mcp", "person"),
        ("/metrics", "everything"), ("/_stcore/metrics", "everything"),
        ("/api/v1/boards/x/objectives/y/badge.svg", "public board"),
        ("/api/v1/boards/x/objectives/y/badge.svg/history", "person"),
    ],
)  # fmt: skip
def test_what_is_not_listed_is_closed(path: str, needs: str) -> None:
    assert need(path)[0] == needs


def test_the_way_back_leads_to_our_pages_alone() -> None:
    here = "https://velodrome.example.org/x"
    assert way_back(here, f"{here}/board?name=a&objective=b") == "/board?name=a&objective=b"
    for referer in ("", "https://evil.example/x/board", f"{here}.evil.example/board", "http://velodrome.example.org/x/board",
                    f"{here}/auth/logout", "https://velodrome.example.org/board"):  # fmt: skip
        assert way_back(here, referer) is None, referer
    for wild in (
        "//evil.example",
        "https://evil.example",
        "/board\r\nx",
        "/board?a=\r\n",
        "/\\evil",
        "board",
        "/board?" + "a" * 2000,
    ):
        assert local_page(wild) is None, wild


def test_tokens_are_known_by_their_hash_and_limited_to_their_boards() -> None:
    digest = hashlib.sha256(b"secret").hexdigest()
    found = parse_tokens(f"# programs\n\n ci {digest} team-a-*,common\n")
    assert holder(found, digest) is None  # the file alone opens nothing
    ci = holder(found, "secret")
    assert ci is not None
    assert (ci.name, ci.admin, shown(ci, "team-a-x", "team-b-x")) == ("ci", False, ["team-a-x"])


@pytest.mark.parametrize("line", ["ci", "ci secret", f"ci {'A' * 64}", f"ci {'0' * 64} Team", f"ci {'0' * 64} a b"])
def test_a_wrong_line_of_tokens_is_named(line: str) -> None:
    with pytest.raises(ValueError, match="line 2: "):
        parse_tokens(f"# tokens\n{line}\n")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"issuer": "http://login.example.org"}, "issuer.*has no TLS"),
        ({"address": "velodrome"}, "address.*is no address"),
        ({"viewers": None}, "viewers"),
        ({"viewers": {"claim": "groups", "values": []}}, r"viewers\.values"),
        ({"boards": [{"claim": "g", "value": "a*b*", "boards": ["x"]}]}, r"boards\.0\.value.*once"),
        ({"boards": [{"claim": "g", "value": "a", "boards": ["Team"]}]}, r"boards\.0\.boards.*no pattern"),
        ({"scopes": ["email"]}, "scopes.*openid"),
        ({"sessionHours": 0}, "sessionHours"),
        ({"veiwers": {}}, "veiwers"),
        ({"cookieSecretFile": "short"}, "cookieSecretFile has 5 letters"),
        ({"clientSecretFile": "nowhere"}, "clientSecretFile.*can't be read"),
        ({"clientSecretFile": "empty"}, "clientSecretFile.*is empty"),
    ],
)
def test_a_wrong_sign_in_file_is_refused_with_the_field(tmp_path: Path, changed: dict[str, Any], words: str) -> None:
    for name, text in (("client", "secret"), ("cookie", "c" * 32), ("short", "12345"), ("empty", " \n")):
        (tmp_path / name).write_text(text)
    path = tmp_path / "sign-in.yaml"
    path.write_text(yaml.safe_dump(FILE))
    assert read_sign_in(path).client_secret == "secret"
    path.write_text(yaml.safe_dump(FILE | changed))
    with pytest.raises(LocalError, match=f"(?s){words}"):
        read_sign_in(path)


def test_a_sign_in_file_that_is_no_file_or_no_yaml_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="can't be read"):
        read_sign_in(tmp_path / "nowhere")
    (tmp_path / "odd").write_text("{a")
    with pytest.raises(LocalError, match="can't be read"):
        read_sign_in(tmp_path / "odd")
    (tmp_path / "list").write_text("- a\n")
    with pytest.raises(LocalError, match="issuer"):
        read_sign_in(tmp_path / "list")

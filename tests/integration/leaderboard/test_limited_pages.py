"""A leaderboard of some boards: nothing of another board is on any of its pages, whoever knows the addresses."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from velodrome import keys

if TYPE_CHECKING:
    from streamlit.testing.v1 import AppTest

    from velodrome.store import Store

    Race = Any

Draw = Callable[..., "AppTest"]


@pytest.fixture(autouse=True)
def _two_teams(store: Store, make_race: type[Race]) -> None:
    for uid, board in (("ours", "team-a-digits"), ("theirs", "team-b-secret")):
        race = make_race(uid=uid, name=f"{uid}-nightly", board=board, entries=("cnn", f"{uid}-mlp"))
        store.register(race.info)
        store.accept(uid, 0, [race.record(index) for index in range(len(race.plan))], [])


def shown(app: AppTest) -> str:
    """Everything that the page shows, as one text."""
    return "\n".join(str(element.proto) for element in app.main)


SECRETS = ("theirs-nightly", "theirs-mlp")
PAGES: list[tuple[str, dict[str, str]]] = [
    ("boards", {}),
    ("board", {"name": "team-b-secret"}),
    ("job", {"uid": "theirs"}),
    ("job", {"uid": "theirs", "entry": "theirs-mlp"}),
    ("run", {"job": "theirs", "trial": "0"}),
    ("search", {"uid": "theirs"}),
    ("history", {"board": "team-b-secret", "entry": "theirs-mlp", "objective": "accuracy"}),
    ("board", {"name": "team-b-secret", "objective": "Noise floor"}),
    ("profile", {"entry": "cnn", "boards": "team-b-secret", "objective": "accuracy"}),
]


@pytest.mark.parametrize(("page", "query"), PAGES)
def test_no_page_shows_anything_of_a_board_of_others(
    page_of: Draw, monkeypatch: pytest.MonkeyPatch, page: str, query: dict[str, str]
) -> None:
    monkeypatch.setenv(keys.ENV_BOARDS, "team-a-*,common")
    limited = shown(page_of(page, **query))
    assert [word for word in (*SECRETS, *(() if query else ("team-b-secret",))) if word in limited] == []
    monkeypatch.delenv(keys.ENV_BOARDS)
    everything = shown(page_of(page, **query))
    assert any(word in everything for word in (*SECRETS, "team-b-secret")), "without a limit the page shows it"


def test_a_board_of_others_does_not_exist_and_is_no_suggestion(page_of: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(keys.ENV_BOARDS, "team-a-*")
    assert "There is no such board." in shown(page_of("board", name="team-b-secret"))
    near = shown(page_of("board", name="team-b-secre"))
    assert "There is no such board." in near
    assert "Did you mean" not in near


def test_no_link_of_a_shown_page_gives_what_is_hidden(page_of: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(keys.ENV_BOARDS, "team-a-*")
    boards = shown(page_of("boards"))
    assert "team-a-digits" in boards
    assert "team-b" not in boards
    assert "ours-nightly" in shown(page_of("board", name="team-a-digits"))
    assert "ours-nightly" in shown(page_of("job", uid="ours"))
    assert "ours-mlp" in shown(page_of("history", board="team-a-digits", entry="ours-mlp", objective="accuracy"))


def test_every_answer_about_a_hidden_job_is_that_of_a_job_that_never_was(
    store: Store, redis_server: Any, make_race: type[Race]
) -> None:
    from velodrome.board.declaration import Declaration, DeclaredBoard
    from velodrome.board.tenancy import ShownBoards
    from velodrome.errors import StoreRefused
    from velodrome.store import Counts
    from velodrome_leaderboard.data import ResultSource

    everything = ResultSource(redis_server.url)
    limited = ResultSource(redis_server.url, ShownBoards.parse(["team-a-*"]))
    by_uid = [
        "job",
        "verdicts",
        "entries",
        "counts",
        "trials",
        "progress",
        "conflicts",
        "rejections",
        "export",
        "hidden",
        "searching",
    ]
    for name in by_uid:
        assert getattr(limited, name)("theirs") == getattr(everything, name)("no-such-job"), name
        assert getattr(limited, name)("ours") == getattr(everything, name)("ours"), name
    assert limited.trial("theirs", 0) is None
    assert limited.curves("theirs", 0) == ()
    job = everything.job("theirs")
    assert job is not None
    assert list(limited.records(job)) == []
    assert limited.outcomes(job) == Counts(0, 0) != everything.outcomes(job)
    assert limited.jobs("team-b-secret", 10) == []
    assert limited.objectives("team-b-secret") == ()
    assert limited.noise("team-b-secret") == ()
    hidden, absent = (Declaration(boards=(DeclaredBoard(name=name),)) for name in ("team-b-secret", "no-such-board"))
    assert limited.profile("cnn", hidden).missing == {"team-b-secret": "no job has reported to it"}
    assert everything.profile("cnn", absent).missing == {"no-such-board": "no job has reported to it"}
    assert "not ranked there" in everything.profile("cnn", hidden).missing["team-b-secret"]
    assert limited.paired_entries("team-b-secret") == []
    for name in ("baselines", "acknowledgements", "log", "entry_names"):
        assert getattr(limited, name)("team-b-secret") == [], name
    assert limited.entry_jobs("team-b-secret", "cnn") == []
    assert limited.marks_changed("team-b-secret") == 0
    assert limited.sparks("team-b-secret", "accuracy", "", ("cnn",)) == {}
    assert limited.cohorts("team-b-secret", "accuracy") == []
    assert limited.markers(["team-b-secret"], [job]) == ()
    assert len(everything.markers(["team-b-secret"], [job])) == 2
    assert limited.version("team-b-secret") == limited.version("no-such-board") == ""
    with pytest.raises(StoreRefused, match="there is no job theirs"):
        limited.details(job, "cnn")
    (objective, *_) = everything.objectives("team-b-secret")
    for ask in (
        lambda: limited.objective("team-b-secret", objective),
        lambda: limited.page("team-b-secret", objective),
        lambda: limited.trade_off("team-b-secret", [objective, objective]),
        lambda: limited.timeline("team-b-secret", "cnn", "accuracy"),
        lambda: limited.pairing("team-b-secret", "cnn", "mlp"),
        lambda: limited.sheet("team-b-secret", objective),
        lambda: limited.comparison("team-b-secret", ("cnn", "mlp")),
    ):
        with pytest.raises(StoreRefused, match="there is no board team-b-secret"):
            ask()
    questions = {name for name in vars(ResultSource) if not name.startswith("_")} - {"url", "shown"}
    asked = {
        *by_uid,
        "trial",
        "curves",
        "records",
        "jobs",
        "objectives",
        "cohorts",
        "objective",
        "page",
        "timeline",
        "version",
        "noise",
        "profile",
        "paired_entries",
        "pairing",
        "trade_off",
        "baselines",
        "acknowledgements",
        "log",
        "entry_names",
        "entry_jobs",
        "outcomes",
        "marks_changed",
        "sparks",
        "sheet",
        "comparison",
        "details",
        "markers",
    }
    assert questions == asked | {"boards", "left_out", "memory", "person"}, (
        "a new question needs its limit, and its line above"
    )


def test_what_can_not_be_read_is_shown_without_the_names_of_others(
    page_of: Draw, monkeypatch: pytest.MonkeyPatch, redis_server: Any
) -> None:
    with redis_server.client() as client:
        client.set(keys.job("theirs", "info"), "no JSON")
    monkeypatch.setenv(keys.ENV_BOARDS, "team-*")
    page = shown(page_of("boards"))
    page = shown(page_of("board", name="team-b-secret"))
    assert "left out" in page
    assert "velodrome:job:theirs" not in page


def test_patterns_that_are_none_are_refused(page_of: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(keys.ENV_BOARDS, "Team A")
    page = shown(page_of("boards"))
    assert "is no pattern of boards" in page
    assert "team-a-digits" not in page

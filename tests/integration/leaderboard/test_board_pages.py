"""What people do on a board and with entries, on the pages without a browser."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from streamlit.testing.v1 import AppTest

from tests.integration.leaderboard.test_leaderboard_pages import links_of, table_of, text_of
from tools.sample_results import CLEAR, OBJECTIVES, finish, race
from velodrome.store import Store

Draw = Callable[..., AppTest]
AT = datetime.now(UTC) - timedelta(minutes=10)
DAY = timedelta(days=1)
ACCURACY = "Ranking by accuracy"


def names(app: AppTest, label: str = ACCURACY) -> list[str]:
    return [row[1] for row in table_of(app, label)]


def test_a_trade_off_stands_by_older_jobs_and_lets_one_choose_conditions(store: Store, page_of: Draw) -> None:
    finish(store, race("both", AT - DAY, riders=CLEAR))
    finish(store, race("one", AT, riders=CLEAR, objectives=OBJECTIVES[:1], machine="New CPU"))
    app = page_of("board", name="digits", objective="Trade-offs")
    assert "slow and quick are on the front" in text_of(app)
    assert {row[-1] for row in table_of(app, "Entries by accuracy and speed")} == {"digits"}
    (choice,) = app.selectbox
    assert choice.options == ["CPU: New CPU (3 entries)", "CPU: Sample CPU @ 2.00GHz (3 entries)"]
    choice.select_index(1).run()
    assert "Sample CPU @ 2.00GHz" in text_of(app)
    again = page_of("board", name="digits", objective="Trade-offs", conditions=app.query_params["conditions"])
    assert "Measured under" in text_of(again)
    assert "Sample CPU @ 2.00GHz" in text_of(again)


def test_a_board_is_filtered_sorted_and_shown_with_more_columns_by_its_address(store: Store, page_of: Draw) -> None:
    finish(store, race("done", AT, riders=CLEAR))
    app = page_of("board", name="digits", filter="params < 5e4", sort="-speed", cols=["model", "params"])
    assert names(app) == ["middle", "quick"]
    rows = table_of(app, ACCURACY)
    assert [row[0] for row in rows] == ["3", "2"]
    assert rows[0][8:10] == ["velodrome/cnn", "44,444"]
    assert "2 of 3 entries · sorted by speed, falling · ranks are those of all entries" in text_of(app)
    assert "slow is best" in text_of(app)
    other = page_of("board", name="digits", objective="speed", filter="params < 5e4")
    assert names(other, "Ranking by latency_p50_seconds{batch_size=1}") == ["quick", "middle"]


def test_what_cannot_be_read_is_said_and_all_entries_stay(store: Store, page_of: Draw) -> None:
    finish(store, race("done", AT, riders=CLEAR))
    app = page_of("board", name="digits", filter="optimiser = SGD", sort="-parms", cols="zzz")
    page = text_of(app)
    assert "did you mean optimizer?" in page
    assert "did you mean params?" in page
    assert "there is no column 'zzz'" in page
    assert names(app) == ["slow", "quick", "middle"]
    hint = text_of(page_of("board", name="digits", filter="optimizer = SGD"))
    assert "No entry fulfils optimizer = SGD. Here optimizer is AdamW." in hint


def test_rows_say_why_a_rank_is_a_range_and_how_far_the_best_is(store: Store, page_of: Draw) -> None:
    finish(store, race("done", AT, riders={**CLEAR, "twin": CLEAR["slow"]}))
    rows = {row[1]: row for row in table_of(page_of("board", name="digits"), ACCURACY)}
    tie = "tied with 1 other: not told apart at 5 %, n = 5"
    assert tie in rows["twin"][7]
    assert tie in rows["slow"][7]
    assert rows["quick"][7].startswith("−")
    assert "tied" not in rows["quick"][7]
    assert "best" in (rows["twin"][7] + rows["slow"][7])


def test_jobs_of_one_name_are_told_apart_by_their_time(store: Store, page_of: Draw) -> None:
    finish(store, race("first", AT - DAY, riders=CLEAR))
    finish(store, race("second", AT, riders=CLEAR))
    (new, *_), (old, *_) = table_of(page_of("board", name="digits"), "Jobs of digits")
    assert new == f"digits {AT:%Y-%m-%d %H:%M} UTC"
    assert old == f"digits {AT - DAY:%Y-%m-%d %H:%M} UTC"


def test_the_export_holds_what_is_chosen(store: Store, page_of: Draw) -> None:
    finish(store, race("done", AT, riders=CLEAR))
    app = page_of("board", name="digits", filter="params < 5e4", cols="model")
    assert not app.download_button
    app.session_state["export-tools"] = True
    app.run()
    assert [button.label for button in app.download_button] == ["CSV", "JSON", "Markdown for a pull request"]
    assert "The 2 entries that are chosen here" in text_of(app)


def test_entries_are_compared_side_by_side(store: Store, page_of: Draw) -> None:
    finish(store, race("done", AT, riders=CLEAR))
    app = page_of("compare", board="digits", entry=["quick", "slow"])
    (pair,) = table_of(app, "Differences by accuracy")
    assert pair[0] == "quick − slow"
    assert pair[2] == "slow is better"
    assert table_of(app, "Parameters that differ") == [["model", "velodrome/mlp", "velodrome/lstm"]]
    assert len(table_of(app, "Recognised samples of each class")) == 10
    assert "Machine, software and granted resources are the same." in text_of(app)
    app.multiselect[0].set_value(["quick", "slow", "middle"]).run()
    assert app.query_params["entry"] == ["quick", "slow", "middle"]
    assert len(table_of(app, "Differences by accuracy")) == 3
    lost = page_of("compare", board="digits", entry=["quick", "gone"])
    assert "There is no gone" in text_of(lost)
    assert "There is no such board" in text_of(page_of("compare", board="gone"))


def test_an_entry_has_its_places_jobs_parameters_and_times(store: Store, page_of: Draw) -> None:
    finish(store, race("first", AT - DAY, riders=CLEAR))
    finish(store, race("second", AT, riders=CLEAR))
    board = page_of("board", name="digits")
    assert "entry?board=digits&name=slow" in links_of(board)
    app = page_of("entry", board="digits", name="slow")
    assert [row[1] for row in table_of(app, "Where slow stands")] == ["1", "3", "3"]
    assert len(table_of(app, "Jobs of slow")) == 2
    page = text_of(app)
    for words in ("optimizer.learningRate 0.003", "model velodrome/lstm", "training", "waiting for its turn 0.4 s"):
        assert words in page
    assert "Did you mean slow ?" in text_of(page_of("entry", board="digits", name="slwo"))


def test_an_entrys_job_says_what_to_run_again(store: Store, page_of: Draw) -> None:
    finish(store, race("done", AT, riders=CLEAR))
    page = text_of(page_of("job", uid="done", entry="slow"))
    assert "seeds 0-4" in page
    assert "data digits sha256:5a5a" in page
    assert "own code none" in page


@pytest.mark.parametrize("page", ["compare", "entry"])
def test_a_board_that_is_not_shown_has_no_entries(
    store: Store, page_of: Draw, monkeypatch: pytest.MonkeyPatch, page: str
) -> None:
    finish(store, race("done", AT, riders=CLEAR, board="secret"))
    monkeypatch.setenv("VELODROME_BOARDS", "public*")
    name = {"compare": "entry", "entry": "name"}[page]
    assert "velodrome/lstm" not in text_of(page_of(page, board="secret", **{name: "slow"}))

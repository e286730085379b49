"""The tab that compares two entries sample by sample, drawn by Streamlit's own test runner and in a real Chromium."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from playwright.sync_api import Page, expect
from streamlit.testing.v1 import AppTest

from tests.integration.leaderboard.test_leaderboard_pages import table_of, text_of
from tests.scored import scored
from tools.sample_results import DIGITS_FACTS, Race, accept, race
from velodrome import keys
from velodrome.store import Store

Draw = Callable[..., AppTest]

expect.set_options(timeout=60_000)  # only a page that never gets there waits that long

AT = datetime.now(UTC) - timedelta(minutes=10)
SAMPLES = 60
WRONG = {"cnn": range(3), "cnn-l1": range(5, 7), "mlp": range(2, 40), "lstm": range(9), "gru": range(9)}


def fill(store: Store, made: Race, classes: Sequence[str] = tuple("0123456789")) -> None:
    """Results whose entries got these samples wrong, and one more that each repeat adds."""
    store.register(made.info)
    facts = DIGITS_FACTS.model_copy(update={"classes": tuple(classes)})
    records = []
    for trial in made.trials:
        record = made.record(trial)
        record = record.model_copy(update={"result": record.result.model_copy(update={"dataset": facts})})
        right = [at not in WRONG[trial.entry] and at != 50 + trial.repeat for at in range(SAMPLES)]
        records.append(scored(record, right))
    accept(store, made, records)


def chart_of(app: AppTest) -> list[dict[str, Any]]:
    """The data of the chart of classes."""
    protos: list[Any] = [getattr(element, "proto", None) for element in app]
    (found,) = [proto for proto in protos if hasattr(proto, "datasets") and "one is better" in proto.spec]
    return list(pa.ipc.open_stream(found.datasets[0].data.data).read_all().to_pylist())


def test_the_tab_answers_three_questions_and_lists_what_is_lost(store: Store, page_of: Draw) -> None:
    fill(store, race("done", AT))
    app = page_of("board", name="digits", objective="Samples", a="cnn", b="mlp")
    shown = text_of(app)
    assert "mlp is right less often than cnn on 37 samples, more often on 2, and equal on 21." in shown
    assert "cnn 93.33 %, 5 seeds" in shown
    questions = table_of(app, "Three questions")
    assert [row[0].split(",")[0] for row in questions] == ["These trained weights (5 of cnn", *["These recipes"] * 2]
    assert all("cnn is better, by 58.33 points" in row[1] for row in questions)
    lost = table_of(app, "Samples that are lost")
    assert len(lost) == 25
    assert lost[0] == ["3", "3", "5 of 5", "0 of 5"]
    second = table_of(
        page_of("board", name="digits", objective="Samples", a="cnn", b="mlp", lost="2"), "Samples that are lost"
    )
    assert len(second) == 12


def test_the_chart_has_what_each_side_wins_of_each_class(store: Store, page_of: Draw) -> None:
    fill(store, race("done", AT))
    rows = chart_of(page_of("board", name="digits", objective="Samples", a="cnn", b="mlp"))
    assert sum(row["count"] for row in rows if row["side"].startswith("cnn ")) == 37
    assert sum(row["count"] for row in rows if row["side"].startswith("mlp ")) == 2
    assert all((row["samples"] > 0) == row["side"].startswith("cnn ") for row in rows if row["count"])
    assert {row["of"] for row in rows} == {6}


def test_the_same_entry_twice_and_an_unknown_one(store: Store, page_of: Draw) -> None:
    fill(store, race("done", AT))
    assert "Choose two entries." in text_of(page_of("board", name="digits", objective="Samples", a="mlp", b="mlp"))
    odd = page_of("board", name="digits", objective="Samples", a="<b>", b="mlp")
    assert "mlp is right less often than cnn on 37 samples" in text_of(odd)


def test_a_board_that_kept_nothing_has_no_such_tab(store: Store, page_of: Draw) -> None:
    made = race("done", AT)
    store.register(made.info)
    accept(store, made, [made.record(trial) for trial in made.trials])
    app = page_of("board", name="digits", objective="Samples")
    assert "Samples" not in [tab.label for tab in app.tabs]


def test_an_entry_without_scores_is_told_and_nothing_breaks(store: Store, page_of: Draw, redis_server: Any) -> None:
    made = race("done", AT)
    fill(store, made)
    with redis_server.client() as client:
        key = keys.job("done", "scores")
        for repeat in range(5):
            index = repeat * len(made.info.entries) + list(made.info.entries).index("mlp")
            stored = json.loads(client.hget(key, str(index)))
            client.hset(key, str(index), json.dumps({**stored, "right": "AAAA"}))
    app = page_of("board", name="digits", objective="Samples", a="cnn", b="mlp")
    assert "can't be compared sample by sample" in text_of(app)


def test_hostile_names_of_classes_are_shown_as_text(store: Store, page_of: Draw) -> None:
    fill(store, race("done", AT), ["<script>alert(1)</script>", "same\n", "same\n", *"3456789"])
    app = page_of("board", name="digits", objective="Samples", a="cnn", b="mlp")
    assert "<script>" not in "".join(str(getattr(element, "proto", "")) for element in app if element.type == "html")
    rows = chart_of(app)
    assert len({row["class"] for row in rows}) == 10
    assert {"same\\n", "same\\n (2)"} <= {row["class"] for row in rows}


@pytest.mark.browser
def test_a_person_chooses_two_entries_and_sees_the_samples(
    store: Store, redis_server: Any, serve: Callable[[str], str], tab: Page
) -> None:
    fill(store, race("done", AT))
    tab.goto(f"{serve(redis_server.url)}/board?name=digits&objective=Samples&a=cnn&b=mlp")
    expect(tab.get_by_text("mlp is right less often than cnn on 37 samples")).to_be_visible()
    expect(tab.get_by_role("table", name="Samples that are lost")).to_be_visible()
    expect(tab.get_by_role("heading", name="By class")).to_be_visible()
    tab.get_by_role("combobox", name="that this one loses").click()
    tab.get_by_role("option", name="cnn-l1").click()
    expect(tab.get_by_text("cnn-l1 is right less often than cnn on 2 samples")).to_be_visible()

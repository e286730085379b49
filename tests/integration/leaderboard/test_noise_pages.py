"""The noise floor of a board and the profile of an entry, as their pages show them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

from streamlit.testing.v1 import AppTest

from tools.sample_results import DIGITS, finish, race
from velodrome.store import Store

Draw = Callable[..., AppTest]

AT = datetime.now(UTC) - timedelta(days=30)
TWINS = {"left": DIGITS["mlp"], "right": DIGITS["mlp"], "cnn": DIGITS["cnn"]}


def text_of(app: AppTest) -> str:
    bare = (re.sub(r"<[^>]*>", " ", html.body) for html in app.html)
    return re.sub(r"\s+", " ", unescape(" ".join(bare)))


def charts_of(app: AppTest) -> list[Any]:
    """What the browser is given for each chart."""
    return [element.proto for element in app.main if element.type == "vega_lite_chart"] or [
        element.proto for element in app.get("arrow_vega_lite_chart")
    ]


def nights(store: Store, count: int) -> None:
    for number in range(count):
        made = race(f"job-{number}", AT + timedelta(days=number), name=f"n-{number}", board="digits", riders=TWINS)
        finish(store, made)


def test_a_board_shows_its_noise_floor_with_a_chart_and_its_words(store: Store, page_of: Draw) -> None:
    nights(store, 8)
    app = page_of("board", name="digits", objective="Noise floor", noise="speed")
    page = text_of(app)
    assert "8 A/A comparisons of two names in one job" in page
    assert "14 A/A comparisons of two jobs" in page
    assert re.search(r"Objective Over seeds Between jobs Called different in one job Called different two jobs", page)
    assert "5 and 10 seeds" in page
    assert re.search(r"speed \d\S* % \(\S+ to \S+ %\)", page)
    (chart,) = charts_of(app)
    assert "14 A/A differences of speed between two jobs: half are" in str(chart)
    spec = json.loads(chart.spec)
    assert [layer["mark"]["type"] for layer in spec["layer"]] == ["rect", "rule"]


def test_a_board_of_one_job_says_what_is_missing(store: Store, page_of: Draw) -> None:
    finish(store, race("alone", AT, name="digits", riders={"mlp": DIGITS["mlp"]}))
    app = page_of("board", name="digits", objective="Noise floor")
    assert "No entry was measured twice under these conditions" in text_of(app)
    assert charts_of(app) == []


def boards(store: Store) -> None:
    for board, less in (("easy", 0.0), ("hard", 0.2)):
        riders = {name: replace(rider, accuracy=rider.accuracy - less) for name, rider in DIGITS.items()}
        finish(store, race(board, AT, name=board, riders=riders))
    finish(store, race("small", AT, name="small", riders={"mlp": DIGITS["mlp"]}))


def test_a_profile_compares_an_entry_over_the_boards_of_its_address(store: Store, page_of: Draw) -> None:
    boards(store)
    app = page_of("profile", entry="cnn", boards=["easy", "hard"], objective="accuracy")
    page = text_of(app)
    assert "Score: the value itself." in page
    assert "A run of cnn is probably better than one of" in page
    assert "5 + 5" in page
    assert "The profile is incomplete." not in page
    (chart,) = charts_of(app)
    assert "Share of runs above each score, of cnn and 4 others" in str(chart)
    spec = json.loads(chart.spec)
    assert [layer["mark"]["type"] for layer in spec["layer"]] == ["area", "line"]


def test_a_profile_says_which_boards_are_missing_and_what_makes_scores(store: Store, page_of: Draw) -> None:
    boards(store)
    page = text_of(page_of("profile", entry="cnn", boards=["easy", "small", "gone"], objective="accuracy"))
    assert "The profile is incomplete." in page
    assert "1 of 3 declared boards count." in page
    assert "small does not count: nothing ranked there is, or has, the name cnn." in page
    assert "gone does not count: no job has reported to it." in page
    plain = text_of(page_of("profile", entry="cnn", boards=["easy", "hard"], objective="speed"))
    assert "These values are no scores yet." in plain
    relative = page_of("profile", entry="cnn", boards=["easy", "hard"], objective="speed", reference="mlp")
    assert "mean divided by the value of mlp" in text_of(relative)


def test_a_profile_without_a_name_is_that_of_the_first_entry(store: Store, page_of: Draw) -> None:
    assert "Nothing is ranked on these boards yet." in text_of(page_of("profile"))
    boards(store)
    app = page_of("profile", boards=["easy", "hard"])
    assert "cnn · over several boards" in text_of(app)
    entry, objective, score = app.selectbox
    assert entry.options == sorted(DIGITS)
    assert score.options[0] == "the value itself"
    entry.select("gru").run()
    assert app.query_params["entry"] == "gru"
    assert "gru · over several boards" in text_of(app)
    objective.select("speed").run()
    assert "These values are no scores yet." in text_of(app)
    app.selectbox[2].select("mlp").run()
    assert app.query_params["reference"] == "mlp"
    assert "of mlp, both of the same board" in text_of(app)


def test_a_history_leads_to_the_profile(store: Store, page_of: Draw) -> None:
    nights(store, 2)
    app = page_of("history", board="digits", entry="cnn", objective="speed")
    links = [unescape(href) for html in app.html for href in re.findall(r'href="([^"]*)"', html.body)]
    assert "profile?entry=cnn&boards=digits&objective=speed" in links

"""The page of a search, as Streamlit draws it and in a browser."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tools.sample_search import AT, DROPOUT, OPTIMIZER, document, searched
from velodrome.plan import plan
from velodrome.results.registration import job_info
from velodrome.spec import validate

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from streamlit.testing.v1 import AppTest

    from velodrome.store import Store

    RedisServer = Any


def text_of(app: AppTest) -> str:
    return "\n".join(str(element.proto) for element in app.main)


def charts_of(app: AppTest) -> list[Any]:
    return [json.loads(one.proto.spec) for one in app.get("vega_lite_chart")]


def test_a_search_is_shown_with_its_trials(page_of: Callable[..., AppTest], store: Store) -> None:
    searched(store)
    page = page_of("search", uid="tuning")
    text = text_of(page)
    for words in (
        "Search of tuning", "Not every entry was tuned", "24 of 24", "OutOfMemory", "It took net 24 trials",
        "PED-ANOVA", "random search is expected", "Selected", "Confirmed", "Gap",
    ):  # fmt: skip
        assert words in text, words
    assert [one.value for one in page.header] == [
        "Best so far", "Parameters and values", "Importance", "Values over learningRate",
        "learningRate and dropout together", "Epochs",
    ]  # fmt: skip
    assert len(charts_of(page)) == 6
    other = page_of("search", uid="tuning", across=OPTIMIZER, up=DROPOUT)
    assert "optimizer and dropout together" in [one.value for one in other.header]
    assert "see the search" in text_of(page_of("job", uid="tuning"))


def test_several_objectives_have_a_front(page_of: Callable[..., AppTest], store: Store) -> None:
    searched(store, objectives=[{"metric": "validation_loss"}, {"metric": "parameters"}])
    page = page_of("search", uid="tuning")
    assert "Front" in [one.value for one in page.header]
    assert "No other trial beats these in all objectives" in text_of(page)


def test_a_search_that_has_just_begun_and_a_job_without_one(page_of: Callable[..., AppTest], store: Store) -> None:
    base = plan(validate({**document(), "spec": {**document()["spec"], "entries": document()["spec"]["entries"][:1]}}))
    info = job_info(base, "begun", AT)
    store.register(info)
    assert "No trial has a value yet" in text_of(page_of("search", uid="begun"))
    bare = document()
    del bare["spec"]["search"]
    bare["spec"]["entries"] = bare["spec"]["entries"][:1]
    store.register(job_info(plan(validate(bare)), "bare", AT))
    assert "This job has no search" in text_of(page_of("search", uid="bare"))
    assert "see the search" not in text_of(page_of("job", uid="bare"))
    assert "There is no such job" in text_of(page_of("search", uid="nobody"))


@pytest.mark.timeout(300)
def test_a_browser_draws_each_chart(
    serve: Callable[[str], str], redis_server: RedisServer, tab: Page, store: Store, tmp_path: Path
) -> None:
    searched(store)
    page = tab
    page.set_viewport_size({"width": 1400, "height": 3400})
    page.goto(f"{serve(redis_server.url)}/search?uid=tuning")
    page.wait_for_selector("text=Epochs")
    page.wait_for_function("document.querySelectorAll('.vega-embed canvas, .vega-embed svg').length >= 6")
    page.screenshot(path=tmp_path / "search.png", full_page=True)
    assert page.locator("text=Not every entry was tuned").count() == 1

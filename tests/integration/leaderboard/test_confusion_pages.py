"""The confusion matrix of a run and of an entry, drawn by Streamlit's own test runner and in a real Chromium."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from playwright.sync_api import Page, expect
from streamlit.testing.v1 import AppTest

from tests.integration.leaderboard.test_leaderboard_pages import table_of, text_of
from tools.sample_results import DIGITS_FACTS, Race, accept, finish, race
from tools.screenshot import settle
from velodrome import keys
from velodrome.results.confusion import confusion_of
from velodrome.results.records import TrialRecord
from velodrome.store import Store

Draw = Callable[..., AppTest]

expect.set_options(timeout=60_000)  # only a page that never gets there waits that long

AT = datetime.now(UTC) - timedelta(minutes=10)


def maps(app: AppTest) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """The specification of each confusion map on the page, and its cells."""
    protos: list[Any] = [getattr(element, "proto", None) for element in app]
    for proto in (proto for proto in protos if hasattr(proto, "datasets")):
        if "predicted class" in proto.spec:
            yield json.loads(proto.spec), pa.ipc.open_stream(proto.datasets[0].data.data).read_all().to_pylist()


def of_classes(made: Race, size: int, names: Callable[[int], str] = "class-{}".format) -> list[TrialRecord]:
    """Results of the first entry, with a matrix of so many classes: of each, 8 samples are right and 2 are not."""
    rows = tuple(tuple(8 * (c == r) + 2 * (c == (r + 1) % size) for c in range(size)) for r in range(size))
    facts = DIGITS_FACTS.model_copy(update={"classes": tuple(map(names, range(size)))})
    records = [made.record(trial) for trial in made.trials if trial.entry == made.info.entries[0]]
    update = {"confusion": rows, "dataset": facts}
    return [one.model_copy(update={"result": one.result.model_copy(update=update)}) for one in records]


def test_an_entrys_map_has_the_sum_over_its_seeds(store: Store, page_of: Draw) -> None:
    made = race("done", AT)
    finish(store, made)
    app = page_of("job", uid="done", entry="gru")
    assert "1,800 test samples over 5 seeds" in text_of(app)
    ((spec, cells),) = maps(app)
    found = confusion_of(one for one in store.records("done") if one.result.entry == "gru")
    assert found is not None
    assert [cell["count"] for cell in cells] == [count for row in found.counts for count in row]
    assert [cell["share"] for cell in cells] == pytest.approx([pair.share for pair in found.pairs])
    assert [layer["mark"]["type"] for layer in spec["layer"]] == ["rect", "text"]
    assert not list(maps(page_of("job", uid="done")))


def test_a_runs_map_has_its_own_samples_and_a_failed_run_has_none(store: Store, page_of: Draw) -> None:
    made = race("done", AT)
    finish(store, made, {"gru": ("LossNotFinite", "nan")})
    index = made.info.entries.index("gru")
    app = page_of("run", job="done", trial=str(index))
    assert "360 test samples: each row" in text_of(app)
    assert len(list(maps(app))) == 1
    assert not list(maps(page_of("run", job="done", trial=str(index + len(made.info.entries)))))


@pytest.mark.parametrize(("size", "marks", "tables"), [(12, 2, 0), (13, 1, 0), (30, 1, 0), (31, 1, 1), (100, 1, 1)])
def test_many_classes_have_no_text_and_then_a_table(
    store: Store, page_of: Draw, size: int, marks: int, tables: int
) -> None:
    made = race("done", AT)
    store.register(made.info)
    accept(store, made, of_classes(made, size))
    app = page_of("job", uid="done", entry=made.info.entries[0])
    ((spec, cells),) = maps(app)
    assert len(cells) == size**2
    assert len(spec["layer"]) == marks
    assert ("Right class" in text_of(app)) == bool(tables)
    if tables:
        rows = table_of(app, "Most confused classes")
        assert rows[0] == ["class-0", "class-1", "10", "20.0 %"]
        assert len(rows) == 20


def test_classes_of_one_name_keep_their_cells(store: Store, page_of: Draw) -> None:
    made = race("done", AT)
    store.register(made.info)
    accept(store, made, of_classes(made, 3, lambda _: "same\n<b>"))
    ((_, cells),) = maps(page_of("job", uid="done", entry=made.info.entries[0]))
    assert len({(cell["right"], cell["predicted"]) for cell in cells}) == 9
    assert "same\\n<b>" in {cell["right"] for cell in cells}


@pytest.mark.parametrize("bad", [[[float("nan")]], [["many"]], {"0": 1}, "0", [[0.5]], [[1e400]]])
def test_a_stored_matrix_that_is_none_breaks_no_page(
    store: Store, redis_server: Any, page_of: Draw, bad: object
) -> None:
    made = race("done", AT)
    finish(store, made)
    key = keys.job("done", "records")
    with redis_server.client() as client:
        document = json.loads(client.hget(key, "0"))
        document["result"]["confusion"] = bad
        client.hset(key, "0", json.dumps(document))
    for page, query in (
        ("run", {"job": "done", "trial": "0"}),
        ("job", {"uid": "done", "entry": made.trials[0].entry}),
    ):
        page_of(page, **query)


@pytest.mark.browser
def test_a_person_sees_the_map_and_what_a_cell_counts(tab: Page, filled: str) -> None:
    tab.goto(f"{filled}/job?uid=sample-digits&entry=gru")
    expect(tab.get_by_role("heading", name="Confusion")).to_be_visible()
    settle(tab)
    chart = tab.locator("[data-testid=stVegaLiteChart]")
    drawn = chart.locator("canvas, svg").first
    expect(drawn).to_be_visible()
    box = drawn.bounding_box()
    assert box is not None
    assert min(box["width"], box["height"]) > 400
    drawn.scroll_into_view_if_needed()
    drawn.hover(position={"x": box["width"] / 2, "y": box["height"] / 2})
    expect(tab.locator("#vg-tooltip-element")).to_contain_text(
        re.compile(r"right class.*predicted class.*samples", re.DOTALL)
    )

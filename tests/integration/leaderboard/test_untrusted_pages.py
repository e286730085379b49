"""Pages over results whose every text is hostile: what Streamlit is given to draw, and what people take away."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any
from unittest.mock import patch

import pytest
import yaml
from streamlit.testing.v1 import AppTest

from tools.sample_results import CLEAR, DIGITS_FACTS, Race, accept, finish, race
from velodrome.results.records import TrialRecord
from velodrome.store import Store
from velodrome_leaderboard.documents import job_yaml, trials_csv

AT = datetime.now(UTC) - timedelta(minutes=10)
HOSTILE = (
    "\x1b]0;owned\x07\x9b2J\x00\u202egnp\u2066\u200b\U000e0041<img src=//evil.example/x.png onerror=alert(1)>"
    "![t](http://evil.example/t.png) [c](javascript:alert(1)) :material/delete: :red[x] $e^x$ `c` \"'&lt;"
)
FORBIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff"
    "\U000e0000-\U000e0fff]"
)


def hostile(record: TrialRecord, entry: str) -> TrialRecord:
    result = record.result.model_copy(
        update={
            "entry": entry,
            "log_tail": HOSTILE if record.result.log_tail else None,
            "unavailable": {"energy_joules": HOSTILE},
            "dataset": DIGITS_FACTS.model_copy(update={"classes": tuple(f"{HOSTILE}{label}" for label in range(10))}),
            "attempt": f"{HOSTILE}{record.result.attempt}",
        }
    )
    observed = record.observed.model_copy(update={"node": HOSTILE, "pod": HOSTILE})
    return record.model_copy(update={"result": result, "observed": observed})


@pytest.fixture
def made(store: Store) -> Race:
    """A race in which everything that a stranger can write is hostile; `middle` fails now and then."""
    plain = race("hostile", AT, riders=CLEAR, board="digits")
    names = {entry: f"{entry}{HOSTILE}" for entry in CLEAR}
    spec: dict[str, Any] = {**plain.info.document["spec"]}
    spec["entries"] = [{**entry, "name": names[entry["name"]]} for entry in spec["entries"]]
    spec["objectives"] = [{**one, "name": f"{one['name']}{HOSTILE}"} for one in spec["objectives"]]
    document = {**plain.info.document, "spec": spec}
    info = plain.info.model_copy(update={"name": HOSTILE, "entries": tuple(names.values()), "document": document})
    made = Race(plain.plan, info, plain.riders)
    with patch("velodrome.store.encoding.check_names"):  # as a store that let it in has it
        store.register(info)
    records = [
        made.record(trial, ("LossNotFinite", HOSTILE) if trial.entry == "middle" and trial.repeat % 2 else None)
        for trial in made.trials
    ]
    accept(store, made, [hostile(record, names[record.result.entry]) for record in records])
    accept(store, made, [hostile(made.record(made.trials[0], attempt="another"), names[made.trials[0].entry])])
    return made


class Tags(HTMLParser):
    """The tags of some HTML, and where they lead."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attributes if name in ("href", "src")]
        assert not [name for name, _ in attributes if name.startswith("on")]


def strings(value: Any) -> Iterator[str]:
    """Everything that is text in a message of Streamlit's to the browser."""
    for field, content in value.ListFields():
        several = content if hasattr(content, "__len__") and not isinstance(content, str | bytes) else [content]
        for one in several.values() if hasattr(several, "values") else several:
            if isinstance(one, str):
                yield one
            elif hasattr(one, "ListFields") and field.name != "arrow":
                yield from strings(one)


PAGES: list[tuple[str, dict[str, str]]] = [
    ("boards", {}),
    ("board", {"name": "digits"}),
    ("job", {"uid": "hostile"}),
    ("job", {"uid": "hostile", "entry": f"slow{HOSTILE}"}),
    ("run", {"job": "hostile", "trial": "0"}),
    ("run", {"job": "hostile", "trial": "5"}),
    ("history", {"board": "digits", "entry": f"slow{HOSTILE}", "objective": f"accuracy{HOSTILE}"}),
    ("board", {"name": "digits", "objective": "Noise floor"}),
    ("profile", {"entry": f"slow{HOSTILE}", "boards": "digits", "objective": f"accuracy{HOSTILE}"}),
    ("profile", {"entry": HOSTILE, "boards": HOSTILE, "reference": HOSTILE}),
    ("job", {"uid": HOSTILE}),
    ("board", {"name": HOSTILE}),
    ("run", {"job": "hostile", "trial": HOSTILE}),
]


@pytest.mark.parametrize(("name", "query"), PAGES, ids=[f"{name}-{place}" for place, (name, _) in enumerate(PAGES)])
def test_a_page_of_hostile_results_is_text(
    made: Race, page_of: Callable[..., AppTest], name: str, query: dict[str, str]
) -> None:
    app = page_of(name, **query)
    elements = [element for element in app if getattr(element, "proto", None) is not None]
    shown = [text for element in elements for text in strings(element.proto)]
    assert len(shown) >= len(app.html) > 0
    assert not [ascii(text[:200]) for text in shown if FORBIDDEN.search(text.replace("\u2007", " "))]
    assert any("\\x1b]0;owned\\x07" in text for text in shown) or name == "boards"
    for html in app.html:
        tags = Tags(html.body)
        assert not set(tags.tags) & {"img", "script", "iframe", "object", "link", "form"}
        assert not [link for link in tags.links if ":" in link.split("?")[0]]


def test_labels_that_streamlit_reads_as_markdown_show_as_they_are(made: Race, page_of: Callable[..., AppTest]) -> None:
    labels = [tab.label for tab in page_of("board", name="digits").tabs]
    assert any("owned" in label for label in labels)
    assert not [label for label in labels if re.search(r"(?<!\\)[\[`$:<]", label)]


def test_what_is_taken_away_holds_no_formula_and_no_hidden_character(made: Race, store: Store) -> None:
    records = [*store.records(made.info.uid)]
    bad = records[0].result.model_copy(update={"entry": "=HYPERLINK(1)", "metrics": {"accuracy": -0.5}})
    text = trials_csv([records[0].model_copy(update={"result": bad}), *records])
    assert not FORBIDDEN.search(text.replace("\r\n", "\n"))
    first = next(csv.DictReader(io.StringIO(text)))
    assert (first["entry"], first["accuracy"]) == ("'=HYPERLINK(1)", "-0.5")
    written = job_yaml(made.info)
    assert not FORBIDDEN.search(written)
    assert yaml.safe_load(written)["spec"]["entries"][0]["name"] == made.info.entries[0]


def test_an_ordinary_file_keeps_its_letters(store: Store) -> None:
    plain = race("plain", AT, riders=CLEAR)
    finish(store, plain)
    info = plain.info.model_copy(update={"document": {"metadata": {"name": "Größe 損失"}, "spec": {}}})
    assert "Größe 損失" in job_yaml(info)

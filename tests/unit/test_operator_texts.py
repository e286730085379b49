"""What strangers' words become in a status, an Event and the labels of metrics."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import Metric

from velodrome.monitoring import telemetry
from velodrome.monitoring.series import Series, metrics
from velodrome.plan import plan
from velodrome.spec import read_jobs
from velodrome_operator import texts
from velodrome_operator.observation import PodFacts
from velodrome_operator.outcome import Ending
from velodrome_operator.pass_input import Observation
from velodrome_operator.regressed import Regressed
from velodrome_operator.status import judged, news, refused, status

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOSTILE = "\x1b]0;owned\x07\x1b[2J\x00\u202egnp.exe\u2066\r\x9b31m\ud800"
FORBIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
LONG = f"{HOSTILE}{'é' * 100_000}"
(JOB,) = read_jobs(Path(__file__).parents[2] / "deploy/examples/digits.yaml")


def strings(value: Any) -> list[str]:
    """All strings in a document."""
    if isinstance(value, dict):
        return [found for item in value.values() for found in strings(item)]
    if isinstance(value, list):
        return [found for item in value for found in strings(item)]
    return [value] if isinstance(value, str) else []


def _seen(**changes: Any) -> Observation:
    seen = Observation(plan(JOB), "uid", 3, suspended=False, jobs={}, pods=(), finished={}, status={}, now=NOW)
    return replace(seen, **changes)


STATUSES = {
    "pod": status(_seen(pods=(PodFacts("p", "u", "j", 0, NOW, "Pending", trouble=LONG),)), None, [], None),
    "store": status(_seen(trouble=LONG), None, [], None),
    "refused": status(_seen(refused={"digits-0": LONG}), None, [], None),
    "verdict": status(_seen(), Ending("Failed", "TooManyFailedTrials", LONG), [], None),
    "invalid": refused(1, "InvalidSpec", LONG, {}, NOW),
    "regressed": judged({"conditions": []}, Regressed("True", "SignificantlyWorse", LONG), 1, NOW),
}


@pytest.mark.parametrize("which", STATUSES)
def test_a_status_holds_nothing_harmful_and_fits(which: str) -> None:
    found = STATUSES[which]
    assert not [text for text in strings(found) if FORBIDDEN.search(text)]
    assert any("\\x1b]0;owned" in text for text in strings(found))
    assert all(len(text) <= 32_768 for text in strings(found))
    assert len(found.get("message", "")) <= 4096


def test_the_same_trouble_makes_the_same_status() -> None:
    """Otherwise each pass would write it again."""
    once = status(_seen(trouble=LONG), None, [], None)
    assert status(_seen(trouble=LONG, status=once), None, [], None) == once


def test_an_events_note_fits_in_bytes() -> None:
    (item,) = [one for one in news({}, STATUSES["verdict"]) if one.reason == "TooManyFailedTrials"]
    reported = texts.note(item.message)
    assert len(reported.encode()) <= 1024
    assert reported.endswith("…")
    assert not FORBIDDEN.search(reported)


def test_ordinary_words_stay() -> None:
    words = "2 of 25 trials failed; cnn/0 Verlust: größer als 1 µs, 損失"
    assert {texts.condition(words), texts.summary(words), texts.note(words), texts.phrase(words)} == {words}


def test_labels_are_harmless_and_two_that_look_alike_do_not_end_the_scrape() -> None:
    names = [HOSTILE, HOSTILE, "x" * 5000, "x" * 5001, "plain"]
    rows = [
        Series(telemetry.TRIALS, dict.fromkeys(telemetry.TRIALS.labels, name), float(place))
        for place, name in enumerate(names)
    ]
    (metric,) = metrics(Metric, [telemetry.TRIALS], rows)
    labels = [tuple(sample.labels.values()) for sample in metric.samples]
    assert len(labels) == len(set(labels)) == 3
    assert not [value for one in labels for value in one if FORBIDDEN.search(value)]
    assert [sample.value for sample in metric.samples] == [0.0, 2.0, 4.0]

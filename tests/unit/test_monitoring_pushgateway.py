"""Which groups of a Pushgateway are stale."""

from __future__ import annotations

import math
from typing import Any

import pytest

from velodrome.monitoring.pushgateway import (
    SILENT_SECONDS,
    YOUNG_SECONDS,
    Group,
    RunningTrials,
    grouping,
    groups,
    stale,
)
from velodrome.monitoring.telemetry import GROUPING, PUSH_JOB

NOW = 1_000_000.0
OLD = NOW - 2 * YOUNG_SECONDS


def group(entry: str = "a", repeat: int = 0, *, namespace: str = "ns", job: str = "race", at: float = OLD) -> Group:
    labels = {"job": PUSH_JOB, **grouping(namespace, job, entry, repeat)}
    return Group(tuple(sorted(labels.items())), at)


def listed(labels: dict[str, str], at: str | None = "1.5e+09") -> dict[str, Any]:
    """A group as the API of a Pushgateway 1.5 lists it."""
    item: dict[str, Any] = {"labels": labels, "last_push_successful": True}
    if at is not None:
        item["push_time_seconds"] = {"type": "GAUGE", "metrics": [{"labels": labels, "value": at}]}
    return item


def test_a_grouping_key_names_a_trial() -> None:
    assert tuple(grouping("ns", "race", "a", 3)) == GROUPING
    assert group("a", 3).trial == ("ns", "race", "a", "3")


def test_groups_of_others_are_not_even_read() -> None:
    ours = {"job": PUSH_JOB, **grouping("ns", "race", "a", 0)}
    (found,) = groups({"data": [listed({"job": "backup"}), listed(ours), listed({"instance": "x"})]})
    assert (found.trial, found.pushed_at) == (("ns", "race", "a", "0"), 1.5e9)


def test_a_key_that_is_no_trials_is_ours_and_of_no_trial() -> None:
    extra = {"job": PUSH_JOB, **grouping("ns", "race", "a", 0), "pod": "x"}
    found = groups({"data": [listed({"job": PUSH_JOB}), listed(extra, at=None)]})
    assert [(each.trial, each.pushed_at) for each in found] == [(None, 1.5e9), (None, 0.0)]


@pytest.mark.parametrize(
    "answer",
    [[], {}, None, {"data": 3}, {"data": ["x"]}, {"data": [listed({"job": PUSH_JOB}, at="soon")]}, {"data": [{}]}],
)
def test_an_answer_of_something_else_is_reported(answer: object) -> None:
    with pytest.raises(ValueError, match="not a Pushgateway's"):
        groups(answer)


def test_paths_take_any_value_and_begin_with_the_job() -> None:
    # The gateway wants `=` for an empty value, and the job first.
    found = Group((("entry", "a/b ü"), ("job", PUSH_JOB), ("repeat", "")))
    assert found.path == "/metrics/job@base64/dmVsb2Ryb21lX3RyaWFs/entry@base64/YS9iIMO8/repeat@base64/="


def test_what_runs_stays_and_what_ran_goes() -> None:
    running = RunningTrials({("ns", "race", "a", "0")})
    found = [group("a", 0), group("a", 1), group("b", 0), group("a", 0, job="other"), group("a", 0, namespace="other")]
    cleaning = stale(found, running, NOW)
    assert cleaning.delete == found[1:]
    assert cleaning.again is None


def test_while_a_jobs_trials_are_not_known_all_of_its_groups_stay() -> None:
    cleaning = stale([group("a"), group("a", job="other")], RunningTrials(jobs={("ns", "race")}), NOW)
    assert cleaning.delete == [group("a", job="other")]


def test_a_group_that_was_just_pushed_stays_until_its_pod_must_have_been_seen() -> None:
    young, younger = group("a", at=NOW - YOUNG_SECONDS + 3), group("b", at=NOW + 1)
    cleaning = stale([young, younger], RunningTrials(), NOW)
    assert cleaning.delete == []
    assert cleaning.again == pytest.approx(3)
    assert stale([young, younger], RunningTrials(), NOW + 3).delete == [young]


def test_a_running_trial_that_fell_silent_is_shown_no_more() -> None:
    running = RunningTrials({("ns", "race", "a", "0")})
    assert stale([group(at=NOW - SILENT_SECONDS + 1)], running, NOW).delete == []
    assert stale([group(at=NOW - SILENT_SECONDS)], running, NOW).delete == [group(at=NOW - SILENT_SECONDS)]


def test_namespaces_that_others_watch_are_left_alone() -> None:
    forged = Group((("job", PUSH_JOB),))
    found = [group(namespace="ours"), group(namespace="theirs"), forged]
    assert stale(found, RunningTrials(), NOW, namespaces={"ours"}).delete == [found[0]]
    assert stale(found, RunningTrials(), NOW, namespaces={"ours", "theirs"}).delete == found[:2]
    assert stale(found, RunningTrials(), NOW).delete == found, "nobody else watches the whole cluster"


@pytest.mark.parametrize("at", [0.0, -1.0, NOW + 3600, math.nan, math.inf, -math.inf])
def test_no_time_that_a_gateway_may_report_keeps_what_is_stale(at: float) -> None:
    assert [each.labels for each in stale([group(at=at)], RunningTrials(), NOW).delete] == [group().labels]

"""Reports that no honest runner sends, sent by the user that a race's own runners are: the race ends undisturbed.

Each is sent while the race is suspended after its first result, so that it is open and nothing else happens.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis

from tests.e2e.conftest import Kube, race, uid_of
from tests.e2e.faults import administrator, as_a_runner, ends_like, has_result, outcome, report_key
from tests.e2e.test_own_code import PROGRAM
from velodrome import keys
from velodrome.results.records import ResultReport, TrialResult
from velodrome.store import Store

TRIALS = 3
# Stands for the key of the first trial until a report is sent.
PROOF = "the key of the first trial"
# The later trials take so long that the race can be suspended before it is over.
SLOWLY = f"{PROGRAM}\nimport time\ntime.sleep(10 if trial.repeat else 0)\n"


def own(name: str, image: str) -> dict[str, Any]:
    entries = [{"name": "own", "image": image, "command": ["python", "-c", SLOWLY]}]
    return race(name, entries=entries, trials={"repeats": TRIALS})


@pytest.fixture(scope="module")
def undisturbed(installed: Kube) -> Iterator[dict[str, Any]]:
    """How the race ends where every report is an honest one."""
    name = "honest"
    installed("delete", "bmj", name, "--ignore-not-found", "--wait=true")
    installed.apply(own(name, installed.cluster.load_image("numpy")))
    installed("wait", "--for=condition=Complete", f"bmj/{name}", "--timeout=300s")
    found = outcome(installed, name)
    assert (found["counted"], len(found["results"])) == ((TRIALS, 0), TRIALS)
    yield found
    installed("delete", "bmj", name, "--wait=false")


class Inbox:
    """The inbox of a race that has one result. What is sent is waited for until it was judged."""

    def __init__(self, kube: Kube, name: str, store: Store) -> None:
        self._kube, self._name = kube, name
        self.store, self.uid = store, uid_of(kube, name)
        record = store.trial(self.uid, 0)
        assert record is not None
        self.first: TrialResult = record.result

    def send(self, *reports: str | bytes) -> None:
        key = report_key(self._kube, self._name)  # all but one of these tests are about reports of the first trial
        reports = tuple(report.replace(PROOF, key) if isinstance(report, str) else report for report in reports)
        with as_a_runner(self._kube, self._name) as client:
            client.rpush(keys.inbox(self.uid), *reports)
        self._kube.wait("the reports to be judged", lambda: self.store.waiting([self.uid]) == {})

    @property
    def rejected(self) -> dict[str, int]:
        return dict(self.store.counts(self.uid).rejected)


@contextmanager
def opened(kube: Kube, name: str, image: str) -> Iterator[Inbox]:
    """A race that rests after its first result, and goes on afterwards."""
    kube.apply(own(name, image))
    kube.wait("a first result", lambda: has_result(kube, name))
    kube("patch", "bmj", name, "--type=merge", "-p", '{"spec":{"suspend":true}}')
    kube.wait("Suspended", lambda: kube.condition(name, "Suspended"))
    with administrator(kube) as client, Store(client) as store:
        inbox = Inbox(kube, name, store)
        assert store.counts(inbox.uid).succeeded < TRIALS, "the race is still open"
        yield inbox
    kube("patch", "bmj", name, "--type=merge", "-p", '{"spec":{"suspend":false}}')


def written(result: TrialResult, **changes: Any) -> str:
    """A report of the result, with some of its fields as they should not be."""
    return ResultReport(result=result.model_copy(update=changes), proof=PROOF).model_dump_json()


def test_a_result_that_is_delivered_twice_counts_once(
    installed: Kube, name: str, own_image: str, undisturbed: dict[str, Any]
) -> None:
    with opened(installed, name, own_image) as inbox:
        before = inbox.store.counts(inbox.uid)
        inbox.send(written(inbox.first), written(inbox.first))
        assert inbox.store.counts(inbox.uid) == before
        assert inbox.store.conflicts(inbox.uid) == []
    ends_like(installed, name, undisturbed)


def test_another_result_for_a_trial_is_kept_and_never_ranked(
    installed: Kube, name: str, own_image: str, undisturbed: dict[str, Any]
) -> None:
    with opened(installed, name, own_image) as inbox:
        better = {**inbox.first.metrics, "accuracy": 0.99}
        inbox.send(written(inbox.first, metrics=better))
        (kept,) = inbox.store.conflicts(inbox.uid)
        assert (kept.result.index, kept.result.metrics["accuracy"]) == (0, 0.99)
        assert inbox.store.counts(inbox.uid).conflicts == 1
    ends_like(installed, name, undisturbed)


def test_a_result_of_an_unknown_trial_is_rejected(
    installed: Kube, name: str, own_image: str, undisturbed: dict[str, Any]
) -> None:
    with opened(installed, name, own_image) as inbox:
        inbox.send(written(inbox.first, index=999), written(inbox.first, trial_id="f" * 64))
        assert inbox.rejected == {"UnplannedTrial": 2}
    ends_like(installed, name, undisturbed)


def test_a_result_of_an_attempt_that_nobody_started_is_rejected(
    installed: Kube, name: str, own_image: str, undisturbed: dict[str, Any]
) -> None:
    with opened(installed, name, own_image) as inbox:
        forged = written(inbox.first, attempt="00000000-0000-0000-0000-000000000000")
        inbox.send(forged)
        assert inbox.rejected == {"UnknownAttempt": 1}
    ends_like(installed, name, undisturbed)


def test_a_command_that_erases_reports_is_refused(
    installed: Kube, name: str, own_image: str, undisturbed: dict[str, Any]
) -> None:
    with opened(installed, name, own_image) as inbox:
        key = keys.inbox(inbox.uid)
        with as_a_runner(installed, name) as client:
            for command in (
                ("XADD", key, "MAXLEN", 0, "*", "x", "y"),
                ("XADD", keys.inbox_stream(inbox.uid), "18446744073709551615-18446744073709551615", "x", "y"),
                ("LTRIM", key, 1, 0),
                ("LPOP", key),
                ("DEL", key),
                ("LRANGE", key, 0, -1),
                ("RPUSH", keys.inbox("another"), "x"),
                ("CLIENT", "LIST"),
            ):
                with pytest.raises(redis.exceptions.NoPermissionError):
                    client.execute_command(*command)
        assert inbox.rejected == {}
    ends_like(installed, name, undisturbed)


def test_a_flood_of_reports_ends_its_race_with_the_reason(installed: Kube, name: str, own_image: str) -> None:
    with opened(installed, name, own_image) as inbox:
        with as_a_runner(installed, name) as client, contextlib.suppress(redis.RedisError):  # its user is removed
            for _ in range(200):
                client.rpush(keys.inbox(inbox.uid), *["x"] * 1000)
        installed("wait", "--for=condition=Failed", f"bmj/{name}", "--timeout=120s")
        (failed,) = [item for item in installed.get("bmj", name)["status"]["conditions"] if item["type"] == "Failed"]
        assert failed["reason"] == "InboxOverflow"
        installed.wait("the inbox to be removed", lambda: inbox.store.waiting([inbox.uid]) == {})
        assert inbox.store.counts(inbox.uid).succeeded > 0, "its results stay"


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999", '"NaN"'])
def test_a_result_that_is_not_finite_is_rejected(
    installed: Kube, name: str, own_image: str, undisturbed: dict[str, Any], number: str
) -> None:
    with opened(installed, name, own_image) as inbox:
        document = json.loads(written(inbox.first))
        document["result"]["metrics"]["accuracy"] = "?"
        inbox.send(json.dumps(document).replace('"?"', number))
        assert inbox.rejected == {"InvalidReport": 1}
    ends_like(installed, name, undisturbed)


def test_a_megabyte_of_junk_is_rejected(
    installed: Kube, name: str, own_image: str, undisturbed: dict[str, Any]
) -> None:
    with opened(installed, name, own_image) as inbox:
        megabyte = os.urandom(keys.REPORT_BYTES)
        inbox.send(megabyte, b"{" * keys.REPORT_BYTES, megabyte + b"more")
        assert inbox.rejected == {"InvalidReport": 2, "TooLarge": 1}
    ends_like(installed, name, undisturbed)

"""Faults between the operator and the API server or Redis: each race ends as the undisturbed one does.

docs/reliability.md says what is promised for each.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.cluster.build import install
from tests.e2e.beside import Beside, beside, end_state, until_complete
from tests.e2e.conftest import Kube, race
from tests.e2e.test_own_code import PROGRAM

NAMESPACE = "faults"
# Its results follow from the seed alone, so that races can be compared to the last digit.
TRIALS = 3
# Everything that a race is written with, in about this order.
WRITES = ("ConfigMap", "Secret", "Job", "first status", "Event Started", "status between", "last status",
          "Event AllTrialsFinished")  # fmt: skip

# A Secret has the race's password of Redis, and another the keys of its trials.
CHILDREN = ["ConfigMap", "Job", "Secret", "Secret"]


@pytest.fixture(scope="module")
def kube(installed: Kube) -> Iterator[Kube]:
    """The cluster without the installed operator, and a namespace for this module."""
    if installed.cluster.has_volumes:
        pytest.skip("the operator beside the cluster needs the certificates of a cluster of one's own")
    installed("-n", "velodrome", "scale", "deployment/velodrome-operator", "--replicas=0")
    operators = ("-n", "velodrome", "pods", "-l", "app.kubernetes.io/component=operator")
    installed("wait", "--for=delete", *operators, "--timeout=60s")
    installed("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=true")
    installed("create", "namespace", NAMESPACE)
    yield installed
    installed("delete", "namespace", NAMESPACE, "--wait=false", check=False)
    installed("-n", "velodrome", "scale", "deployment/velodrome-operator", "--replicas=1")
    installed("-n", "velodrome", "rollout", "status", "deployment/velodrome-operator", "--timeout=120s")


@pytest.fixture(scope="module")
def image(kube: Kube) -> str:
    return kube.cluster.load_image("numpy")


def small(name: str, image: str, **spec: Any) -> dict[str, Any]:
    """Trials of a second each, one after the other."""
    entries = [{"name": "own", "image": image, "command": ["python", "-c", PROGRAM]}]
    found = race(name, entries=entries, trials={"repeats": TRIALS}, **spec)
    found["metadata"]["namespace"] = NAMESPACE
    return found


@pytest.fixture
def name(request: pytest.FixtureRequest, kube: Kube) -> Iterator[str]:
    """A name for this test's race."""
    chosen = "r" + str(abs(hash(request.node.name)))[:12]
    yield chosen
    kube("-n", NAMESPACE, "delete", "bmj", chosen, "--ignore-not-found", "--wait=false")


@pytest.fixture(scope="module")
def undisturbed(kube: Kube, image: str) -> dict[str, Any]:
    """The end state of the race that nothing happens to, and how many writes and accepts it took."""
    with beside(kube, NAMESPACE) as operator:
        kube.apply(small("undisturbed", image))
        until_complete(kube, operator, "undisturbed")
        kube.wait("the last event", lambda: len(end_state(kube, NAMESPACE, "undisturbed")["events"]) == 2)
        found = end_state(kube, NAMESPACE, "undisturbed")
        assert operator.starts == 1
        numbers = range(1, len(operator.api.writes) + 1)
        assert {written(operator, number) for number in numbers} == set(WRITES)
        posted = zip(operator.api.writes, operator.api.sent, strict=False)
        made = [json.loads(sent) for write, sent in posted if write.startswith("POST") and "/events" not in write]
        names = [(child["kind"], child["metadata"]["name"]) for child in made]
        assert len(names) == len(set(names)), "no child is made twice, not even before its event comes"
        assert sorted(kind for kind, _ in names) == CHILDREN
        assert operator.warnings() == [], "nothing is asked for that the account may not do"
        assert operator.redis.calls >= TRIALS
    return found


def written(operator: Beside, number: int) -> str:
    """Which of WRITES the n-th write is."""
    document = json.loads(operator.api.sent[number - 1])
    if operator.api.writes[number - 1].startswith("POST"):
        return f"Event {document['reason']}" if document["kind"] == "Event" else str(document["kind"])
    if "completionTime" in document["status"]:
        return "last status"
    earlier = any(line.startswith("PUT") for line in operator.api.writes[: number - 1])
    return "status between" if earlier else "first status"


def pods(kube: Kube, name: str) -> str:
    """The names of a race's pods."""
    return kube("-n", NAMESPACE, "get", "pods", "-l", f"velodrome.dev/job-name={name}", "-o", "name")


def settled(kube: Kube, operator: Beside, name: str, undisturbed: dict[str, Any]) -> None:
    """Waits for the end and holds it to the undisturbed race's. An Event may be missing; none is reported twice."""
    until_complete(kube, operator, name)
    found = end_state(kube, NAMESPACE, name)
    reported, expected = found.pop("events"), undisturbed["events"]
    assert set(reported) <= set(expected)
    assert len(reported) == len(set(reported))
    assert found == {key: value for key, value in undisturbed.items() if key != "events"}


def test_the_undisturbed_race_is_whole(undisturbed: dict[str, Any]) -> None:
    assert undisturbed["trials"]["succeeded"] == TRIALS
    assert undisturbed["events"] == ["AllTrialsFinished", "Started"]
    assert undisturbed["children"] == CHILDREN


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("what", WRITES)
def test_the_operator_is_killed_at_an_api_write(
    kube: Kube, image: str, name: str, undisturbed: dict[str, Any], what: str, when: str
) -> None:
    with beside(kube, NAMESPACE) as operator:
        struck: list[str] = []

        def strike(number: int, at: str) -> None:
            if not struck and (written(operator, number), at) == (what, when):
                struck.append(operator.api.writes[-1])
                operator.kill()

        operator.api.strike = strike
        kube.apply(small(name, image))
        settled(kube, operator, name, undisturbed)
        assert struck, f"there were only these writes: {operator.api.writes}"
        if operator.starts == 1:  # the race had ended before the kill, and the next operator finds it so
            operator.restart()
            settled(kube, operator, name, undisturbed)
        assert operator.starts == 2


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", range(1, TRIALS + 1))
def test_the_operator_is_killed_at_an_accept(
    kube: Kube, image: str, name: str, undisturbed: dict[str, Any], number: int, when: str
) -> None:
    with beside(kube, NAMESPACE) as operator:
        struck: list[int] = []

        def strike(found: int, at: str) -> None:
            if not struck and (found, at) == (number, when):
                struck.append(found)
                operator.kill()

        operator.redis.strike = strike
        kube.apply(small(name, image))
        settled(kube, operator, name, undisturbed)
        assert struck
        assert operator.starts == 2


@pytest.mark.parametrize("status", [403, 409, 429, 500])
def test_the_api_server_answers_badly_for_a_minute(
    kube: Kube, image: str, name: str, undisturbed: dict[str, Any], status: int
) -> None:
    with beside(kube, NAMESPACE) as operator:
        kube.apply(small(name, image))
        kube.wait("a pod", lambda: pods(kube, name))
        operator.api.refuse = status
        time.sleep(60)
        operator.api.refuse = None
        settled(kube, operator, name, undisturbed)
        assert operator.api.refused
        assert operator.starts == 1, operator.log.read_text()[-2000:]


def test_a_watch_goes_silent_without_closing(kube: Kube, image: str, name: str, undisturbed: dict[str, Any]) -> None:
    with beside(kube, NAMESPACE) as operator:
        kube.apply(small(name, image))
        kube.wait("a pod", lambda: pods(kube, name))
        operator.api.silent = True
        settled(kube, operator, name, undisturbed)
        assert operator.api.swallowed


def test_what_a_silent_watch_does_not_show_is_found(
    kube: Kube, image: str, name: str, undisturbed: dict[str, Any]
) -> None:
    with beside(kube, NAMESPACE) as operator:
        kube.wait("watches of BenchmarkJobs, Jobs and pods", lambda: operator.api.watching >= 3)
        operator.api.silent = True
        kube.apply(small(name, image))
        settled(kube, operator, name, undisturbed)
        assert operator.api.swallowed
        assert operator.starts == 1


def test_the_token_expires(kube: Kube, image: str, name: str, undisturbed: dict[str, Any]) -> None:
    with beside(kube, NAMESPACE) as operator:
        kube.apply(small(name, image))
        kube.wait("a pod", lambda: pods(kube, name))
        operator.api.stale = operator.rotate_token()
        settled(kube, operator, name, undisturbed)
        assert operator.starts == 1, "it takes the new token by itself"


def test_two_operators_at_once(kube: Kube, image: str, name: str, undisturbed: dict[str, Any]) -> None:
    with beside(kube, NAMESPACE) as one, beside(kube, NAMESPACE, address="127.0.0.10") as two:
        kube.apply(small(name, image))
        settled(kube, one, name, undisturbed)
        assert one.process is not None
        assert two.process is not None
        assert one.process.poll() is None
        assert two.process.poll() is None
        assert one.api.writes
        assert two.api.writes


@pytest.mark.parametrize("offset", ["+10m", "-10m"])
def test_the_clock_is_ten_minutes_off(
    kube: Kube, image: str, name: str, undisturbed: dict[str, Any], offset: str
) -> None:
    install(("faketime",))
    library = next(path for path in ("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",))
    prefix = ("env", f"LD_PRELOAD={library}", f"FAKETIME={offset}", "FAKETIME_DONT_FAKE_MONOTONIC=1")
    with beside(kube, NAMESPACE, prefix=prefix) as operator:
        execution = {"isolation": "None", "startupDeadlineSeconds": 300}
        kube.apply(small(name, image, execution=execution))
        settled(kube, operator, name, undisturbed)
        status = json.loads(kube("-n", NAMESPACE, "get", "bmj", name, "-o", "json"))["status"]
        ended = datetime.fromisoformat(status["completionTime"])
        assert abs((datetime.now(UTC) - ended).total_seconds()) < 120


def test_the_operator_stops_in_an_orderly_way(kube: Kube, image: str, name: str, undisturbed: dict[str, Any]) -> None:
    with beside(kube, NAMESPACE) as operator:
        kube.apply(small(name, image))
        kube.wait("a pod", lambda: pods(kube, name))
        assert operator.stop() == 0
        for line in operator.log.read_text().splitlines():
            json.loads(line)
        settled(kube, operator, name, undisturbed)


def test_faults_can_be_told_apart(kube: Kube, image: str, undisturbed: dict[str, Any]) -> None:
    """The comparison is one that can fail: a race of one trial less is not the undisturbed one."""
    with beside(kube, NAMESPACE) as operator:
        less = small("less", image)
        less["spec"]["trials"]["repeats"] = TRIALS - 1
        kube.apply(less)
        until_complete(kube, operator, "less")
        assert end_state(kube, NAMESPACE, "less") != undisturbed

"""A race that got worse, as kubectl shows it: its condition, what confirms it, /metrics, and `velodrome ack`."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.conftest import Kube, race, uid_of

PROGRAM = """
from velodrome import report
trial = report.trial()
trial.dataset("digits", digest="sha256:" + "a" * 64, train_samples=9, validation_samples=1, test_samples=3,
              shape=[1, 8, 8], classes=["a", "b"])
trial.result({"accuracy": LEVEL + trial.seed / 10_000})
"""
CONFIRMS = "velodrome.dev/confirms"


@pytest.fixture
def nights(name: str, installed: Kube) -> Iterator[tuple[str, str, str]]:
    """A board that no earlier run left results on, and names for two jobs of it; all jobs of it are deleted after."""
    board = f"{name[:40]}-{secrets.token_hex(4)}"
    yield board, f"{board}-1", f"{board}-2"
    for made in installed.items("bmj"):
        if made["spec"].get("board") == board:
            installed("delete", "bmj", made["metadata"]["name"], "--ignore-not-found", "--wait=false")


def night(board: str, name: str, image: str, level: float) -> dict[str, Any]:
    """A race of one program whose accuracy is the level, but for a little that each seed adds."""
    program = PROGRAM.replace("LEVEL", str(level))
    entry = {"name": "own", "image": image, "command": ["python", "-c", program]}
    return race(name, board=board, entries=[entry], trials={"repeats": 3}, regression={"confirm": True})


def regressed(kube: Kube, name: str) -> dict[str, Any]:
    """The condition Regressed, whatever its status."""
    conditions = kube.get("bmj", name).get("status", {}).get("conditions", [])
    return next((item for item in conditions if item["type"] == "Regressed"), {})


def confirming(kube: Kube, uid: str) -> list[str]:
    """The names of the jobs that were made to confirm that one."""
    made = [item["metadata"] for item in kube.items("bmj")]
    return [metadata["name"] for metadata in made if metadata.get("annotations", {}).get(CONFIRMS) == uid]


def events(kube: Kube, uid: str) -> list[dict[str, Any]]:
    """The Events Regressed of a job."""
    found = kube.items("events.events.k8s.io")
    return [item for item in found if item["regarding"].get("uid") == uid and item["reason"] == "Regressed"]


def in_the_operator(kube: Kube, *arguments: str) -> str:
    """What Python answers inside of the operator's container."""
    where = ("-n", "velodrome", "exec", "deployment/velodrome-operator", "-c", "operator", "--", "python")
    return kube(*where, *arguments)


def verdicts(kube: Kube, board: str) -> set[str]:
    """The verdicts of a board that the operator shows Prometheus."""
    text = in_the_operator(kube, "-c", "from velodrome.connections.direct import open_directly as ask\n"
                           "print(ask('http://127.0.0.1:8080/metrics', 30).read().decode())")  # fmt: skip
    return {
        sample.labels["verdict"]
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "velodrome_result_verdict" and sample.labels["board"] == board and sample.value == 1
    }


def test_a_regression_is_confirmed_by_one_more_job_and_accepted_by_a_person(
    installed: Kube, nights: tuple[str, str, str], own_image: str
) -> None:
    board, first, second = nights
    installed.apply(night(board, first, own_image, 0.9))
    installed("wait", "--for=condition=Complete", f"bmj/{first}", "--timeout=300s")
    assert regressed(installed, first)["reason"] == "NoBaseline"
    installed.wait("a verdict at /metrics", lambda: verdicts(installed, board) == {"Unknown"})

    installed.apply(night(board, second, own_image, 0.8))
    installed("wait", "--for=condition=Complete", f"bmj/{second}", "--timeout=300s")
    uid = uid_of(installed, second)
    (third,) = installed.wait("the confirming job", lambda: confirming(installed, uid))
    spec = installed.get("bmj", third)["spec"]
    assert (spec["trials"]["baseSeed"], spec["regression"]["confirm"]) == (3, True)

    installed("wait", "--for=condition=Complete", f"bmj/{third}", "--timeout=300s")
    for ended in (second, third):
        installed("wait", "--for=condition=Regressed", f"bmj/{ended}", "--timeout=60s")
    assert f"as job {third} confirmed" in regressed(installed, second)["message"]
    assert confirming(installed, uid) == [third]
    assert confirming(installed, uid_of(installed, third)) == []
    for ended in (second, third):
        ended_uid = uid_of(installed, ended)
        installed.wait("its Event", partial(events, installed, ended_uid))
        assert [event["type"] for event in events(installed, ended_uid)] == ["Warning"]
    installed.wait("the regression at /metrics", lambda: verdicts(installed, board) == {"Regressed"})

    in_the_operator(installed, "-m", "velodrome", "ack", uid_of(installed, third), "own")
    installed("wait", "--for=condition=Regressed=false", f"bmj/{third}", "--timeout=60s")
    assert regressed(installed, third)["reason"] == "RegressionAccepted"
    assert regressed(installed, second)["status"] == "True", "that job was not accepted"
    installed.wait("the accepted verdict at /metrics", lambda: verdicts(installed, board) == {"Accepted"})

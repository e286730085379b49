"""Races in real pods, under an operator that was installed as a user installs it."""

from __future__ import annotations

import json
import time
from functools import partial
from typing import Any

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.e2e.conftest import Kube, race, uid_of
from tests.e2e.faults import credentials, forwarded, pods, redis_cli
from tools.screenshot import ARGUMENTS, CHROMIUM

RUNNER = "velodrome.dev/role=runner"


@pytest.fixture
def kube(installed: Kube) -> Kube:
    return installed


def results(kube: Kube, name: str) -> list[dict[str, Any]]:
    """The results of a job as its last status counts them."""
    return list(kube.get("bmj", name).get("status", {}).get("entries", []))


@pytest.mark.smoke
def test_a_race_runs_to_its_end(kube: Kube, name: str) -> None:
    kube.apply(race(name))
    kube("wait", "--for=condition=Complete", f"bmj/{name}", "--timeout=300s")
    status = kube.get("bmj", name)["status"]
    assert status["trials"] == {
        "total": 4, "active": 0, "succeeded": 4, "failed": 0, "disrupted": 0, "done": "4/4",
    }  # fmt: skip
    assert {entry["name"] for entry in status["entries"]} == {"mlp", "cnn"}
    assert all(entry["objectives"][0]["samples"] == 2 for entry in status["entries"])
    assert set(status["leaders"]["accuracy"].split(" and ")) <= {"mlp", "cnn"}
    assert "@sha256:" in status["image"]
    own = f"involvedObject.uid={uid_of(kube, name)}"  # another of that name may have been there within the hour
    events = kube("get", "events", "--field-selector", own, "-o", "jsonpath={.items[*].reason}")
    assert sorted(events.split()) == ["AllTrialsFinished", "Started"]
    (job,) = kube.items("jobs", f"velodrome.dev/job-name={name}")
    assert job["spec"]["completions"] == 4
    assert "finalizers" not in kube.get("bmj", name)["metadata"]


def test_an_image_that_cannot_be_pulled_is_reported_in_the_clusters_words(kube: Kube, name: str) -> None:
    image = "registry.invalid/runner@sha256:" + "0" * 64
    kube.apply(race(name, runner={"image": image}, execution={"isolation": "None", "startupDeadlineSeconds": 5}))
    failed = kube.wait("Failed", lambda: kube.condition(name, "Failed"))
    assert failed["reason"] == "StartupDeadlineExceeded"
    assert "registry.invalid" in failed["message"]
    kube.wait("its pods to go", lambda: not pods(kube, name))


def test_a_pod_that_fits_no_node_is_reported(kube: Kube, name: str) -> None:
    runner = {"resources": {"requests": {"cpu": "1000"}}}
    kube.apply(race(name, runner=runner, execution={"isolation": "None", "startupDeadlineSeconds": 5}))
    failed = kube.wait("Failed", lambda: kube.condition(name, "Failed"))
    assert "Insufficient cpu" in failed["message"]


def test_a_missing_claim_is_reported(kube: Kube, name: str) -> None:
    dataset = {"name": "MNIST", "source": {"persistentVolumeClaim": {"claimName": "nowhere"}}}
    kube.apply(race(name, dataset=dataset, execution={"isolation": "None", "startupDeadlineSeconds": 5}))
    failed = kube.wait("Failed", lambda: kube.condition(name, "Failed"))
    assert 'persistentvolumeclaim "nowhere" not found' in failed["message"]


def test_a_trial_that_fails_fails_the_race_and_says_why(kube: Kube, name: str) -> None:
    entries = [{"name": "broken", "model": {"name": "no_such_package.models:make"}}]
    kube.apply(race(name, entries=entries))
    failed = kube.wait("Failed", lambda: kube.condition(name, "Failed"), 180)
    assert failed["reason"] == "TooManyFailedTrials"
    kube.wait("its pods to stop", lambda: all(pod["status"]["phase"] != "Running" for pod in pods(kube, name)))


def test_suspend_ends_its_pods_and_resume_carries_on(kube: Kube, name: str) -> None:
    kube.apply(race(name, trials={"repeats": 3}))
    kube.wait("a first result", lambda: kube.get("bmj", name).get("status", {}).get("trials", {}).get("succeeded"))
    kube("patch", "bmj", name, "--type=merge", "-p", '{"spec":{"suspend":true}}')
    kube.wait("Suspended", lambda: kube.condition(name, "Suspended"))
    kube.wait("its pods to end", lambda: not [p for p in pods(kube, name) if p["status"]["phase"] == "Running"])
    kube("patch", "bmj", name, "--type=merge", "-p", '{"spec":{"suspend":false}}')
    kube("wait", "--for=condition=Complete", f"bmj/{name}", "--timeout=300s")
    assert kube.get("bmj", name)["status"]["trials"]["succeeded"] == 6


@pytest.mark.smoke
def test_deletion_is_quick_and_takes_everything_but_the_results(kube: Kube, name: str) -> None:
    kube.apply(race(name))
    kube.wait("a pod", lambda: pods(kube, name))
    started = time.monotonic()
    kube("delete", "bmj", name, "--wait=true")
    assert time.monotonic() - started < 30  # it must not hang on a finalizer; how quick it is, is no claim here

    def gone(kind: str) -> bool:
        return not kube.items(kind, f"velodrome.dev/job-name={name}")

    for kind in ("job", "pod", "configmap", "secret"):
        kube.wait(f"every {kind} to go", partial(gone, kind))


def test_the_time_to_live_deletes_the_object(kube: Kube, name: str) -> None:
    kube.apply(race(name, trials={"repeats": 1}, ttlSecondsAfterFinished=3))
    kube.wait("it to finish and to go", lambda: not kube.get("bmj", name), 240)


OPERATORS = ("-n", "velodrome", "pods", "-l", "app.kubernetes.io/component=operator")


def ready_operators(kube: Kube) -> set[str]:
    """The uids of the operator's pods that are ready."""
    return {
        pod["metadata"]["uid"]
        for pod in json.loads(kube("get", *OPERATORS, "-o", "json"))["items"]
        if any(container["ready"] for container in pod["status"].get("containerStatuses", ()))
    }


def kill_operator(kube: Kube) -> None:
    """Kills it, and returns when another one is ready."""
    killed = ready_operators(kube)
    kube("delete", *OPERATORS, "--grace-period=0", "--force")
    kube.wait("another operator to be ready", lambda: ready_operators(kube) - killed)


@pytest.mark.smoke
def test_the_operator_killed_in_a_race_loses_and_repeats_nothing(kube: Kube, name: str) -> None:
    kube.apply(race(name, trials={"repeats": 3}))
    kube.wait("a pod to run", lambda: [p for p in pods(kube, name) if p["status"]["phase"] == "Running"])
    for _ in range(2):
        kill_operator(kube)
    kube("wait", "--for=condition=Complete", f"bmj/{name}", "--timeout=300s")
    assert kube.get("bmj", name)["status"]["trials"]["succeeded"] == 6
    assert all(entry["objectives"][0]["samples"] == 3 for entry in results(kube, name))
    assert len(kube.items("jobs", f"velodrome.dev/job-name={name}")) == 1


@pytest.mark.smoke
def test_a_jobs_redis_user_may_append_to_its_inbox_and_nothing_else(kube: Kube, name: str) -> None:
    kube.apply(race(name, suspend=True))
    user, password = credentials(kube, name)
    own = uid_of(kube, name)
    allowed = redis_cli(kube, "RPUSH", f"velodrome:reports:{own}", "junk", user=user, password=password)
    assert int(allowed) >= 1
    for words in (
        ("RPUSH", "velodrome:reports:other", "x"),
        ("LRANGE", f"velodrome:reports:{own}", "0", "-1"),
        ("LTRIM", f"velodrome:reports:{own}", "1", "0"),
        ("LPOP", f"velodrome:reports:{own}"),
        ("DEL", f"velodrome:reports:{own}"),
        ("XADD", f"velodrome:inbox:{own}", "*", "report", "x"),
        ("GET", f"velodrome:job:{own}:info"),
        ("HSET", f"velodrome:instructions:{own}", "a", "b"),
        ("FLUSHALL",),
        ("EVAL", "return 1", "0"),
        ("CONFIG", "GET", "*"),
        ("ACL", "LIST"),
        ("KEYS", "*"),
        ("SHUTDOWN",),
    ):
        assert "NOPERM" in redis_cli(kube, *words, user=user, password=password), words
    kube("delete", "bmj", name, "--wait=true")
    kube.wait("the user to go", lambda: f"velodrome-{own}" not in redis_cli(kube, "ACL", "USERS"), 150)


@pytest.mark.browser
@pytest.mark.smoke
def test_the_leaderboard_shows_the_race_in_a_browser(kube: Kube, name: str) -> None:
    kube.apply(race(name, trials={"repeats": 2}))
    kube("wait", "--for=condition=Complete", f"bmj/{name}", "--timeout=300s")
    with forwarded(kube, "service/velodrome-leaderboard", 80) as address, sync_playwright() as playwright:
        page = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS)).new_page()
        page.goto(f"http://{address}/board?name={name}")

        def shown() -> bool:
            """Chromium gives up what it is loading when a network interface comes or goes, as those of pods do."""
            try:
                expect(page.get_by_text("all succeeded").first).to_be_visible(timeout=20_000)
            except AssertionError:
                page.reload()
                return False
            return True

        kube.wait("the board's page", shown)
        expect(page.get_by_text("mlp").first).to_be_visible()


def test_pods_of_the_installation_may_do_little(kube: Kube) -> None:
    """The operator's account can't read secrets or make pods."""
    account = "--as=system:serviceaccount:velodrome:velodrome-operator"
    for verb, what in (("get", "secrets"), ("create", "pods"), ("delete", "pods"), ("update", "benchmarkjobs")):
        assert kube("auth", "can-i", verb, what, account, check=False).strip() == "no"
    labels = kube.get("namespace", "velodrome")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"

"""Trials that two real pods train together, connected by gloo."""

from __future__ import annotations

from tests.e2e.conftest import Kube, race

# Two pods of one trial share the one node of the test cluster: isolation is off.
ALONE = [{"name": "mlp", "model": {"name": "velodrome/mlp"}}]


def test_two_pods_train_one_model(installed: Kube, name: str) -> None:
    installed.apply(race(name, entries=ALONE, runner={"nodes": 2}))
    installed("wait", "--for=condition=Complete", f"bmj/{name}", "--timeout=400s")
    status = installed.get("bmj", name)["status"]
    assert status["trials"]["done"] == "2/2"
    (entry,) = status["entries"]
    assert entry["objectives"][0]["samples"] == 2
    (job,) = installed.items("jobs", f"velodrome.dev/job-name={name}")
    assert (job["spec"]["completions"], job["spec"]["parallelism"]) == (4, 2)
    assert len(installed.items("services", f"velodrome.dev/job-name={name}")) == 1
    pods = installed.items("pods", f"velodrome.dev/job-name={name}")
    assert len({pod["status"]["podIP"] for pod in pods}) == 4


def test_a_pod_that_is_lost_starts_its_trial_again(installed: Kube, name: str) -> None:
    installed.apply(race(name, entries=ALONE, runner={"nodes": 2}, trials={"repeats": 1}, budget={"maxEpochs": 400}))

    def training() -> list[str]:
        pods = installed.items("pods", f"velodrome.dev/job-name={name}")
        lead = [pod["metadata"]["name"] for pod in pods if "-0-0-" in pod["metadata"]["name"]]
        return [pod for pod in lead if "epoch 2/" in installed("logs", pod, check=False)]

    installed.wait("the first pod to train", training, 240)
    (second,) = [
        pod["metadata"]["name"]
        for pod in installed.items("pods", f"velodrome.dev/job-name={name}")
        if "-0-1-" in pod["metadata"]["name"]
    ]
    installed("delete", "pod", second, "--grace-period=0", "--force")
    installed("wait", "--for=condition=Complete", f"bmj/{name}", "--timeout=400s")
    status = installed.get("bmj", name)["status"]
    assert status["trials"]["succeeded"] == 1
    assert status["trials"]["failed"] == 0

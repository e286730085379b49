"""A race until decided in real pods: parts are killed between its rounds, and it ends as its records say."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.e2e.conftest import ROOT, Kube, race, uid_of
from tests.e2e.faults import NAMESPACE, administrator, pods
from tests.e2e.test_race import kill_operator
from velodrome.board.rounds import read_rounds
from velodrome.plan import plan
from velodrome.results.rounds import asked
from velodrome.spec import BenchmarkJob, read_jobs, validate
from velodrome.store import Store

EXAMPLE = ROOT / "deploy/examples/until.yaml"
NAME = "until"
# With the noise below, the first look tells the first from the others, and the third tells these two apart.
MEANS = {"far": 0.7, "good": 0.958, "best": 0.965}
MOST = 16
PROGRAM = """
from velodrome import report
trial = report.trial()
trial.dataset("digits", digest="sha256:" + "a" * 64, train_samples=9, validation_samples=1, test_samples=3,
              shape=[1, 8, 8], classes=["a", "b"])
trial.result({"accuracy": VALUES[trial.seed]})
"""


def quick(image: str) -> dict[str, Any]:
    """A race until decided of programs that take no time: what each seed measures is known."""
    noise = random.Random(16)  # noqa: S311 - figures, not secrets
    values = [{entry: round(mean + noise.gauss(0, 0.005), 6) for entry, mean in MEANS.items()} for _ in range(MOST)]
    entries = [
        {
            "name": entry,
            "image": image,
            "command": ["python", "-c", f"VALUES = {[of[entry] for of in values]}{PROGRAM}"],
        }
        for entry in MEANS
    ]
    trials = {"repeats": 4, "baseSeed": 0, "until": {"decided": ["accuracy"], "maxRepeats": MOST}}
    return race(NAME, entries=entries, trials=trials, execution={"isolation": "None", "parallelism": 4})


@pytest.fixture
def kube(installed: Kube) -> Iterator[Kube]:
    installed("delete", "bmj", NAME, "--ignore-not-found", "--wait=true")
    yield installed
    installed("delete", "bmj", NAME, "--wait=true")


def status(kube: Kube) -> dict[str, Any]:
    return dict(kube.get("bmj", NAME).get("status", {}))


def agrees_with_its_records(kube: Kube, job: BenchmarkJob) -> None:
    """What the cluster did is what one machine would have done from the same results."""
    made, uid = plan(job), uid_of(kube, NAME)
    with administrator(kube) as client, Store(client) as store:
        found, known, trials = read_rounds(store, made, uid), store.job(uid), store.trials(uid)
    assert found is not None
    assert known is not None
    assert (found.finished, known.rounds) == (True, found)
    assert trials.keys() == set(asked(made, found)), "no trial more than what was asked for, and none less"
    said = status(kube)
    assert said["trials"]["total"] == said["trials"]["succeeded"] == sum(found.repeats.values())
    samples = {entry["name"]: entry["objectives"][0]["samples"] for entry in said["entries"]}
    assert samples == found.repeats
    assert all(entry["note"].startswith("stopped: ") for entry in said["entries"])
    assert sum(one["spec"]["completions"] for one in jobs(kube)) == said["trials"]["total"]


def jobs(kube: Kube) -> list[dict[str, Any]]:
    return kube.items("jobs", f"velodrome.dev/job-name={NAME}")


@pytest.mark.smoke
def test_a_race_until_decided_ends_with_fewer_trials_and_says_why(kube: Kube, own_image: str) -> None:
    document = quick(own_image)
    kube.apply(document)
    kube("wait", "--for=condition=Complete", f"bmj/{NAME}", "--timeout=20m")
    agrees_with_its_records(kube, validate(document))
    samples = {entry["name"]: entry["objectives"][0]["samples"] for entry in status(kube)["entries"]}
    assert samples == {"far": 4, "good": 8, "best": 8}
    assert len(jobs(kube)) == 3 + 2 + 2, "in each round, one for each program that goes on"
    assert kube.condition(NAME, "Complete")["reason"] == "Decided"
    assert "RoundBegun" in kube("describe", "bmj", NAME)


def test_whatever_is_killed_between_rounds_the_decision_is_the_same(kube: Kube) -> None:
    kube("apply", "-f", str(EXAMPLE))
    kill_operator(kube)
    kube.wait("a second round", lambda: status(kube).get("rounds"), 600)
    kill_operator(kube)
    kube("-n", NAMESPACE, "delete", "pod", "velodrome-redis-0", "--grace-period=0", "--force")
    kube.wait("a pod of it", lambda: [pod for pod in pods(kube, NAME) if "-r2-" in pod["metadata"]["name"]], 300)
    kill_operator(kube)
    kube("wait", "--for=condition=Complete", f"bmj/{NAME}", "--timeout=20m")
    agrees_with_its_records(kube, read_jobs(EXAMPLE)[0])
    said = status(kube)
    assert said["trials"]["total"] < 3 * 14
    assert kube.condition(NAME, "Complete")["reason"] in ("Decided", "Undecided")
    assert len(jobs(kube)) == 1 + len(said["rounds"])


def test_what_can_not_be_decided_is_refused_by_the_api_server(kube: Kube) -> None:
    document = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    for until, says in (
        ({"decided": ["size"], "maxRepeats": 14}, "vary with the seed"),
        ({"decided": ["speed"], "maxRepeats": 14}, "objectives of this job"),
        ({"decided": ["accuracy", "accuracy"], "maxRepeats": 14}, "Duplicate value"),
        ({"decided": ["accuracy"], "maxRepeats": 5}, "maxRepeats above them"),
        ({"decided": ["accuracy"], "maxRepeats": 14, "alpha": 0.6}, "less than or equal to 0.5"),
    ):
        document["spec"]["trials"]["until"] = until
        assert says in kube.refused(document), until
    document["spec"]["trials"]["until"] = {"decided": ["accuracy"], "maxRepeats": 14}
    kube.apply(document | {"spec": document["spec"] | {"suspend": True}})
    document["spec"]["trials"]["until"]["maxRepeats"] = 20
    assert "spec.trials can't change" in kube.refused(document)

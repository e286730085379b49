"""Every example can be read, planned, and says in its first line what it is for."""

from __future__ import annotations

from pathlib import Path

import pytest

from velodrome.plan import plan
from velodrome.spec import read_jobs
from velodrome_operator.children import ChildSettings, children

EXAMPLES = sorted((Path(__file__).parents[2] / "deploy" / "examples").glob("*.yaml"))


def test_the_examples_that_the_documents_name_are_there() -> None:
    assert {"cifar10", "digits", "mnist"} <= {path.stem for path in EXAMPLES}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_valid_and_can_be_planned(path: Path) -> None:
    (job,) = read_jobs(path)
    assert job.metadata.name == path.stem
    made = plan(job)
    assert len({trial.id for trial in made.trials}) == len(made)
    assert job.spec.trials.repeats >= 5, "fewer seeds separate few entries"
    assert len(job.spec.objectives) >= 3


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_starts_with_a_sentence_about_itself(path: Path) -> None:
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("# ")
    assert first[-1] in ".?:" or first.endswith("GPU.")


GPU = sorted((Path(__file__).parents[2] / "deploy" / "examples" / "gpu").glob("*.yaml"))


@pytest.mark.parametrize("path", GPU, ids=lambda path: path.stem)
def test_a_check_of_a_gpu_cluster_is_one_trial_with_a_gpu_in_each_pod(path: Path) -> None:
    (job,) = read_jobs(path)
    assert job.metadata.name == f"gpu-{path.stem}"
    assert job.spec.runner.nodes == {"one": 1, "two": 2}[path.stem]
    assert len(plan(job)) == 1
    (trial_job,) = [
        child
        for child in children(
            job, plan(job), "3f1c2d54-0000-4000-8000-000000000001", "redis://redis:6379/0", ChildSettings()
        )
        if child["kind"] == "Job"
    ]
    assert trial_job["spec"]["completions"] == job.spec.runner.nodes
    (container,) = trial_job["spec"]["template"]["spec"]["containers"]
    assert str(container["resources"]["limits"]["nvidia.com/gpu"]) == "1"


def test_both_checks_of_a_gpu_cluster_are_there() -> None:
    assert [path.stem for path in GPU] == ["one", "two"]

"""The real API server, with the generated CRD: what it takes, what it refuses, and in which words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import ROOT, Kube, race

pytestmark = pytest.mark.smoke
EXAMPLES = sorted((ROOT / "deploy/examples").glob("*.yaml"))
BAD = sorted((ROOT / "tests/bad").glob("*.yaml"))
# Wrong as a file that Velodrome reads; kubectl takes a file of several kinds and names, and the last of two keys.
FILES_ALONE = {"key-written-twice", "other-object", "two-documents"}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_taken(api: Kube, example: Path) -> None:
    api("apply", "--dry-run=server", "-f", str(example))


@pytest.mark.parametrize("path", [path for path in BAD if path.stem not in FILES_ALONE], ids=lambda path: path.stem)
def test_every_bad_example_is_refused(api: Kube, path: Path) -> None:
    assert api("apply", "--dry-run=server", "-f", str(path), check=False) == ""


def test_defaults_are_those_of_the_model(api: Kube, name: str) -> None:
    api.apply(race(name))
    spec = api.get("bmj", name)["spec"]
    assert spec["training"]["optimizer"] == {"name": "SGD", "learningRate": 0.05}
    assert spec["dataset"]["validationFraction"] == 0.1


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"trials": {"repeats": 3}}, "spec.trials"),
        ({"entries": [{"name": "mlp", "model": {"name": "velodrome/mlp", "args": {"hidden": 9}}}]}, "spec.entries"),
        ({"budget": {"maxEpochs": 2}}, "spec.budget"),
        ({"execution": {"isolation": "Node"}}, "spec.execution.isolation"),
    ],
)
def test_what_was_measured_cannot_change(api: Kube, name: str, change: dict[str, Any], field: str) -> None:
    api.apply(race(name))
    said = api.refused(race(name, **change))
    assert f"{field} can't change" in said
    assert "another name" in said


def test_what_may_change_can(api: Kube, name: str) -> None:
    api.apply(race(name))
    changed = {"suspend": True, "ttlSecondsAfterFinished": 60, "execution": {"isolation": "None", "parallelism": 2}}
    api.apply(race(name, **changed))
    assert api.get("bmj", name)["spec"]["suspend"] is True


def test_fields_are_explained(api: Kube) -> None:
    assert "Share of the training split" in api("explain", "bmj.spec.dataset.validationFraction")


def test_it_is_found_by_its_short_name_and_category(api: Kube, name: str) -> None:
    api.apply(race(name))
    assert name in api("get", "bmj")
    assert name in api("get", "velodrome")

"""The real API server, with the generated CRD: what it takes, what it refuses, and in which words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.control import ClusterError
from tests.e2e.conftest import ROOT, Kube, race

pytestmark = pytest.mark.smoke
EXAMPLES = sorted((ROOT / "deploy/examples").glob("*.yaml"))
BAD = sorted((ROOT / "tests/bad").glob("*.yaml"))
# Wrong as a file that Velodrome reads; kubectl takes a file of several kinds and names, and the last of two keys.
FILES_ALONE = {"key-written-twice", "other-object", "two-documents"}
# Wrong in parts of a pod that may have any content for the API server: the operator reads them, and says what is wrong.
OPERATOR_ALONE = {"pods-unrestricted"}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_taken(api: Kube, example: Path) -> None:
    api("apply", "--dry-run=server", "-f", str(example))


@pytest.mark.parametrize(
    "path", [path for path in BAD if path.stem not in FILES_ALONE | OPERATOR_ALONE], ids=lambda path: path.stem
)
def test_every_bad_example_is_refused(api: Kube, path: Path) -> None:
    assert api("apply", "--dry-run=server", "-f", str(path), check=False) == ""


@pytest.mark.parametrize(
    ("augmentations", "says"),
    [
        ([{"name": "GaussianBlur", "args": {"kernelSize": 3}}, {"name": "MixUp"}, {"name": "CutMix"}], ""),
        ([{"name": "RandomAffine", "args": {"scale": [0.5, 2]}}, {"name": "RandAugment"}], ""),
        ([{"name": "GaussianBlur"}], "GaussianBlur needs kernelSize"),
        ([{"name": "GaussianBlur", "args": {"kernelSize": 4}}], "kernelSize is an odd number"),
        ([{"name": "RandomResizedCrop", "args": {"scale": [0.5, 2]}}], "scale has shares of the area"),
        ([{"name": "RandomAffine", "args": {"scale": [0, 1]}}], "scale has factors above 0"),
        ([{"name": "RandAugment", "args": {"magnitude": 31}}], "magnitude is below numMagnitudeBins"),
        ([{"name": "MixUp"}, {"name": "RandomInvert"}], "MixUp and CutMix come after all others"),
    ],
)
def test_augmentations_have_their_rules(api: Kube, name: str, augmentations: list[Any], says: str) -> None:
    document = race(name, preprocessing={"augmentations": augmentations})
    if says:
        assert says in api.refused(document)
    else:
        api.apply(document)


@pytest.mark.parametrize(
    ("serving", "percent", "says"),
    [
        ({"arrivalRate": 100}, 99, ""),
        ({"arrivalRate": 0.1, "queries": 700}, 99, ""),
        ({"arrivalRate": 10, "queries": 64}, 90, ""),
        ({"arrivalRate": 0.1, "queries": 720}, 99, "must be below execution.trialDeadlineSeconds"),
        ({"arrivalRate": 10, "queries": 661}, 99, "needs evaluation.serving.queries of 662 or more"),
        ({"arrivalRate": 10, "queries": 63}, 90, "needs evaluation.serving.queries of 64 or more"),
        (None, 90, "needs spec.evaluation.serving"),
    ],
)
def test_latency_as_served_has_its_rules(api: Kube, name: str, serving: Any, percent: int, says: str) -> None:
    objectives = [{"name": "served", "metric": f"served_latency_p{percent}_seconds"}]
    document = race(name, objectives=objectives, evaluation={"serving": serving})
    if says:
        assert says in api.refused(document)
    else:
        api.apply(document)


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


def held(name: str, **spec: Any) -> dict[str, Any]:
    """A race that never starts, with something optional in every part of it."""
    rich: dict[str, Any] = {
        "suspend": True,
        "dataset": {"name": "digits"},
        "preprocessing": {
            "augmentations": [{"name": "RandomCrop", "args": {"padding": 1}}, {"name": "RandomErasing"}],
            "featureSelection": {"method": "SelectKBest", "k": 9},
        },
        "budget": {"maxEpochs": 1, "target": {"metric": "validation_loss", "value": 1}},
        "training": {"optimizer": {"name": "Adam"}, "schedule": {"name": "Constant"}},
        "runner": {},
        "regression": {},
        "execution": {},
        "objectives": [{"name": "accuracy", "metric": "accuracy"}, {"name": "f1", "metric": "f1", "average": "micro"}],
        "entries": [
            {"name": "mlp", "model": {"name": "velodrome/mlp", "args": {"hidden": 9}}},
            {"name": "cnn", "model": {"name": "velodrome/cnn"}, "training": {"earlyStopping": None}},
        ],
    }
    return race(name, **(rich | spec))


def spelled_out(value: Any, schema: dict[str, Any], path: str = "") -> Any:
    """The same with null for every field that may be null and is absent; in overrides null would say something."""
    if isinstance(value, list):
        return [spelled_out(item, schema["items"], path) for item in value]
    if not isinstance(value, dict) or path == "spec.entries.training":
        return value
    fields = schema.get("properties", {})
    inside = {
        name: spelled_out(item, fields.get(name, {}), f"{path}.{name}".strip(".")) for name, item in value.items()
    }
    nulls = {name: None for name, field in fields.items() if field.get("nullable") and name != "status"}
    return nulls | inside


def schema() -> dict[str, Any]:
    crd = yaml.safe_load((ROOT / "deploy/crd/benchmarkjobs.yaml").read_text(encoding="utf-8"))
    found: dict[str, Any] = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return found


FIRST = ["create", "apply --server-side"]
AGAIN = ["replace", "apply --server-side --force-conflicts", "apply"]


def stored(api: Kube, line: str, document: dict[str, Any]) -> None:
    """Has kubectl store a document; where an operator wrote the object's status in between, once more."""

    def done() -> bool:
        try:
            api(*line.split(), "-f", "-", stdin=yaml.safe_dump(document))
        except ClusterError as error:
            if "the object has been modified" not in str(error):
                raise
            return False
        return True

    api.wait(f"kubectl {line}", done)


@pytest.mark.parametrize("first", [*FIRST, "apply"])
def test_a_null_that_is_written_out_is_no_change(api: Kube, name: str, first: str) -> None:
    plain = held(name)
    del plain["spec"]["entries"][1]["training"]  # its null is one that says something, and that `apply` leaves out
    full = spelled_out(plain, schema())
    assert full["spec"]["dataset"]["digest"] is None
    api(*first.split(), "-f", "-", stdin=yaml.safe_dump(full))
    for again in AGAIN:
        for document in (full, plain, full):
            stored(api, again, document)


CHANGES: list[tuple[dict[str, Any], str]] = [
    ({"board": "other"}, "spec.board"),
    ({"dataset": {"name": "digits", "digest": "sha256:" + "a" * 64}}, "spec.dataset"),
    ({"preprocessing": {"featureSelection": {"method": "SelectKBest", "k": 8}}}, "spec.preprocessing"),
    (
        {"preprocessing": {"augmentations": [{"name": "RandomErasing"}, {"name": "RandomCrop"}]}},
        "spec.preprocessing",
    ),
    ({"budget": {"maxEpochs": 1, "target": None}}, "spec.budget"),
    ({"training": {"optimizer": {"name": "Adam", "eps": 0.1}}}, "spec.training"),
    ({"training": {"optimizer": {"name": "Adam"}, "earlyStopping": {}}}, "spec.training"),
    ({"runner": {"priorityClassName": "high"}}, "spec.runner"),
    ({"regression": {"baseline": "other"}}, "spec.regression"),
    ({"objectives": [{"name": "accuracy", "metric": "accuracy"}]}, "spec.objectives"),
    ({"execution": {"trialDeadlineSeconds": 60}}, "spec.execution.trialDeadlineSeconds"),
    ({"entries": [{"name": "mlp", "model": {"name": "velodrome/mlp", "args": {"hidden": 9}}}]}, "spec.entries"),
    ({"entries": list(reversed(held("x")["spec"]["entries"]))}, "spec.entries"),
    (
        {"entries": [held("x")["spec"]["entries"][0], {"name": "cnn", "model": {"name": "velodrome/cnn"}}]},
        "spec.entries",
    ),
]


@pytest.mark.parametrize("first", FIRST)
def test_a_change_beside_written_nulls_is_refused(api: Kube, name: str, first: str) -> None:
    api(*first.split(), "-f", "-", stdin=yaml.safe_dump(spelled_out(held(name), schema())))
    for change, field in CHANGES:
        assert f"{field} can't change" in api.refused(spelled_out(held(name, **change), schema())), change


def test_the_largest_race_can_be_applied_again(api: Kube, name: str) -> None:
    """Its rules cost the API server less than it bears."""
    args = {f"argument-{number}": "x" * 20 for number in range(20)}
    entries = [
        {"name": f"entry-{number}", "model": {"name": "velodrome/mlp", "args": args}, "image": None}
        for number in range(1000)
    ]
    document = held(name, entries=entries)
    for verb in ("create", "replace"):
        stored(api, verb, document)


def test_a_generated_name_is_taken(api: Kube) -> None:
    document = held("x")
    document["metadata"] = {"generateName": "generated-"}
    made = api("create", "-f", "-", "-o", "name", stdin=yaml.safe_dump(document)).strip()
    assert made.startswith("benchmarkjob.velodrome.dev/generated-")
    api("delete", made, "--wait=false")


def test_what_may_change_can(api: Kube, name: str) -> None:
    api.apply(race(name))
    changed = {"suspend": True, "ttlSecondsAfterFinished": 60, "execution": {"isolation": "None", "parallelism": 2}}
    api.apply(race(name, **changed))
    assert api.get("bmj", name)["spec"]["suspend"] is True


def with_search(name: str, **search: Any) -> dict[str, Any]:
    rate = {"name": "training.optimizer.learningRate", "type": "LogFloat", "low": 1e-4, "high": 0.3}
    entries = [{"name": "mlp", "model": {"name": "velodrome/mlp"}}]
    return held(name, search={"maxTrials": 5, "parameters": [rate], **search}, trials={}, entries=entries)


@pytest.mark.parametrize("first", [*FIRST, "apply"])
def test_the_trials_of_a_search_may_be_raised_and_nothing_else_of_it(api: Kube, name: str, first: str) -> None:
    api(*first.split(), "-f", "-", stdin=yaml.safe_dump(with_search(name)))
    for again in AGAIN:
        stored(api, again, spelled_out(with_search(name), schema()))
    raised = with_search(name, maxTrials=8)
    stored(api, "apply --server-side --force-conflicts", raised)
    assert api.get("bmj", name)["spec"]["search"]["maxTrials"] == 8
    assert "spec.search.maxTrials can be raised, and not lowered" in api.refused(with_search(name))
    changes: dict[str, Any] = {
        "seed": 4,
        "algorithm": "Random",
        "parameters": [{"name": "training.batchSize", "type": "Integer", "low": 8, "high": 64}],
        "pruner": {"name": "ASHA"},
        "budget": {"epochs": 9},
        "enqueue": [{"training.optimizer.learningRate": 0.01}],
        "confirm": {"repeats": 2},
    }
    for field, value in changes.items():
        said = api.refused(with_search(name, maxTrials=9, **{field: value}))
        assert f"spec.search.{field} can't change" in said
    none = with_search(name)
    del none["spec"]["search"]
    assert "spec.search can't change" in api.refused(none)


def test_the_number_of_a_grid_stays(api: Kube, name: str) -> None:
    """A grid ends, also one that has points left."""
    size = {"name": "training.batchSize", "type": "Categorical", "choices": [16, 32, 64]}
    grid: dict[str, Any] = {"algorithm": "Grid", "parameters": [size]}
    api("create", "-f", "-", stdin=yaml.safe_dump(with_search(name, maxTrials=2, **grid)))
    stored(api, "replace", with_search(name, maxTrials=2, **grid))
    for number in (1, 3):
        assert "spec.search.maxTrials of a grid can't change" in api.refused(
            with_search(name, maxTrials=number, **grid)
        )
    assert api.get("bmj", name)["spec"]["search"]["maxTrials"] == 2


def test_a_search_has_no_more_trials_than_a_job_may_have(api: Kube, name: str) -> None:
    """Of all its entries together, when it is made and when it is raised."""
    said = "a search has at most 100,000 trials, entries times search.maxTrials"
    entries = [{"name": f"mlp-{number}", "model": {"name": "velodrome/mlp"}} for number in range(11)]

    def of_eleven(most: int) -> dict[str, Any]:
        document = with_search(name, maxTrials=most)
        document["spec"]["entries"] = entries
        return document

    assert said in api.refused(of_eleven(9_091))
    api("create", "-f", "-", stdin=yaml.safe_dump(of_eleven(9_089)))
    stored(api, "replace", of_eleven(9_090))
    assert said in api.refused(of_eleven(9_091))
    assert api.get("bmj", name)["spec"]["search"]["maxTrials"] == 9_090


def test_fields_are_explained(api: Kube) -> None:
    assert "Share of the training split" in api("explain", "bmj.spec.dataset.validationFraction")


def test_it_is_found_by_its_short_name_and_category(api: Kube, name: str) -> None:
    api.apply(race(name))
    assert name in api("get", "bmj")
    assert name in api("get", "velodrome")

"""A null that is written out is an absent field: what an API server holds, `velodrome validate` holds too."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from velodrome.cli.app import app
from velodrome.errors import SpecError
from velodrome.plan import plan
from velodrome.spec import BenchmarkJob, validate
from velodrome.spec.nulls import turned_off, without_nulls

FULL = yaml.safe_load((Path(__file__).parent / "jobs/full.yaml").read_text(encoding="utf-8"))
# Objects of the user's own, in which null is a value, and what entries override.
THEIRS = (
    *("args", "tolerations", "affinity", "labels", "annotations", "nodeSelector", "limits", "requests"),
    *("schedulingGates", "topologySpreadConstraints", "hostAliases", "dnsConfig", "securityContext", "initContainers"),
    *("volumeMounts", "volumeDevices", "ports", "lifecycle", "startupProbe", "livenessProbe", "readinessProbe", "csi"),
)


def fields(value: Any, here: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where a document has fields that the schema names."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from fields(item, (*here, index))
    elif isinstance(value, dict):
        for name, item in value.items():
            yield (*here, name)
            if name not in THEIRS and not (name == "training" and "entries" in here):
                yield from fields(item, (*here, name))


def held(document: Any) -> BenchmarkJob | None:
    try:
        return validate(document)
    except SpecError:
        return None


@pytest.mark.parametrize("location", list(fields(FULL)), ids=lambda location: ".".join(map(str, location)))
def test_a_field_that_is_null_is_one_that_is_absent(location: tuple[str | int, ...]) -> None:
    null, absent = copy.deepcopy(FULL), copy.deepcopy(FULL)
    *above, name = location
    for document in (null, absent):
        holder = document
        for step in above:
            holder = holder[step]
        if document is null:
            holder[name] = None
        else:
            del holder[name]
    assert held(null) == held(absent)


def job(**training: Any) -> dict[str, Any]:
    document: dict[str, Any] = {
        "apiVersion": "velodrome.dev/v1alpha1",
        "kind": "BenchmarkJob",
        "metadata": {"name": "nulls"},
        "spec": {
            "dataset": {"name": "digits"},
            "training": {"earlyStopping": {"patience": 2}},
            "entries": [{"name": "mlp", "model": {"name": "velodrome/mlp"}, "training": training}],
        },
    }
    return document


def test_an_entrys_null_turns_off_what_it_would_inherit() -> None:
    off, inherited = validate(job(earlyStopping=None)), validate(job())
    assert plan(off).configs["mlp"].training.early_stopping is None
    assert plan(inherited).configs["mlp"].training.early_stopping is not None
    assert list(turned_off(off)) == [("spec", "entries", 0, "training", "earlyStopping")]
    assert not list(turned_off(inherited))
    assert not list(turned_off(validate(job(optimizer={"momentum": None})))), "there is none to turn off"


def test_what_cannot_be_turned_off_says_so() -> None:
    with pytest.raises(SpecError, match=r"entries\[0\]\.training\.batchSize: .*leave it out to inherit it"):
        validate(job(batchSize=None))


def test_validate_names_what_a_null_turns_off(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(job(earlyStopping=None)))
    said = CliRunner().invoke(app, ["validate", str(path)]).output
    assert "spec.entries[0].training.earlyStopping: null turns this off" in said


def test_a_models_own_null_stays() -> None:
    document = job()
    document["spec"]["entries"][0]["model"]["args"] = {"hidden": None}
    assert without_nulls(document) == document

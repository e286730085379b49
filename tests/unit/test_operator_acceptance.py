"""What `helm test` concludes from what it is shown; and that it races, in a cluster and a Redis that play along."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from velodrome.plan import plan
from velodrome.spec import parse_jobs
from velodrome_operator.acceptance import InstallationFaulty, check_schema, ended, fields_missing, small_race
from velodrome_operator.crd import spec_schema


def openapi(spec: dict[str, Any]) -> dict[str, Any]:
    kinds = {"dev.velodrome.v1alpha1.BenchmarkJob": {"properties": {"spec": spec}}, "other.BenchmarkJobList": {}}
    return {"components": {"schemas": kinds}}


def test_the_crd_of_this_version_is_good() -> None:
    check_schema(openapi(spec_schema()))


def test_a_cluster_without_the_kind_is_told_to_install_it() -> None:
    documents: list[dict[str, Any] | None] = [None, {}, {"components": {"schemas": {}}}]
    for document in documents:
        with pytest.raises(InstallationFaulty, match="knows no BenchmarkJob: install the CRD"):
            check_schema(document)


def test_an_older_crd_is_told_by_the_fields_that_it_drops() -> None:
    older = copy.deepcopy(spec_schema())
    del older["properties"]["runner"]["properties"]["nodes"]
    del older["properties"]["entries"]["items"]["properties"]["command"]
    assert sorted(fields_missing(older, spec_schema())) == ["spec.entries[].command", "spec.runner.nodes"]
    with pytest.raises(
        InstallationFaulty, match=r"older than the operator: it lacks .*spec\.runner\.nodes.*helm upgrade"
    ):
        check_schema(openapi(older))


def test_a_newer_crd_is_good() -> None:
    newer = copy.deepcopy(spec_schema())
    newer["properties"]["invented"] = {"type": "string"}
    check_schema(openapi(newer))


def test_the_race_is_valid_and_has_one_trial() -> None:
    (job,) = parse_jobs(json.dumps(small_race("default", "velodrome-test")))
    assert len(plan(job).trials) == 1
    assert job.spec.board == "velodrome-test"


def told(*conditions: tuple[str, str, str]) -> dict[str, Any]:
    return {
        "status": {"conditions": [dict(zip(("type", "status", "message"), each, strict=True)) for each in conditions]}
    }


def test_a_race_is_complete_failed_gone_or_goes_on() -> None:
    assert ended(told(("Running", "False", ""), ("Complete", "True", "")))
    assert not ended(told(("Complete", "False", "")))
    assert not ended({})
    with pytest.raises(InstallationFaulty, match="the race failed: no image"):
        ended(told(("Failed", "True", "no image")))
    with pytest.raises(InstallationFaulty, match="somebody deleted"):
        ended(None)

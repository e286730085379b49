"""What the chart renders for backups: restricted pods with one user each, and a place that outlives the release."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.integration.test_chart import Objects, component, containers, helm, objects, reached, refusal

__all__ = ["helm"]

ON = {"backup": {"enabled": True}}
BUCKET = {"backup": {"enabled": True, "bucket": {"url": "s3://results/of", "existingSecret": "aws", "ports": [9000]}}}


def pod(found: Objects, act: str) -> dict[str, Any]:
    spec: dict[str, Any] = found["CronJob", f"velodrome-{act}"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    return spec


def test_there_are_none_unless_asked_for(helm: str) -> None:
    assert not [name for kind, name in objects(helm) if "backup" in name or kind == "CronJob"]


@pytest.mark.parametrize("values", [ON, BUCKET])
def test_a_backup_runs_by_the_clock_and_a_restore_by_a_person(helm: str, values: Mapping[str, Any]) -> None:
    found = objects(helm, values)
    backup, restore = (found["CronJob", f"velodrome-{act}"]["spec"] for act in ("backup", "restore"))
    assert (backup["suspend"], restore["suspend"]) == (False, True)
    assert backup["concurrencyPolicy"] == "Forbid"
    place = "/backups" if values is ON else "s3://results/of"
    assert containers(pod(found, "backup"))[0]["args"] == [place, "--keep=14"]
    assert containers(pod(found, "restore"))[0]["args"] == [place]


@pytest.mark.parametrize(("act", "user"), [("backup", "leaderboard"), ("restore", "operator")])
def test_what_backs_up_reads_alone_and_what_restores_writes(helm: str, act: str, user: str) -> None:
    spec = pod(objects(helm, ON), act)
    (container,) = spec["containers"]
    environment = {one["name"]: one["value"] for one in container["env"]}
    assert environment["VELODROME_REDIS_USERNAME"] == user
    (access,) = [one for one in spec["volumes"] if one["name"] == "redis-access"]
    keys = [item["key"] for source in access["projected"]["sources"] for item in source["secret"]["items"]]
    assert [key for key in keys if key.endswith("-password")] == [f"{user}-password"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert {"requests", "limits"} <= container["resources"].keys()


def test_backups_outlive_the_release(helm: str) -> None:
    found = objects(helm, ON)
    claim = found["PersistentVolumeClaim", "velodrome-backup"]
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    volumes = {one["name"]: one for one in pod(found, "backup")["volumes"]}
    assert volumes["backups"] == {"name": "backups", "persistentVolumeClaim": {"claimName": "velodrome-backup"}}
    own = objects(helm, {"backup": {"enabled": True, "claim": {"existing": "mine"}}})
    assert ("PersistentVolumeClaim", "velodrome-backup") not in own
    assert "mine" in json.dumps(pod(own, "restore")["volumes"])


def test_a_bucket_needs_no_claim_and_its_keys_come_from_a_secret(helm: str) -> None:
    found = objects(helm, BUCKET)
    assert ("PersistentVolumeClaim", "velodrome-backup") not in found
    (container,) = pod(found, "backup")["containers"]
    assert container["envFrom"] == [{"secretRef": {"name": "aws"}}]
    assert "backups" not in {one["name"] for one in container["volumeMounts"]}


def test_it_reaches_redis_dns_and_the_bucket_and_nobody_reaches_it(helm: str) -> None:
    with_claim = objects(helm, ON)["NetworkPolicy", "velodrome-backup"]["spec"]
    assert sorted(port["port"] for rule in with_claim["egress"] for port in rule["ports"]) == [53, 53, 6379]
    assert "ingress" not in with_claim
    spec = objects(helm, BUCKET)["NetworkPolicy", "velodrome-backup"]["spec"]
    (bucket,) = [rule for rule in spec["egress"] if rule["ports"][0]["port"] == 9000]
    assert bucket["to"] == [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}}]
    redis = objects(helm, ON)["NetworkPolicy", "velodrome-redis"]["spec"]
    assert reached(redis, "ingress", component("backup"), 6379)


@pytest.mark.parametrize(
    "backup",
    [{"schedule": "often"}, {"keep": -1}, {"bucket": {"url": "ftp://x"}}, {"claim": {"size": "big"}}, {"kept": 3}],
)
def test_what_can_not_work_is_refused(helm: str, backup: Mapping[str, Any]) -> None:
    assert "backup" in refusal(helm, {"backup": {"enabled": True, **backup}})

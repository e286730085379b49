"""The recipes in deploy/ say what they mean: Argo CD's health script, queues, the nightly race, shared GPUs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from lupa.lua51 import LuaRuntime

from velodrome.spec import parse_jobs
from velodrome_operator import submit

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


def documents(name: str) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all((DEPLOY / name).read_text(encoding="utf-8")) if one]


def health(status: dict[str, Any] | None, generation: int = 1) -> tuple[str, str]:
    """What Argo CD shows of a BenchmarkJob with this status, by Lua 5.1, which Argo CD runs too."""
    lua = LuaRuntime()

    def table(value: Any) -> Any:
        if isinstance(value, dict):
            return lua.table_from({key: table(inner) for key, inner in value.items()})
        return lua.table_from([table(inner) for inner in value]) if isinstance(value, list) else value

    lua.globals().obj = table({"metadata": {"generation": generation}, **({"status": status} if status else {})})
    found = lua.execute((DEPLOY / "argocd/health.lua").read_text(encoding="utf-8"))
    return found["status"], found["message"]


def conditions(*held: tuple[str, str, str], **rest: Any) -> dict[str, Any]:
    return {"conditions": [{"type": kind, "status": status, "message": text} for kind, status, text in held], **rest}


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        (None, ("Progressing", "the operator has not looked at it yet")),
        (conditions(("Complete", "False", ""), message="3 of 10 trials"), ("Progressing", "3 of 10 trials")),
        (conditions(("Complete", "True", "10 of 10")), ("Healthy", "10 of 10")),
        (conditions(("Complete", "True", "10 of 10"), ("Regressed", "True", "cnn −5 %")),
         ("Healthy", "10 of 10; regressed: cnn −5 %")),
        (conditions(("Failed", "True", "no image"), ("Complete", "False", "")), ("Degraded", "no image")),
        (conditions(("Suspended", "True", "spec.suspend")), ("Suspended", "spec.suspend")),
        (conditions(("Complete", "True", "of an older spec"), observedGeneration=0),
         ("Progressing", "the operator has not looked at this version of it yet")),
    ],
)  # fmt: skip
def test_argo_cd_shows_how_a_race_is_doing(status: dict[str, Any] | None, shown: tuple[str, str]) -> None:
    assert health(status) == shown


def test_argo_cds_key_names_the_kind() -> None:
    (generated,) = documents("argocd/kustomization.yaml")[0]["configMapGenerator"]
    assert generated["files"] == ["resource.customizations.health.velodrome.dev_BenchmarkJob=health.lua"]


def test_races_are_valid() -> None:
    for name in ("nightly/race.yaml", "kueue/race.yaml"):
        assert parse_jobs((DEPLOY / name).read_text(encoding="utf-8")), name


def test_queues_lead_somewhere() -> None:
    found = documents("kueue/queues.yaml")
    by_kind: dict[str, dict[str, dict[str, Any]]] = {}
    for one in found:
        key = one["metadata"].get("namespace", "") + "/" + one["metadata"]["name"]
        by_kind.setdefault(one["kind"], {})[key] = one
    for queue in by_kind["ClusterQueue"].values():
        for group in queue["spec"]["resourceGroups"]:
            for flavor in group["flavors"]:
                assert f"/{flavor['name']}" in by_kind["ResourceFlavor"]
                assert [one["name"] for one in flavor["resources"]] == group["coveredResources"]
    for local in by_kind["LocalQueue"].values():
        assert f"/{local['spec']['clusterQueue']}" in by_kind["ClusterQueue"]
    used = {flavor["name"] for queue in by_kind["ClusterQueue"].values() for group in queue["spec"]["resourceGroups"]
            for flavor in group["flavors"]}  # fmt: skip
    assert {f"/{name}" for name in used} == by_kind["ResourceFlavor"].keys()
    (race,) = documents("kueue/race.yaml")
    queue = race["metadata"]["labels"]["kueue.x-k8s.io/queue-name"]
    assert f"{race['metadata']['namespace']}/{queue}" in by_kind["LocalQueue"]


def test_the_nightly_pod_is_restricted_and_may_make_races_alone() -> None:
    found = {one["kind"]: one for one in documents("nightly/nightly.yaml")}
    assert found["Role"]["rules"] == [
        {"apiGroups": ["velodrome.dev"], "resources": ["benchmarkjobs"], "verbs": ["create"]}
    ]
    pod = found["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["serviceAccountName"] == found["RoleBinding"]["subjects"][0]["name"]
    (container,) = pod["containers"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["resources"].keys() == {"requests", "limits"}
    assert container["command"][:3] == ["python", "-m", submit.__name__]
    (source,) = documents("nightly/kustomization.yaml")[0]["configMapGenerator"]
    assert pod["volumes"] == [{"name": "race", "configMap": {"name": source["name"]}}]
    assert container["command"][3] == f"{container['volumeMounts'][0]['mountPath']}/{source['files'][0]}"


@pytest.mark.parametrize("name", ["gpu/mig.yaml", "gpu/time-slicing.yaml"])
def test_what_the_gpu_operator_reads_is_yaml(name: str) -> None:
    (document,) = documents(name)
    for text in document["data"].values():
        assert yaml.safe_load(text)["version"] == "v1"


def test_kinds_values_are_the_charts() -> None:
    defaults = yaml.safe_load((DEPLOY.parent / "charts/velodrome/values.yaml").read_text(encoding="utf-8"))

    def unknown(given: dict[str, Any], known: dict[str, Any], at: str = "") -> list[str]:
        lost = [f"{at}{name}" for name in given if name not in known]
        inner = [(name, value) for name, value in given.items() if isinstance(value, dict) and name in known]
        return lost + [one for name, value in inner for one in unknown(value, known[name], f"{at}{name}.")]

    assert unknown(documents("kind/values.yaml")[0], defaults) == []

"""The objects that a BenchmarkJob becomes, and what the operator reads off them again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.owned import owned_job, owned_pod
from velodrome import keys
from velodrome.errors import SpecError
from velodrome.plan import Plan, plan
from velodrome.spec import BenchmarkJob, parse_jobs, read_jobs
from velodrome.spec.pod_rules import OWN_VARIABLES
from velodrome.spec.pods import DEFAULT_LIMITS, DEFAULT_REQUESTS, DEFAULT_SCRATCH_SIZE, DEFAULT_SHM_SIZE
from velodrome.spec.restricted import violations
from velodrome_operator.children import MOST_REPORT_KEYS, ChildSettings, Names, children, groups
from velodrome_operator.observation import job_facts, pod_facts
from velodrome_operator.policy import enforce
from velodrome_operator.races import Races

EXAMPLES = Path(__file__).parents[2] / "deploy/examples"
UID = "3f1c2d54-0000-4000-8000-000000000001"
PINNED = "registry.example/{}@sha256:" + "a" * 64
URL = "redis://user:secret@redis:6379/0"


def job(**spec: Any) -> BenchmarkJob:
    document = yaml.safe_load((EXAMPLES / "digits.yaml").read_text())
    document["metadata"]["labels"] = spec.pop("labels", {})
    document["spec"] |= spec
    (made,) = parse_jobs(json.dumps(document))
    return made


def made(given: BenchmarkJob) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for child in children(given, plan(given), UID, URL, ChildSettings(PINNED.format("runner"))):
        found.setdefault(child["kind"], []).append(child)
    return found


def pod_spec(given: BenchmarkJob) -> Any:
    return made(given)["Job"][0]["spec"]["template"]["spec"]


def test_children_are_the_same_whenever_they_are_made() -> None:
    assert made(job()) == made(job())


def test_children_are_named_after_the_object_and_not_after_another_of_the_same_name() -> None:
    again = children(job(), plan(job()), UID[:-1] + "2", URL, ChildSettings())
    assert {child["metadata"]["name"] for child in again}.isdisjoint(
        child["metadata"]["name"] for kind in made(job()).values() for child in kind
    )


def test_what_may_change_in_a_race_changes_no_name() -> None:
    changed = job(suspend=True, ttlSecondsAfterFinished=5, execution={"parallelism": 3})
    assert Names.of(job(), UID) == Names.of(changed, UID)


def test_runners_plan_what_an_entry_turns_off_as_the_operator_does() -> None:
    entries = [
        {"name": "a", "model": {"name": "velodrome/mlp"}, "training": {"earlyStopping": None}},
        {"name": "b", "model": {"name": "velodrome/mlp"}},
    ]
    given = job(training={"earlyStopping": {"patience": 2}}, entries=entries)
    (config_map,) = made(given)["ConfigMap"]
    (read,) = parse_jobs(config_map["data"]["job.json"])
    assert plan(read).configs == plan(given).configs
    assert plan(read).configs["a"].training.early_stopping is None


def test_every_child_is_owned_and_none_blocks_deletion() -> None:
    for kind in made(job()).values():
        for child in kind:
            (owner,) = child["metadata"]["ownerReferences"]
            assert (owner["uid"], owner["blockOwnerDeletion"]) == (UID, False)
            assert "finalizers" not in child["metadata"]


def test_one_indexed_job_holds_all_trials() -> None:
    (spec,) = (child["spec"] for child in made(job())["Job"])
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 25, 1)
    assert spec["podReplacementPolicy"] == "Failed"


def test_entries_with_images_of_their_own_get_jobs_of_their_own() -> None:
    entries = [
        {"name": "a", "model": {"name": "velodrome/cnn"}},
        {"name": "b", "model": {"name": "velodrome/cnn"}, "image": PINNED.format("other")},
        {"name": "c", "model": {"name": "velodrome/mlp"}},
    ]
    given = job(entries=entries, trials={"repeats": 2})
    first, second = made(given)["Job"]
    assert (first["spec"]["completions"], second["spec"]["completions"]) == (4, 2)
    assert (first["spec"]["parallelism"], second["spec"]["parallelism"]) == (1, 0)
    made_plan: Plan = plan(given)
    assert [group.trials(made_plan) for group in groups(given)] == [(0, 2, 3, 5), (1, 4)]
    environment = {item["name"]: item.get("value") for item in _container(second)["env"]}
    assert environment[keys.ENV_ENTRIES] == "1"


def _container(child: Any) -> Any:
    return child["spec"]["template"]["spec"]["containers"][0]


def test_pods_are_restricted() -> None:
    pod = pod_spec(job())
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    security = pod["containers"][0]["securityContext"]
    assert security == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_isolation_keeps_trials_of_all_races_off_one_node_and_adds_to_the_jobs_own_affinity() -> None:
    own = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "rack"}]}}
    rules = pod_spec(job(runner={"affinity": own}))["affinity"]["podAntiAffinity"]
    required = rules["requiredDuringSchedulingIgnoredDuringExecution"]
    assert [rule["topologyKey"] for rule in required] == ["rack", "kubernetes.io/hostname"]
    assert "affinity" not in pod_spec(job(execution={"isolation": "None"}))


def test_a_volume_of_data_is_mounted_read_only() -> None:
    source = {"persistentVolumeClaim": {"claimName": "datasets", "path": "mnist"}}
    pod = pod_spec(job(dataset={"name": "MNIST", "source": source}))
    volume = next(volume for volume in pod["volumes"] if volume["name"] == "data")
    assert volume["persistentVolumeClaim"] == {"claimName": "datasets", "readOnly": True}
    mount = next(mount for mount in pod["containers"][0]["volumeMounts"] if mount["name"] == "data")
    assert mount["readOnly"] is True


def test_kueue_gets_its_labels_and_a_suspended_job() -> None:
    (child,) = made(job(labels={"kueue.x-k8s.io/queue-name": "gpu", "team": "vision"}))["Job"]
    assert child["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "gpu"
    assert "team" not in child["metadata"]["labels"]
    assert child["spec"]["suspend"] is True


def test_pods_get_what_the_job_asks_of_the_cluster() -> None:
    runner = {
        "nodeSelector": {"gpu": "h200"},
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "priorityClassName": "low",
        "imagePullSecrets": [{"name": "pull"}],
        "env": [{"name": "NCCL_DEBUG", "value": "INFO"}],
        "resources": {"requests": {"cpu": 4, "memory": "8Gi"}, "limits": {"nvidia.com/gpu": 1}},
    }
    pod = pod_spec(job(runner=runner))
    assert pod["nodeSelector"] == {"gpu": "h200"}
    assert pod["tolerations"] == [{"key": "gpu", "operator": "Exists"}]
    assert (pod["priorityClassName"], pod["imagePullSecrets"]) == ("low", [{"name": "pull"}])
    assert {"name": "NCCL_DEBUG", "value": "INFO"} in pod["containers"][0]["env"]
    wanted = {"requests": {"cpu": 4, "memory": "8Gi"}, "limits": {"nvidia.com/gpu": 1}}
    assert pod["containers"][0]["resources"] == wanted


@pytest.mark.parametrize("name", [keys.ENV_JOB_UID, keys.ENV_INDEX, keys.ENV_TAKEN_OVER])
def test_a_job_cannot_set_the_variables_that_instruct_its_trials(name: str) -> None:
    with pytest.raises(SpecError, match=rf"spec.runner.env\[0\].name: {name} is set by Velodrome"):
        job(runner={"env": [{"name": name, "value": "forged"}]})


def test_pods_get_the_address_of_a_pushgateway_where_there_is_one() -> None:
    assert keys.ENV_PUSHGATEWAY not in json.dumps(made(job()))
    settings = ChildSettings(PINNED.format("runner"), pushgateway="http://pushgateway:9091")
    (indexed,) = [child for child in children(job(), plan(job()), UID, URL, settings) if child["kind"] == "Job"]
    environment = indexed["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": keys.ENV_PUSHGATEWAY, "value": "http://pushgateway:9091"} in environment
    assert indexed["metadata"] == made(job())["Job"][0]["metadata"], "switching it on makes no race run again"


def test_the_password_is_in_the_secret_alone() -> None:
    for kind, found in made(job()).items():
        assert ("secret@redis" in json.dumps(found)) == (kind == "Secret")


def test_the_secret_is_the_races_own_in_its_namespace_and_nobody_can_change_it() -> None:
    (secret,) = made(job())["Secret"]
    assert secret["immutable"] is True
    assert secret["metadata"]["namespace"] == job().namespace
    (owner,) = secret["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == (keys.KIND, UID, True)
    for found in made(job()).values():
        for child in found:
            assert child["metadata"]["namespace"] == job().namespace


def test_pods_get_the_authority_of_redis_and_no_file_with_a_password() -> None:
    settings = ChildSettings(runner_image=PINNED.format("runner"), authority="PEM")
    found = children(job(), plan(job()), UID, URL, settings)
    (secret,) = [child for child in found if child["kind"] == "Secret"]
    (told,) = [child for child in found if child["kind"] == "Job"]
    assert secret["stringData"] == {keys.ENV_REDIS_URL: URL, "ca.crt": "PEM"}
    spec = told["spec"]["template"]["spec"]
    (volume,) = [each for each in spec["volumes"] if "secret" in each]
    assert volume["secret"]["items"] == [{"key": "ca.crt", "path": "ca.crt"}]
    (mount,) = [each for each in spec["containers"][0]["volumeMounts"] if each["name"] == volume["name"]]
    assert mount["readOnly"] is True
    environment = {item["name"]: item.get("value") for item in spec["containers"][0]["env"]}
    assert environment[keys.ENV_REDIS_CA_FILE] == f"{mount['mountPath']}/ca.crt"
    without = pod_spec(job())
    assert not [each for each in without["volumes"] if "secret" in each]
    assert keys.ENV_REDIS_CA_FILE not in [item["name"] for item in without["containers"][0]["env"]]


def test_each_pod_is_shown_the_report_key_of_its_own_trial_alone() -> None:
    entries = [
        {"name": "a", "model": {"name": "velodrome/cnn"}},
        {"name": "b", "model": {"name": "velodrome/cnn"}, "image": PINNED.format("other")},
        {"name": "c", "model": {"name": "velodrome/mlp"}},
    ]
    given = job(entries=entries, trials={"repeats": 2})
    settings = ChildSettings(runner_image=PINNED.format("runner"))
    found = children(given, plan(given), UID, URL, settings, frozenset({0}), lambda index: f"key of {index}")
    _, secret = (child for child in found if child["kind"] == "Secret")
    assert secret["immutable"] is True
    assert secret["metadata"]["ownerReferences"][0]["uid"] == UID
    assert secret["stringData"] == {
        "report-key-0-0": "key of 2", "report-key-0-1": "key of 3", "report-key-0-2": "key of 5",
        "report-key-1-0": "key of 1", "report-key-1-1": "key of 4",
    }  # fmt: skip
    for number, told in enumerate(child for child in found if child["kind"] == "Job"):
        spec = told["spec"]["template"]["spec"]
        (mount,) = [each for each in spec["containers"][0]["volumeMounts"] if each["name"] == "report-keys"]
        assert mount["subPathExpr"] == f"report-key-{number}-$(JOB_COMPLETION_INDEX)"
        assert mount["readOnly"] is True
        environment = {item["name"]: item.get("value") for item in spec["containers"][0]["env"]}
        assert environment[keys.ENV_REPORT_KEY_FILE] == mount["mountPath"]
        (volume,) = [each for each in spec["volumes"] if each["name"] == "report-keys"]
        assert volume["secret"] == {"secretName": secret["metadata"]["name"]}
        assert "key of" not in json.dumps(told)
        assert job_facts({**told, "metadata": {**told["metadata"], "creationTimestamp": "2026-01-01T00:00:00Z"}}).keyed


def test_all_pods_of_a_trial_have_its_key() -> None:
    given = job(runner={"nodes": 2}, trials={"repeats": 1})
    found = children(given, plan(given), UID, URL, ChildSettings(runner_image=PINNED.format("x")), key_of=str)
    _, secret = (child for child in found if child["kind"] == "Secret")
    kept = [secret["stringData"][f"report-key-0-{completion}"] for completion in range(2 * len(given.spec.entries))]
    assert kept == [str(index) for index in range(len(given.spec.entries)) for _ in range(2)]


def test_without_report_keys_nothing_shows_any() -> None:
    settings = ChildSettings(runner_image=PINNED.format("runner"), report_keys=False)
    many = job(trials={"repeats": MOST_REPORT_KEYS // len(job().spec.entries) + 1})
    for given, chosen in ((job(), settings), (many, ChildSettings(runner_image=PINNED.format("runner")))):
        found = children(given, plan(given), UID, URL, chosen, key_of=str)
        assert [child["kind"] for child in found] == ["ConfigMap", "Secret", "Job"]
        assert "report-key" not in json.dumps(found)
        assert keys.ENV_REPORT_KEY_FILE not in json.dumps(found)
    assert not job_facts(seen_job()).keyed


def pod(index: int, **status: Any) -> dict[str, Any]:
    name = Names.of(job(), UID).job(groups(job())[0])
    return owned_pod(UID, name, index, f"u-{index}", status=status)


def seen_job() -> dict[str, Any]:
    return owned_job(UID, Names.of(job(), UID).job(groups(job())[0]))


@pytest.mark.parametrize(
    ("status", "trouble"),
    [
        ({"phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": "ContainerCreating"}}}]}, ""),
        (
            {
                "phase": "Pending",
                "containerStatuses": [{"state": {"waiting": {"reason": "ErrImagePull", "message": "no"}}}],
            },
            "ErrImagePull: no",
        ),
        (
            {
                "phase": "Pending",
                "conditions": [
                    {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}
                ],
            },
            "Unschedulable: 0/1 nodes",
        ),
        (
            {"phase": "Running", "containerStatuses": [{"state": {"running": {"startedAt": "2026-03-01T12:00:05Z"}}}]},
            "",
        ),
        ({}, ""),
    ],
)
def test_why_a_pod_does_not_start(status: dict[str, Any], trouble: str) -> None:
    assert pod_facts(pod(0, **status), "job").trouble == trouble


def parent(version: str, **status: Any) -> dict[str, Any]:
    metadata = {"uid": UID, "name": "digits", "namespace": "default", "resourceVersion": version}
    spec = {"dataset": {"name": "digits"}}
    return {"metadata": {**metadata, "creationTimestamp": "2026-03-01T12:00:00Z"}, "spec": spec, "status": status}


def test_an_attempt_is_attributed_to_the_pod_that_ran_that_trial_and_to_no_other() -> None:
    races = Races()
    races.saw_pod(pod(3, phase="Running"))  # a child may be seen before its owner
    races.saw_job(seen_job())
    races.saw_parent(parent("5"))
    race = races.get(UID)
    assert race is not None
    race.lay_out(plan(job()), 1)
    observed = race.observed(3, "u-3")
    assert observed is not None
    assert (observed.node, observed.pod) == ("n1", "pod-u-3")
    assert race.observed(4, "u-3") is None
    assert race.observed(3, "u-4") is None
    races.saw_pod(pod(3), gone=True)
    assert race.observed(3, "u-3") is not None


def test_an_older_version_of_an_object_changes_nothing() -> None:
    races = Races()
    races.saw_parent(parent("10", message="new"))
    races.saw_parent(parent("9", message="old"))
    race = races.get(UID)
    assert race is not None
    assert race.parent.status == {"message": "new"}


def test_an_event_with_nothing_new_concerns_nobody() -> None:
    races = Races()
    assert [races.saw_parent(parent("5")), races.saw_parent(parent("5"))] == [UID, None]
    race = races.get(UID)
    assert race is not None
    assert [races.saw_job(seen_job()), races.saw_job(seen_job())] == [UID, None]
    before = race.logbook.news
    assert [races.saw_pod(pod(3)), races.saw_pod(pod(3))] == [UID, None]
    assert race.logbook.news == before + 1
    assert races.saw_pod(pod(3, phase="Running")) == UID
    assert races.saw_pod(pod(3), gone=True) == UID
    races.saw_pod(pod(4))
    before = race.logbook.news
    assert races.children() == (frozenset({seen_job()["metadata"]["uid"]}), frozenset({"u-4"}))
    races.forget_absent(set(), {"u-5"})
    assert race.logbook.news == before
    races.forget_absent(set(), {"u-4"})
    assert race.logbook.news == before + 1


def test_a_jobs_facts() -> None:
    facts = job_facts(
        {
            "metadata": {"name": "a", "creationTimestamp": "2026-03-01T12:00:00Z"},
            "spec": {"parallelism": 2, "suspend": True},
            "status": {
                "active": 1,
                "completedIndexes": "0-2",
                "failedIndexes": "4",
                "conditions": [{"type": "Failed", "status": "True", "message": "too many"}],
            },
        }
    )
    assert (sorted(facts.completed), sorted(facts.failed)) == ([0, 1, 2], [4])
    assert (facts.finished, facts.message) == (True, "too many")


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_example_becomes_objects(example: Path) -> None:
    for given in read_jobs(example):
        assert made(given)["Job"]


def test_pods_that_train_together_are_consecutive_indexes_with_names() -> None:
    given = job(
        runner={"nodes": 3, "image": PINNED.format("runner")}, trials={"repeats": 2}, execution={"parallelism": 2}
    )
    (made_job,) = made(given)["Job"]
    trials = len(plan(given))
    assert made_job["spec"]["completions"] == 3 * trials
    assert made_job["spec"]["parallelism"] == 6
    (service,) = made(given)["Service"]
    assert service["spec"]["clusterIP"] == "None"
    pod = pod_spec(given)
    assert pod["subdomain"] == service["metadata"]["name"]
    environment = {item["name"]: item.get("value") for item in pod["containers"][0]["env"]}
    assert environment["VELODROME_NODES"] == "3"
    name, service_name = made_job["metadata"]["name"], service["metadata"]["name"]
    assert environment["VELODROME_HOSTS"].format(index=3) == f"{name}-3.{service_name}"


def test_a_command_of_ones_own_runs_under_the_runner_in_a_job_of_its_own() -> None:
    entries = [{"name": "a", "command": ["python", "a.py"]}, {"name": "b", "model": {"name": "velodrome/mlp"}},
               {"name": "c", "command": ["python", "a.py"]}]  # fmt: skip
    first, second = made(job(entries=entries))["Job"]
    container = first["spec"]["template"]["spec"]["containers"][0]
    assert container["command"] == ["velodrome-runner", "exec", "--", "python", "a.py"]
    assert "command" not in second["spec"]["template"]["spec"]["containers"][0]
    assert first["spec"]["completions"] == 2 * second["spec"]["completions"]


RICH: dict[str, Any] = {
    "env": [
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "token"}}},
        {"name": "HOME", "value": "/home/me"},
    ],
    "envFrom": [{"prefix": "AWS_", "secretRef": {"name": "aws", "optional": True}}],
    "volumes": [
        {"name": "imagenet", "mountPath": "/imagenet", "persistentVolumeClaim": {"claimName": "imagenet"}},
        {"name": "out", "mountPath": "/out", "readOnly": False, "persistentVolumeClaim": {"claimName": "out"}},
        {"name": "tuning", "mountPath": "/tuning", "subPath": "a", "configMap": {"name": "tuning"}},
        {"name": "keys", "mountPath": "/keys", "secret": {"secretName": "keys", "items": [{"key": "a", "path": "b"}]}},
        {"name": "cache", "mountPath": "/cache", "emptyDir": {}},
        {"name": "fast", "mountPath": "/fast", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
        {"name": "weights", "mountPath": "/weights", "image": {"reference": PINNED.format("weights")}},
    ],
    "labels": {"team": "vision"},
    "annotations": {"example.com/ticket": "7"},
    "serviceAccountName": "trainer",
    "resourceClaims": [{"name": "gpu", "resourceClaimTemplateName": "half"}],
    "shmSize": "8Gi",
    "scratchSize": "50Gi",
    "template": {
        "spec": {
            "terminationGracePeriodSeconds": 60,
            "securityContext": {"runAsUser": 1000, "supplementalGroups": [2000], "fsGroup": None},
            "volumes": [{"name": "local", "csi": {"driver": "local.example"}}],
            "initContainers": [{"name": "fetch", "image": PINNED.format("fetch"), "securityContext": {"runAsUser": 7}}],
            "containers": [
                {
                    "name": "runner",
                    "workingDir": "/local",
                    "volumeMounts": [{"name": "local", "mountPath": "/local"}],
                    "securityContext": {"capabilities": {"add": ["NET_BIND_SERVICE"]}},
                }
            ],
        }
    },
}


def named(items: Any) -> dict[str, Any]:
    return {item["name"]: {key: value for key, value in item.items() if key != "name"} for item in items}


def test_pods_get_their_environment_from_secrets_and_config_maps() -> None:
    container = pod_spec(job(runner=RICH))["containers"][0]
    variables = named(container["env"])
    assert variables["TOKEN"] == {"valueFrom": {"secretKeyRef": {"name": "hub", "key": "token", "optional": False}}}
    assert variables["HOME"] == {"value": "/home/me"}
    assert container["envFrom"] == [{"prefix": "AWS_", "secretRef": {"name": "aws", "optional": True}}]


def test_a_claim_for_files_shows_a_pod_the_folder_of_its_own_race() -> None:
    spec = pod_spec(job(artifacts={"claimName": "runs", "checkpointSeconds": 60}))
    mount = next(each for each in spec["containers"][0]["volumeMounts"] if each["name"] == keys.VOLUME_ARTIFACTS)
    assert mount == {
        "name": keys.VOLUME_ARTIFACTS, "mountPath": "/scratch/artifacts", "subPath": f"velodrome/{UID}"
    }  # fmt: skip
    volume = next(each for each in spec["volumes"] if each["name"] == keys.VOLUME_ARTIFACTS)
    assert volume["persistentVolumeClaim"] == {"claimName": "runs"}


def test_without_a_claim_files_stay_in_the_scratch_folder() -> None:
    spec = pod_spec(job(artifacts={"weights": True}))
    assert {each["name"] for each in spec["volumes"]} == {each["name"] for each in pod_spec(job())["volumes"]}


def test_no_key_of_a_secret_tells_a_trial_which_it_is() -> None:
    container = pod_spec(job(runner=RICH))["containers"][0]
    told = {
        *(keys.ENV_REPEATS, keys.ENV_TAKEN_OVER, keys.ENV_PUSHGATEWAY, keys.ENV_NODES, keys.ENV_HOSTS),
        *(keys.ENV_REDIS_USERNAME, keys.ENV_REDIS_PASSWORD_FILE, keys.ENV_REDIS_CA_FILE, keys.ENV_REPORT_KEY_FILE),
        keys.ENV_REHEARSAL,
        keys.ENV_SEARCH,
        keys.ENV_LANE,
        keys.ENV_ARTIFACTS,
    }
    assert {name for name, item in named(container["env"]).items() if item == {"value": ""}} == told
    assert told.isdisjoint(named(pod_spec(job())["containers"][0]["env"]))


def test_every_variable_of_velodromes_is_written_or_nobodys_to_set() -> None:
    """A variable that is new in `keys` is written beside envFrom, or it stands here with the reason."""
    set_by_the_runner = {keys.ENV_TRIAL, keys.ENV_REPORT}
    set_by_kubernetes = {keys.ENV_INDEX}
    read_by_no_runner = {
        *(keys.ENV_BOARDS, keys.ENV_SIGN_IN, keys.ENV_MARKS_USERNAME, keys.ENV_MARKS_PASSWORD_FILE),
        keys.ENV_JOB_KEY_FILE,
    }
    written = named(pod_spec(job(runner=RICH))["containers"][0]["env"]).keys()
    assert set(OWN_VARIABLES) - written == set_by_the_runner | set_by_kubernetes | read_by_no_runner


def test_pods_get_volumes_which_are_read_only_unless_they_say_otherwise() -> None:
    pod = pod_spec(job(runner=RICH))
    volumes = named(pod["volumes"])
    assert volumes["imagenet"] == {"persistentVolumeClaim": {"claimName": "imagenet", "readOnly": True}}
    assert volumes["out"] == {"persistentVolumeClaim": {"claimName": "out"}}
    assert volumes["keys"] == {
        "secret": {"secretName": "keys", "items": [{"key": "a", "path": "b"}], "optional": False}
    }
    assert volumes["cache"] == {"emptyDir": {"sizeLimit": "50Gi"}}
    assert volumes["fast"] == {"emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}}
    assert volumes["weights"] == {"image": {"reference": PINNED.format("weights"), "pullPolicy": "IfNotPresent"}}
    mounts = named(pod["containers"][0]["volumeMounts"])
    assert mounts["tuning"] == {"mountPath": "/tuning", "subPath": "a", "readOnly": True}
    writable = {"scratch", "tmp", "shm", "out", "cache", "fast", "local"}
    assert {name for name, mount in mounts.items() if not mount.get("readOnly")} == writable


def test_memory_and_scratch_have_sizes() -> None:
    usual, given = (named(pod_spec(each)["volumes"]) for each in (job(), job(runner=RICH)))
    assert usual["shm"] == {"emptyDir": {"medium": "Memory", "sizeLimit": DEFAULT_SHM_SIZE}}
    assert usual["scratch"] == usual["tmp"] == {"emptyDir": {"sizeLimit": DEFAULT_SCRATCH_SIZE}}
    assert given["shm"]["emptyDir"]["sizeLimit"] == "8Gi"
    assert given["scratch"] == given["tmp"] == {"emptyDir": {"sizeLimit": "50Gi"}}


def test_a_pod_has_requests_and_limits_even_if_its_job_names_none() -> None:
    resources = pod_spec(job())["containers"][0]["resources"]
    assert resources == {"requests": dict(DEFAULT_REQUESTS), "limits": dict(DEFAULT_LIMITS)}


def test_labels_of_a_job_never_take_the_place_of_velodromes_own() -> None:
    (child,) = made(job(runner=RICH))["Job"]
    metadata = child["spec"]["template"]["metadata"]
    assert metadata["annotations"] == {"example.com/ticket": "7"}
    assert {"team": "vision", keys.LABEL_JOB_UID: UID, keys.LABEL_ROLE: keys.ROLE_RUNNER}.items() <= metadata[
        "labels"
    ].items()
    assert "team" not in child["metadata"]["labels"]


def test_a_service_account_comes_without_its_token() -> None:
    pod = pod_spec(job(runner=RICH))
    assert (pod["serviceAccountName"], pod["automountServiceAccountToken"]) == ("trainer", False)


def test_a_claim_is_of_the_pod_and_of_the_container() -> None:
    pod = pod_spec(job(runner=RICH))
    assert pod["resourceClaims"] == [{"name": "gpu", "resourceClaimTemplateName": "half"}]
    assert pod["containers"][0]["resources"]["claims"] == [{"name": "gpu"}]


def test_a_template_is_merged_and_overrides_nothing() -> None:
    plain = pod_spec(job(runner={key: value for key, value in RICH.items() if key != "template"}))
    pod = pod_spec(job(runner=RICH))
    assert pod["terminationGracePeriodSeconds"] == 60
    assert pod["securityContext"] == plain["securityContext"] | {"runAsUser": 1000, "supplementalGroups": [2000]}
    (container,), (below,) = pod["containers"], plain["containers"]
    assert container["volumeMounts"] == [*below["volumeMounts"], {"name": "local", "mountPath": "/local"}]
    assert container["workingDir"] == "/local"
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
    }
    untouched = container.keys() - {"volumeMounts", "workingDir", "securityContext"}
    assert {name: container[name] for name in untouched} == {name: below[name] for name in untouched}
    assert pod["volumes"][:-1] == plain["volumes"]


def test_init_containers_are_restricted_too() -> None:
    (init,) = pod_spec(job(runner=RICH))["initContainers"]
    assert init["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "runAsUser": 7,
    }
    assert "env" not in init, "it gets no password of Redis"


@pytest.mark.parametrize("runner", [{}, RICH], ids=["plain", "rich"])
def test_every_pod_passes_pod_security_restricted(runner: dict[str, Any]) -> None:
    assert list(violations(pod_spec(job(runner=runner)), (), whole=True)) == []


def test_an_operator_allows_init_containers_only_if_it_was_told_to() -> None:
    enforce(job(), ChildSettings())
    enforce(job(runner=RICH), ChildSettings(init_containers=True))
    with pytest.raises(SpecError) as caught:
        enforce(job(runner=RICH), ChildSettings())
    (problem,) = caught.value.problems
    assert problem.path == "spec.runner.template.spec.initContainers"
    assert "--allow-init-containers" in problem.hint


def test_what_pods_need_of_the_cluster_is_in_no_name_and_in_no_file_of_a_runner() -> None:
    """A newer operator finds the children of an older one, and an older runner reads the file."""
    plain = job(runner={"env": [{"name": "TOKEN"}, {"name": "HOME", "value": "/home/me"}]})
    assert Names.of(job(runner=RICH), UID) == Names.of(plain, UID)
    assert made(job(runner=RICH))["ConfigMap"] == made(plain)["ConfigMap"]


def test_the_names_of_children_stay_as_they_were() -> None:
    assert Names.of(job(), UID).base == "digits-1aabc016"

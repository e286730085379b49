"""The chart on a real cluster, as a platform engineer meets it: installed, tested, upgraded, removed, installed again.

The steps are in the order of the file. Each needs those before it. NetworkPolicies are enforced meanwhile.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.build import build_helm
from tests.cluster.layout import GATEWAY
from tests.e2e.conftest import Kube, race

ROOT = Path(__file__).resolve().parents[2]
SPACE, RACES = "velodrome-chart", "velodrome-chart-races"
VOLUME = Path("/var/tmp/velodrome-chart")  # noqa: S108 - a folder of the node, which is this machine
CRD = "benchmarkjobs.velodrome.dev"
ACCOUNT = f"--as=system:serviceaccount:{SPACE}:velodrome-operator"


@dataclass
class Chart:
    """The packaged chart, and Helm. `release` is its name now, and `image` one with Python."""

    kube: Kube
    helm: Path
    package: Path
    values: Path
    image: str
    release: str = "velodrome"

    def __call__(self, *arguments: str) -> tuple[int, str]:
        """The exit code of Helm, and what it says."""
        line = [str(self.helm), *arguments, "--namespace", SPACE, f"--kubeconfig={self.kube.cluster.at.kubeconfig}"]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    def done(self, *arguments: str) -> str:
        code, said = self(*arguments)
        assert code == 0, f"helm {' '.join(arguments)}: {said}\n{self.state()}"
        return said

    def install(self, *more: str) -> tuple[int, str]:
        return self("install", self.release, str(self.package), "--values", str(self.values), *more)

    def upgrade(self, **values: Any) -> str:
        sets = [word for name, value in values.items() for word in ("--set", f"{name.replace('__', '.')}={value}")]
        return self.done("upgrade", self.release, str(self.package), "--values", str(self.values), *sets)

    def ready(self) -> None:
        for workload in (
            "statefulset/velodrome-redis",
            "deployment/velodrome-operator",
            "deployment/velodrome-leaderboard",
        ):
            self.kube("-n", SPACE, "rollout", "status", workload, "--timeout=240s")

    def state(self) -> str:
        return str(self.kube("get", "bmj,job,pod,pvc,events", "-n", SPACE, check=False)) + str(
            self.kube("get", "bmj,job,pod", "-n", RACES, check=False)
        )

    def race(self, name: str) -> dict[str, Any]:
        text = self.kube("-n", RACES, "get", "bmj", name, "-o", "json", "--ignore-not-found")
        found: dict[str, Any] = json.loads(text) if text else {}
        return found

    def trials_done(self, name: str) -> int:
        return int(self.race(name).get("status", {}).get("trials", {}).get("succeeded", 0))

    def holds(self, name: str, kind: str) -> bool:
        conditions = self.race(name).get("status", {}).get("conditions", [])
        return any(one["type"] == kind and one["status"] == "True" for one in conditions)

    def children(self, kind: str, name: str) -> dict[str, dict[str, Any]]:
        """The Jobs or pods of a race, by uid."""
        selector = f"velodrome.dev/job-name={name}"
        items = json.loads(self.kube("-n", RACES, "get", kind, "-l", selector, "-o", "json"))["items"]
        return {one["metadata"]["uid"]: one for one in items}

    def board(self, name: str) -> dict[str, Any]:
        """What the leaderboard's own pod reads of a board."""
        where = ("-n", SPACE, "exec", "deployment/velodrome-leaderboard", "--")
        text = self.kube(*where, "python", "-m", "velodrome", "results", name, "--json")
        found: dict[str, Any] = json.loads(text)
        return found


def values(kube: Kube, references: Mapping[str, str]) -> dict[str, Any]:
    images = {}
    for component in ("operator", "leaderboard", "redis", "runner"):
        repository, _, digest = references[component].partition("@")
        images[component] = {"repository": repository, "digest": digest}
    found: dict[str, Any] = {"images": images, "rbac": {"namespaces": [RACES]}, "crds": {"enabled": True}}
    if not kube.cluster.has_volumes:  # the cluster that is built here: a process of the node resolves names
        found["networkPolicies"] = {"dns": {"to": [{"ipBlock": {"cidr": f"{GATEWAY}/32"}}], "ports": [53]}}
    return found


@pytest.fixture(scope="module")
def chart(api: Kube, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chart]:
    """The packaged chart on the whole cluster. An operator that is installed already rests meanwhile."""
    folder = tmp_path_factory.mktemp("chart")
    helm = build_helm()
    cluster = api.cluster
    cluster.build()
    cluster.up()
    references = cluster.load_images()
    cluster.enforce_policies()
    rests = api("-n", "velodrome", "get", "deployment", "velodrome-operator", "--ignore-not-found", check=False)
    if rests:
        api("-n", "velodrome", "scale", "deployment/velodrome-operator", "--replicas=0")
    remove(api)
    for namespace in (SPACE, RACES):
        api("create", "namespace", namespace)
        api("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    if not cluster.has_volumes:
        volume(api)
    subprocess.run(
        [str(helm), "package", str(ROOT / "charts/velodrome"), "--destination", str(folder)],
        check=True,
        capture_output=True,
    )
    given = folder / "values.yaml"
    given.write_text(yaml.safe_dump(values(api, references)), encoding="utf-8")
    found = Chart(api, helm, next(folder.glob("*.tgz")), given, references["operator"])
    yield found
    cluster.relax_policies()
    if "VELODROME_KEEP_CLUSTER" not in os.environ or rests:
        found("uninstall", found.release, "--wait")
        remove(api)
        api("label", "crd", CRD, "app.kubernetes.io/managed-by-", check=False)
        api("annotate", "crd", CRD, "meta.helm.sh/release-name-", "meta.helm.sh/release-namespace-", check=False)
    if rests:
        api("-n", "velodrome", "scale", "deployment/velodrome-operator", "--replicas=1")
        api("-n", "velodrome", "rollout", "status", "deployment/velodrome-operator", "--timeout=180s")


def remove(api: Kube) -> None:
    """Removes what an earlier run of these tests left."""
    api("-n", RACES, "delete", "bmj", "--all", "--wait=true", check=False)
    api("delete", "namespace", SPACE, RACES, "--ignore-not-found", "--wait=true")
    api("delete", "persistentvolume", "velodrome-chart", "--ignore-not-found", "--wait=true")
    kinds = "clusterrole,clusterrolebinding,validatingadmissionpolicy,validatingadmissionpolicybinding"
    for line in api("get", kinds, "-o", "name").split():
        if line.rpartition("/")[2].startswith(f"velodrome-{SPACE}"):
            api("delete", line, "--ignore-not-found")


def volume(api: Kube) -> None:
    """The test cluster has no provisioner: a volume for the chart's Redis, empty."""
    shutil.rmtree(VOLUME, ignore_errors=True)
    VOLUME.mkdir()
    os.chown(VOLUME, 65532, 65532)
    document = yaml.safe_load((ROOT / "tests/e2e/storage.yaml").read_text(encoding="utf-8"))
    document["metadata"]["name"] = "velodrome-chart"
    document["spec"]["claimRef"]["namespace"] = SPACE
    document["spec"]["hostPath"]["path"] = str(VOLUME)
    api.apply(document)


def slow(name: str) -> dict[str, Any]:
    """A race whose trials take long enough for an upgrade to come in between, one after the other."""
    document = race(name, budget={"maxEpochs": 40}, trials={"repeats": 4})
    document["spec"]["execution"] = {"isolation": "None", "parallelism": 1}
    document["metadata"]["namespace"] = RACES
    return document


def handed_over(said: str) -> list[str]:
    """The commands of the message that says how to hand the CRD over."""
    (line,) = (line for line in said.splitlines() if "Hand it over" in line or "hand the CRD over" in line)
    return [part.strip() for part in line[line.index("kubectl ") :].split("&&")]


def carry_out(chart: Chart, commands: list[str]) -> None:
    for command in commands:
        program, *words = shlex.split(command)
        assert program == "kubectl"
        chart.kube(*words)


def test_a_crd_of_another_installation_is_not_taken_silently(chart: Chart) -> None:
    """The tests' API server has the CRD from deploy/."""
    code, said = chart.install()
    assert code != 0
    assert "was installed without Helm" in said
    carry_out(chart, handed_over(said))
    assert chart.done("list", "-q").split() == [], "nothing is left of the refused installation"


def test_it_installs_and_helm_test_is_green(chart: Chart) -> None:
    code, said = chart.install()
    assert code == 0, said + chart.state()
    assert "kind: BenchmarkJob" in said, "the notes begin with a first job"
    chart.ready()
    said = chart.done("test", chart.release, "--logs", "--timeout=8m")
    assert "the leaderboard shows mlp: accuracy" in said
    assert chart.kube("-n", RACES, "get", "bmj", "velodrome-test", "--ignore-not-found") == ""
    left = chart.kube("-n", RACES, "get", "role,rolebinding", "-o", "name") + chart.kube(
        "-n", SPACE, "get", "sa", "-o", "name"
    )
    assert "velodrome-test" not in left, "the rights of the test go with it"


def test_the_operators_account_makes_what_belongs_to_races_alone(chart: Chart) -> None:
    """Whoever took the operator over may neither make a token nor anything that no race owns."""
    token = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/service-account-token",
        "metadata": {"name": "token", "annotations": {"kubernetes.io/service-account.name": "default"}},
    }
    plain = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "plain"}, "stringData": {"word": "text"}}
    at = chart.kube.cluster.at
    for document, words in ((token, "must be Opaque"), (plain, "must belong to a BenchmarkJob")):
        line = [str(at.bin / "kubectl"), f"--kubeconfig={at.kubeconfig}", ACCOUNT, "-n", RACES, "create", "-f", "-"]
        done = subprocess.run(line, input=yaml.safe_dump(document), text=True, capture_output=True, check=False)
        assert done.returncode != 0, document
        assert words in done.stderr or "must belong to a BenchmarkJob" in done.stderr, done.stderr
    may = ("auth", "can-i", ACCOUNT)
    for verb, what, space in (("list", "secrets", RACES), ("create", "pods", RACES), ("create", "jobs", "default")):
        assert chart.kube(*may, verb, what, "-n", space, check=False).strip() != "yes", (verb, what, space)


# A network knows a pod some seconds after it has started: until then, its policies let in and out what they like.
REACH = """
import json, socket, sys, time
time.sleep(20)
found = {}
for name, host, port in json.loads(sys.argv[1]):
    try:
        socket.create_connection((host, port), timeout=4).close()
        found[name] = True
    except OSError as error:
        found[name] = str(error)
print(json.dumps(found))
"""


def reached(chart: Chart, name: str, space: str, labels: Mapping[str, str]) -> dict[str, bool]:
    """What a pod with these labels can connect to."""

    def address(component: str) -> str:
        selector = f"app.kubernetes.io/component={component}"
        return chart.kube("-n", SPACE, "get", "pod", "-l", selector, "-o", "jsonpath={.items[0].status.podIP}").strip()

    targets = [
        ("redis", f"velodrome-redis.{SPACE}.svc.cluster.local", 6379),
        ("operator", address("operator"), 8080),
        ("leaderboard", address("leaderboard"), 8501),
        ("API server", "kubernetes.default.svc.cluster.local", 443),
        ("metadata", "169.254.169.254", 80),
    ]
    container = {
        "name": "reach",
        "image": chart.image,
        "command": ["python", "-c", REACH, json.dumps(targets)],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    security = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    spec = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": security,
        "containers": [container],
    }
    metadata = {"name": name, "namespace": space, "labels": dict(labels)}
    chart.kube.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    chart.kube("-n", space, "wait", f"pod/{name}", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=120s")
    said = json.loads(chart.kube("-n", space, "logs", name))
    chart.kube("-n", space, "delete", "pod", name, "--wait=false")
    return {what: answer is True for what, answer in said.items()}


def test_runners_reach_redis_and_nothing_else(chart: Chart) -> None:
    found = reached(chart, "runner", RACES, {"velodrome.dev/role": "runner"})
    assert found == {"redis": True, "operator": False, "leaderboard": False, "API server": False, "metadata": False}


def test_strangers_reach_nothing_of_the_installation(chart: Chart) -> None:
    """A pod that no policy selects reaches the API server: so the network works, and the policies refuse the rest."""
    for space in (RACES, SPACE):
        found = reached(chart, "stranger", space, {"app": "other"})
        assert not any(found[what] for what in ("redis", "operator", "leaderboard")), (space, found)
        assert found["API server"] is (space == RACES), found


def test_an_upgrade_and_a_rollback_under_a_race_run_nothing_again(chart: Chart) -> None:
    chart.kube.apply(slow("upgraded"))
    chart.kube.wait("a first trial", lambda: chart.trials_done("upgraded") >= 1, 240)
    jobs = chart.children("job", "upgraded")

    chart.upgrade(operator__logLevel="DEBUG", leaderboard__url="https://velodrome.example.org")
    chart.ready()
    assert not chart.holds("upgraded", "Complete"), "the upgrade came too late for this test: make the race longer"
    chart.done("rollback", chart.release)
    chart.ready()

    chart.kube.wait("the race's end", lambda: chart.holds("upgraded", "Complete"), 600)
    assert chart.children("job", "upgraded").keys() == jobs.keys(), "the same Jobs"
    pods = chart.children("pod", "upgraded").values()
    indexes = [one["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"] for one in pods]
    assert sorted(indexes, key=int) == [str(index) for index in range(8)], "one pod for each trial"
    assert chart.trials_done("upgraded") == 8


def test_an_uninstall_with_live_objects_ends_and_keeps_the_results(chart: Chart) -> None:
    chart.kube.apply(slow("left-behind"))
    chart.kube.wait("a first trial", lambda: chart.trials_done("left-behind") >= 1, 240)
    code, said = chart("uninstall", chart.release, "--wait", "--timeout=90s")
    assert code == 0, said + chart.state()
    assert chart.race("left-behind"), "crds.keep"
    for what in ("pvc/data-velodrome-redis-0", "secret/velodrome-redis"):
        assert chart.kube("-n", SPACE, "get", what, "-o", "name"), what
    assert chart.kube("-n", SPACE, "get", "deployment,statefulset", "-o", "name") == ""


def test_another_release_finds_the_results(chart: Chart) -> None:
    chart.release = "second"
    code, said = chart.install()
    assert code != 0
    assert "belongs to the release velodrome" in said
    carry_out(chart, handed_over(said))
    code, said = chart.install()
    assert code == 0, said + chart.state()
    chart.ready()
    shown = chart.board("upgraded")
    assert {"mlp", "cnn"} <= set(json.dumps(shown).replace('"', " ").split()), shown
    chart.kube.wait("the race that was left behind", lambda: chart.holds("left-behind", "Complete"), 900)
    assert chart.trials_done("left-behind") == 8

"""The chart on a cluster: packaged, installed, tested, upgraded and uninstalled by Helm; and what kubectl shows."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.acceptance.steps import StepFailed
from tests.cluster.build import build_helm
from tests.cluster.control import Cluster

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts/velodrome"
NAMESPACE, TEAM, RELEASE = "velodrome-acceptance", "velodrome-acceptance-team", "velodrome"
CLAIMS = {"data-velodrome-redis-0": "redis", "velodrome-backup": "backup"}
# The test cluster has no provisioner: its volumes are folders of this machine.
VOLUMES = Path("/var/tmp/velodrome-acceptance")  # noqa: S108 - it is on the disk, and goes with the test
_USER = 65532
_CRD = "benchmarkjobs.velodrome.dev"


@dataclass
class Installation:
    """The release in its namespace, and the namespace of the team that races."""

    cluster: Cluster
    images: Mapping[str, str]
    folder: Path
    package: Path = Path()
    _helm: Path = field(init=False)

    def __post_init__(self) -> None:
        found = shutil.which("helm")
        self._helm = Path(found) if found else build_helm()

    # -- the programs -----------------------------------------------------------------------------------------------

    def helm(self, *words: str, seconds: float = 900) -> str:
        """What Helm prints.

        Raises:
            StepFailed: Helm refused; the message has its words.
        """
        return _run([str(self._helm), *words], self._environment(), seconds)

    def kubectl(self, *words: str, space: str = NAMESPACE, stdin: str | None = None, seconds: float = 900) -> str:
        """What kubectl prints. Raises StepFailed as `helm` does."""
        line = [str(self.cluster.at.bin / "kubectl"), "-n", space, *words]
        return _run(line, self._environment(), seconds, stdin)

    def _environment(self) -> dict[str, str]:
        return os.environ | {"KUBECONFIG": str(self.cluster.at.kubeconfig)}

    def get(self, kind: str, name: str = "", *, space: str = NAMESPACE, selector: str = "") -> dict[str, Any]:
        """An object, or a list of objects. Empty if it is not there."""
        words = [name] if name else ["-l", selector] if selector else []
        text = self.kubectl("get", kind, *words, "-o", "json", "--ignore-not-found", space=space)
        found: dict[str, Any] = json.loads(text) if text.strip() else {}
        return found

    def wait(self, what: str, ready: Callable[[], Any], seconds: float = 300) -> Any:
        """What `ready` returns once that is true."""
        deadline = time.monotonic() + seconds
        while not (answer := ready()):
            if time.monotonic() > deadline:
                raise StepFailed(f"waited {seconds:.0f} s for {what}\n{self.looks()}")
            time.sleep(0.5)
        return answer

    def looks(self) -> str:
        """What somebody would look at first."""
        pods = self.kubectl("get", "pods,jobs,pvc", "-o", "wide")
        races = self.kubectl("get", "bmj,jobs,pods", "-o", "wide", space=TEAM)
        return f"{pods}\n{races}"

    # -- the release ------------------------------------------------------------------------------------------------

    def values(self) -> Path:
        """The values file: images by digest, backups, and the team's namespace."""
        images = {}
        for component, reference in self.images.items():
            repository, _, digest = reference.partition("@")
            images[component] = {"repository": repository, "digest": digest}
        values = {
            "images": images,
            "backup": {"enabled": True, "schedule": "0 0 1 1 *", "claim": {"size": "1Gi"}},
            "runner": {"namespaces": [TEAM]},
            "redis": {"persistence": {"size": "1Gi"}},
        }
        path = self.folder / "values.yaml"
        path.write_text(yaml.safe_dump(values), encoding="utf-8")
        return path

    def pack(self) -> str:
        """Packages the chart."""
        self.helm("package", str(CHART), "--destination", str(self.folder))
        (self.package,) = self.folder.glob("velodrome-*.tgz")
        return self.package.name

    def install(self) -> None:
        """Installs the packaged chart, and waits until all of it is ready."""
        self._take_over_crd()
        words = ["install", RELEASE, str(self.package), "-n", NAMESPACE, "-f", str(self.values())]
        self.helm(*words, "--wait", "--timeout", "10m")

    def _take_over_crd(self) -> None:
        """Hands a CRD that is there already to this release, as the chart's own message says."""
        if not self.get("crd", _CRD):
            return
        mine = (f"meta.helm.sh/release-name={RELEASE}", f"meta.helm.sh/release-namespace={NAMESPACE}")
        self.kubectl("label", "--overwrite", "crd", _CRD, "app.kubernetes.io/managed-by=Helm")
        self.kubectl("annotate", "--overwrite", "crd", _CRD, *mine)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Operators of other installations rest meanwhile: two that watch a namespace take each other's races."""
        selector = "app.kubernetes.io/name=velodrome,app.kubernetes.io/component=operator"
        text = self.kubectl("get", "deployments", "--all-namespaces", "-l", selector, "-o", "json")
        found = [each["metadata"] for each in json.loads(text)["items"]]
        others = [(each["namespace"], each["name"]) for each in found if each["namespace"] != NAMESPACE]
        for space, name in others:
            self.kubectl("scale", f"deployment/{name}", "--replicas=0", space=space)
        try:
            yield
        finally:
            for space, name in others:
                self.kubectl("scale", f"deployment/{name}", "--replicas=1", space=space)

    def prepare(self) -> str:
        """Removes what an earlier acceptance left, and makes both namespaces and, where needed, the volumes."""
        self.remove()
        for space in (NAMESPACE, TEAM):
            self.kubectl("create", "namespace", space)
            self.kubectl("label", "namespace", space, "pod-security.kubernetes.io/enforce=restricted")
        for name in CLAIMS.values():
            self.volume(name)
        return f"namespaces {NAMESPACE} and {TEAM}"

    def volume(self, name: str) -> None:
        """Makes an empty volume, in place of an earlier one. A cluster with a provisioner needs none."""
        if self.cluster.has_volumes:
            return
        folder = VOLUMES / name
        self.kubectl("delete", "persistentvolume", f"velodrome-acceptance-{name}", "--ignore-not-found", "--wait=true")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        os.chown(folder, _USER, _USER)
        claim = next(claim for claim, of in CLAIMS.items() if of == name)
        volume = {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": f"velodrome-acceptance-{name}"},
            "spec": {
                "capacity": {"storage": "1Gi"},
                "accessModes": ["ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Retain",
                "claimRef": {"namespace": NAMESPACE, "name": claim},
                "hostPath": {"path": str(folder), "type": "Directory"},
            },
        }
        self.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(volume))

    def uninstall(self) -> None:
        """Uninstalls the release, which must not hang. Claims stay."""
        self.helm("uninstall", RELEASE, "-n", NAMESPACE, "--wait", "--timeout", "5m")

    def remove(self) -> str:
        """Removes all of it, as far as it is there."""
        if RELEASE in self.helm("list", "-n", NAMESPACE, "-q").split():
            self.uninstall()
        for space in (NAMESPACE, TEAM):
            self.kubectl("delete", "namespace", space, "--ignore-not-found", "--wait=true", seconds=600)
        if not self.cluster.has_volumes:
            for name in CLAIMS.values():
                self.kubectl("delete", "persistentvolume", f"velodrome-acceptance-{name}", "--ignore-not-found")
            shutil.rmtree(VOLUMES, ignore_errors=True)
        return ""

    # -- inside -----------------------------------------------------------------------------------------------------

    def velodrome(self, *words: str) -> str:
        """What a command of Velodrome prints inside the operator's pod."""
        where = ("exec", "deployment/velodrome-operator", "-c", "operator", "--")
        return self.kubectl(*where, "python", "-m", "velodrome", *words)

    def run_cron_job(self, name: str) -> str:
        """Runs a CronJob's Job now, to its end. Returns what it printed."""
        job = f"{name}-{int(time.time())}"
        self.kubectl("create", "job", job, f"--from=cronjob/velodrome-{name}")

        def ended() -> str:
            found = self.get("job", job).get("status", {}).get("conditions", [])
            held = [one["type"] for one in found if one["status"] == "True"]
            return next((kind for kind in ("Complete", "Failed") if kind in held), "")

        how = self.wait(f"the Job {job}", ended, 600)
        said = self.kubectl("logs", f"job/{job}", "--all-containers")
        if how != "Complete":
            raise StepFailed(f"the Job {job} ended as {how}: {said}")
        return said.strip()

    @contextmanager
    def forwarded(self, target: str, port: int) -> Iterator[str]:
        """HOST:PORT on this machine that leads to a Service or a pod of the release."""
        line = [str(self.cluster.at.bin / "kubectl"), "-n", NAMESPACE, "port-forward", target, f":{port}"]
        with subprocess.Popen(line, stdout=subprocess.PIPE, text=True, env=self._environment()) as process:
            try:
                assert process.stdout is not None
                said = process.stdout.readline()
                if "127.0.0.1:" not in said:
                    raise StepFailed(f"kubectl port-forward {target} {port} said {said!r}")
                yield "127.0.0.1:" + said.split("127.0.0.1:")[1].split()[0]
            finally:
                process.terminate()


def _run(line: Sequence[str], environment: Mapping[str, str], seconds: float, stdin: str | None = None) -> str:
    try:
        done = subprocess.run(
            line, input=stdin, env=environment, capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise StepFailed(f"{' '.join(line[:4])} … took more than {seconds:.0f} s") from error
    if done.returncode != 0:
        words = " ".join(Path(word).name if word.startswith("/") else word for word in line)
        raise StepFailed(f"{words}: {(done.stderr or done.stdout).strip()}")
    return done.stdout

"""An operator beside the cluster: a process of this machine that believes to be in a pod, with proxies around it.

It has the installed operator's own account and Redis; so what the account may not do, it can't do here either. The
installed one is scaled to nothing meanwhile.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from tests.e2e.conftest import ROOT, Kube
from tests.e2e.proxy import ApiProxy, RedisProxy
from tests.e2e.redis_access import RedisAccess

ADDRESS = "127.0.0.9"  # another operator's would be another
_SECRETS = "/run/secrets"


def accept_script() -> str:
    """The Lua script that accepts results, as the store sends it to Redis."""
    folder = files("velodrome.store")
    parts = ("common.lua", "decide.lua", "rank.lua", "write.lua")
    return "\n".join(folder.joinpath(part).read_text(encoding="utf-8") for part in parts)


@dataclass
class Beside:
    """The operator's process; `starts` counts them. What it logs is in `log`."""

    kube: Kube
    api: ApiProxy
    redis: RedisProxy
    access: RedisAccess
    folder: Path
    namespace: str
    environment: Mapping[str, str] = field(default_factory=dict)
    prefix: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def warnings(self) -> list[str]:
        """What it has logged above information."""
        lines = self.log.read_text().splitlines()
        return [line for line in lines if json.loads(line).get("severity") not in ("debug", "info")]

    def start(self) -> None:
        """Starts it where it doesn't run, as a Deployment does."""
        if self.process is not None and self.process.poll() is None:
            return
        secrets = self.folder / "serviceaccount"
        # The proxy has the API server's certificate, and these names lead to it inside the process's own mounts.
        script = (
            f"mkdir -p {_SECRETS} && mount -t tmpfs none {_SECRETS} && mkdir -p {_SECRETS}/kubernetes.io/serviceaccount"
            f" && mount --bind {secrets} {_SECRETS}/kubernetes.io/serviceaccount"
            f' && mount --bind {self.folder / "hosts"} /etc/hosts && exec "$@"'
        )
        inside = ["unshare", "--mount", "sh", "-c", script, "sh", *self.prefix]
        line = [*inside, sys.executable, "-m", "velodrome_operator",
                "--namespace", self.namespace, "--runner-image", "localhost/none@sha256:" + "0" * 64,
                "--redis-address", "velodrome-redis.velodrome.svc.cluster.local:6379",
                "--listen", "127.0.0.1:0"]  # fmt: skip
        environment = os.environ | {
            "KUBERNETES_SERVICE_HOST": "kubernetes.default.svc",
            "KUBERNETES_SERVICE_PORT": "443",
            **self.access.environ(self.redis.port, self.folder / "job-key"),
        }
        environment |= self.environment
        environment.pop("KUBECONFIG", None)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(line, cwd=ROOT, env=environment, stdout=log, stderr=log)
        self.starts += 1

    def kill(self) -> None:
        """SIGKILL; from any thread."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)

    def restart(self) -> None:
        """Starts it after its end, for which it waits."""
        if self.process is not None:
            self.process.wait(10)
        self.start()

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        if self.process is None:
            return 0
        self.process.terminate()
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    def rotate_token(self) -> str:
        """Gives it a new token, as the kubelet does; the one it had."""
        path = self.folder / "serviceaccount/token"
        before = path.read_text() if path.exists() else ""
        path.write_text(self.kube("-n", "velodrome", "create", "token", "velodrome-operator", "--duration=1h").strip())
        return before


@contextmanager
def beside(
    kube: Kube, namespace: str, *, address: str = ADDRESS, prefix: tuple[str, ...] = (), **environment: str
) -> Iterator[Beside]:
    """An operator for one namespace, stopped at the end."""
    pki = kube.cluster.at.pki
    host = kube("-n", "velodrome", "get", "service", "velodrome-redis", "-o", "jsonpath={.spec.clusterIP}")
    access = RedisAccess.of(kube)
    with (
        tempfile.TemporaryDirectory(prefix="velodrome-beside-") as name,
        ApiProxy("https://127.0.0.1:6443", address, 443, pki) as api,
        RedisProxy(host, 6379, accept_script(), access.authority, access.certificate) as redis,
    ):
        folder = Path(name)
        (folder / "job-key").write_text(access.job_key)
        (folder / "serviceaccount").mkdir()
        (folder / "serviceaccount/ca.crt").write_bytes((pki / "ca.crt").read_bytes())
        (folder / "serviceaccount/namespace").write_text("velodrome")
        (folder / "hosts").write_text(f"127.0.0.1 localhost\n{address} kubernetes.default.svc\n")
        found = Beside(kube, api, redis, access, folder, namespace, environment, prefix)
        found.rotate_token()
        found.start()
        try:
            yield found
        finally:
            api.strike = redis.strike = lambda _n, _when: None
            found.kill()
            if found.process is not None:
                found.process.wait(10)


def end_state(kube: Kube, namespace: str, name: str) -> dict[str, Any]:
    """What a race has come to, without its times and names: equal for equal races, however they went."""
    raw = kube("-n", namespace, "get", "bmj", name, "-o", "json")
    status = json.loads(raw)["status"]
    uid = json.loads(raw)["metadata"]["uid"]
    events = json.loads(kube("-n", namespace, "get", "events.events.k8s.io", "-o", "json"))["items"]
    selector = f"velodrome.dev/job-uid={uid}"
    jobs = json.loads(kube("-n", namespace, "get", "job,configmap,secret", "-l", selector, "-o", "json"))
    # What is said of regressions depends on the races before on the board: here it counts that it is said.
    conditions = [(c["type"], *(("", "") if c["type"] == "Regressed" else (c["status"], c["reason"])))
                  for c in status["conditions"]]  # fmt: skip
    return {
        "conditions": sorted(conditions),
        "trials": {key: value for key, value in status["trials"].items() if key != "disrupted"},
        "entries": status["entries"],
        "leaders": status.get("leaders"),
        "events": sorted(e["reason"] for e in events if e["regarding"].get("uid") == uid),
        "children": sorted(item["kind"] for item in jobs["items"]),
    }


def until_complete(kube: Kube, operator: Beside, name: str, seconds: float = 150) -> None:
    """Waits for the race's end; an operator that was killed is started again."""
    end = time.monotonic() + seconds
    while True:
        operator.start()
        done = kube("-n", operator.namespace, "get", "bmj", name, "-o",
                    "jsonpath={.status.conditions[?(@.type=='Complete')].status}", check=False)  # fmt: skip
        if done == "True":
            return
        assert time.monotonic() < end, operator.log.read_text()[-4000:]
        time.sleep(0.3)

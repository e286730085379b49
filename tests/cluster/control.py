"""Starts, kills and stops the parts of the test cluster. It only ends processes whose ids it wrote down itself."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.cluster import commands, images, pki, recipes
from tests.cluster.build import build, build_firewall
from tests.cluster.layout import GATEWAY, NODE, Layout
from tests.cluster.parts import CONTROL_PLANE, FIREWALL, WORKERS, command, settings

# What the chains of kube-router, and the comments of its rules, begin with.
_POLICY_MARKS = ("KUBE-ROUTER", "KUBE-POD-FW", "KUBE-NWPLCY", "kube-router")


class ClusterError(Exception):
    """The cluster can't do this. The message says where to look."""


class Cluster:
    """A one-node Kubernetes on this machine, or only its API (`api_only`), for tests."""

    def __init__(self, at: Layout | None = None) -> None:
        self.at = at or Layout.default()

    @property
    def has_volumes(self) -> bool:
        """Whether it provides volumes by itself. This one has only the volumes that a test makes."""
        return False

    def build(self, *, api_only: bool = False) -> None:
        """Makes the missing programs. That takes some minutes the first time, and no time later.

        Raises:
            BuildError: Go is missing, or packages are missing and only root may install them.
        """
        build(self.at, api_only=api_only)

    def begin_images(self, *others: str) -> None:
        """Begins to build what changed, of the components and these others, while the caller goes on."""
        recipes.begin_to_build(self.at, (*recipes.COMPONENTS, *others))

    def load_images(self) -> dict[str, str]:
        """Builds what changed and loads it: each component's image by digest."""
        return recipes.load_all(self.at)

    def load_image(self, component: str) -> str:
        """One image by digest: that of a component, or of an example with its own program."""
        return recipes.load(self.at, component)

    def enforce_policies(self) -> None:
        """Enforces NetworkPolicies from now on, to `relax_policies`.

        Raises:
            BuildError: Go is missing, or packages are missing and only root may install them.
        """
        build_firewall(self.at)
        self.start(FIREWALL)

    def relax_policies(self) -> None:
        """Enforces NetworkPolicies no longer."""
        if self.pid(FIREWALL) is None:
            return
        self.kill(FIREWALL, signal.SIGTERM)
        _remove_policies()

    # -- one part ---------------------------------------------------------------------------------------------------

    def pid(self, part: str) -> int | None:
        """The id of a part's running process, if it is still the started one."""
        note = self.at.pids / part
        if not note.exists():
            return None
        pid, _, started = note.read_text().strip().partition(" ")
        return int(pid) if started and _start_time(int(pid)) == started else None

    def start(self, part: str) -> None:
        """Starts a part that is not running; its log grows below `run/log`."""
        if self.pid(part) is not None:
            return
        note = self.at.pids / part
        note.unlink(missing_ok=True)
        if part == "kube-proxy":
            _remove_old_rules()
        # The part must outlive this program and have no parent: a shell writes down its own id and then becomes the
        # part.
        script = f'echo $$ > "{note}.new"; mv "{note}.new" "{note}"; exec "$@"'
        with (self.at.logs / part).open("ab") as log:
            subprocess.run(
                ["setsid", "--fork", "sh", "-c", script, "sh", *command(part, self.at)],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.at.run, check=True,
            )  # fmt: skip
        while not note.exists():
            time.sleep(0.01)
        pid = int(note.read_text())
        note.write_text(f"{pid} {_start_time(pid)}")

    def kill(self, part: str, number: int = signal.SIGKILL) -> None:
        """Ends a part and keeps its data, so that a later `start` is like a restart."""
        pid = self.pid(part)
        if pid is None:
            return
        os.kill(pid, number)
        deadline = time.monotonic() + 15
        while self.pid(part) is not None:
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
                deadline += 15
            time.sleep(0.05)
        (self.at.pids / part).unlink()

    # -- the whole --------------------------------------------------------------------------------------------------

    def up(self, *, api_only: bool = False) -> Path:
        """Starts the missing parts and waits until they are ready. Returns the kubeconfig's path. Idempotent.

        Raises:
            ClusterError: a part did not become ready; the message names its log.
        """
        missing = [name for name in ("etcd", "kube-apiserver", "kubectl") if not (self.at.bin / name).exists()]
        if missing:
            raise ClusterError(f"{', '.join(missing)} missing from {self.at.bin}: run `make cluster` (it builds them)")
        self._prepare(api_only=api_only)
        for part in CONTROL_PLANE:
            self.start(part)
        self._await("apiserver", 120, lambda: self._succeeds("get", "--raw", "/readyz"))
        if not api_only:
            self._start_node()
        return self.at.kubeconfig

    def down(self) -> None:
        """Stops everything, and removes its containers, mounts, network and data.

        The network and containerd's socket belong to the node, and a machine has one node. A cluster that never started
        a node leaves them to the cluster that did.
        """
        had_node = (self.at.pids / "containerd").exists()
        self.relax_policies()
        for part in reversed(WORKERS):
            if part != "containerd":
                self.kill(part, signal.SIGTERM)
        if self.pid("containerd") is not None:
            images.remove_containers(self.at)
        for part in ("containerd", *reversed(CONTROL_PLANE)):
            self.kill(part, signal.SIGTERM)
        for mount in _mounts_below(self.at.run, *([self.at.socket.parent] if had_node else [])):
            subprocess.run(["umount", "--lazy", mount], check=False, capture_output=True)
        shutil.rmtree(self.at.run, ignore_errors=True)
        if had_node:
            subprocess.run(["ip", "link", "delete", "velodrome0"], check=False, capture_output=True)
            shutil.rmtree(self.at.socket.parent, ignore_errors=True)

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        """The output of kubectl.

        Raises:
            ClusterError: it failed, and `check` is set.
        """
        line = [str(self.at.bin / "kubectl"), f"--kubeconfig={self.at.kubeconfig}", *arguments]
        done = subprocess.run(line, input=stdin, text=True, capture_output=True, check=False)
        if check and done.returncode != 0:
            raise ClusterError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def established(self, *definitions: str, seconds: float = 60) -> None:
        """Returns when the API server has taken these definitions of kinds. `definitions` are kubectl's arguments.

        kubectl refuses to wait for a definition that was made a moment ago and has no conditions yet.
        """
        deadline = time.monotonic() + seconds
        while True:
            try:
                self.kubectl("wait", "--for=condition=Established", *definitions, f"--timeout={seconds:.0f}s")
            except ClusterError as error:
                if "accessor error" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
            else:
                return

    def _prepare(self, *, api_only: bool) -> None:
        for folder in (self.at.pki, self.at.logs, self.at.pids, self.at.run / "volumeplugins", self.at.socket.parent):
            folder.mkdir(parents=True, exist_ok=True)
        if not api_only and not Path("/sys/class/net/velodrome0").exists():
            for line in (
                ["link", "add", "velodrome0", "type", "bridge"],
                ["addr", "add", f"{GATEWAY}/16", "dev", "velodrome0"],
                ["link", "set", "velodrome0", "up"],
            ):
                commands.run(["ip", *line])
            commands.run(["sysctl", "-qw", "net.ipv4.ip_forward=1"])
            hosts = Path("/etc/hosts")
            if NODE not in hosts.read_text().split():
                hosts.write_text(f"{hosts.read_text().rstrip()}\n127.0.0.1 {NODE}\n")
        pki.issue_all(self.at)
        for name, text in settings(self.at).items():
            file = self.at.run / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)

    def _start_node(self) -> None:
        self.start("containerd")
        self._await("containerd", 30, lambda: images.ctr(self.at, "version", check=False).returncode == 0)
        images.load_pause(self.at)
        for part in WORKERS:
            self.start(part)
        self._await("kubelet", 90, lambda: " Ready" in self.kubectl("get", "nodes", "--no-headers", check=False))
        self._await(
            "controller-manager", 60, lambda: self._succeeds("-n", "default", "get", "serviceaccount", "default")
        )

    def _succeeds(self, *arguments: str) -> bool:
        line = [str(self.at.bin / "kubectl"), f"--kubeconfig={self.at.kubeconfig}", *arguments]
        return subprocess.run(line, capture_output=True, check=False).returncode == 0

    def _await(self, part: str, seconds: float, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + seconds
        while not ready():
            if time.monotonic() > deadline:
                raise ClusterError(f"{part} is not ready after {seconds:.0f} s: see {self.at.logs / part}")
            time.sleep(0.3)
            self.start(part)  # an earlier process may have held the port for a moment


def _start_time(pid: int) -> str | None:
    """The kernel's start time of a process, to distinguish it from a later one with its id; None if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return None
    return None if fields[0] == "Z" else fields[19]


def _remove_old_rules() -> None:
    """Removes the rules that a killed kube-proxy left.

    kube-proxy 1.35 empties the chains of endpoints that aren't ready when it starts. Where one gets ready soon after,
    its chain stays empty until the next full pass, an hour later, and its Service refuses connections.
    """
    for family in ("ip", "ip6"):
        subprocess.run(["nft", "delete", "table", family, "kube-proxy"], check=False, capture_output=True)


def _remove_policies() -> None:
    """Removes the rules and the sets of kube-router. Its own --cleanup-config fails where the kernel has no IPVS."""

    def said(*line: str, given: str | None = None) -> str:
        return subprocess.run(line, input=given, text=True, capture_output=True, check=True).stdout

    kept = [line for line in said("iptables-save").splitlines() if not any(mark in line for mark in _POLICY_MARKS)]
    said("iptables-restore", given="\n".join([*kept, ""]))
    for name in said("ipset", "list", "-name").split():
        if name.startswith(("KUBE-SRC-", "KUBE-DST-", "kube-router-")):
            said("ipset", "destroy", name)


def _mounts_below(*folders: Path) -> Sequence[str]:
    points = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    return sorted((p for p in points if any(p.startswith(f"{folder}/") for folder in folders)), reverse=True)

"""Builds the programs of the test cluster once, from Debian's packages and Go modules at pinned versions."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import commands
from tests.cluster.layout import SOURCES, Layout
from tools.linting.programs import KUBERNETES, LinterMissingError, go_program

PACKAGES = (
    "busybox-static", "conntrack", "containerd", "containernetworking-plugins", "iproute2", "iptables", "nftables",
    "openssl", "runc", "socat",
)  # fmt: skip
KUBERNETES_PROGRAMS = (
    "kube-apiserver", "kubectl", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy",
)  # fmt: skip
# Modules without replace directives, which `go install` accepts directly.
INSTALLED = {
    "coredns": "github.com/coredns/coredns@v1.15.0",
    "crane": "github.com/google/go-containerregistry/cmd/crane@v0.22.1",
}
# Enforces NetworkPolicies, by iptables and ipset.
FIREWALL = {"kube-router": "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router@v2.1.0"}
FIREWALL_PACKAGES = ("ipset", "iptables")
# Queues Jobs: see tests.cluster.kueue.
QUEUE_MODULE = "sigs.k8s.io/kueue"
QUEUE_VERSION = "v0.17.0"
QUEUE = {"kueue": f"{QUEUE_MODULE}/cmd/kueue@{QUEUE_VERSION}"}
# Only for simulated nodes: see tests.cluster.simulated.
KWOK = {"kwok": "sigs.k8s.io/kwok/cmd/kwok@v0.8.0"}


class BuildError(Exception):
    """The build needs something that this machine lacks. The message says how to get it."""


def build(at: Layout, *, api_only: bool = False) -> None:
    """Makes the missing programs. `api_only` makes only etcd, the API server and kubectl, which can't run pods.

    Raises:
        BuildError: Go is missing, or packages are missing and only root may install them.
    """
    go = _go()
    at.bin.mkdir(parents=True, exist_ok=True)
    packages = ("openssl",) if api_only else PACKAGES
    announce(at, steps(at, packages, KUBERNETES_PROGRAMS[: 2 if api_only else None], {} if api_only else INSTALLED))
    install(packages)
    _build(go, at, SOURCES / "etcd", "etcd", "go.etcd.io/etcd/server/v3", flags="-s -w")
    for program in KUBERNETES_PROGRAMS[: 2 if api_only else None]:
        _build(go, at, SOURCES / "kubernetes", program, f"k8s.io/kubernetes/cmd/{program}", flags=_version_flags())
    _install_modules(at, go, {} if api_only else INSTALLED)


def build_helm() -> Path:
    """Makes the Helm that renders the chart everywhere, if it is missing: it needs no cluster. Returns its path.

    Raises:
        BuildError: Go is missing, or the module could not be built.
    """
    try:
        return Path(go_program("helm"))
    except LinterMissingError as error:
        raise BuildError(str(error)) from error


def build_firewall(at: Layout) -> None:
    """Makes the program that enforces NetworkPolicies, if it is missing.

    Raises:
        BuildError: Go is missing, or packages are missing and only root may install them.
    """
    go = _go()
    at.bin.mkdir(parents=True, exist_ok=True)
    announce(at, steps(at, FIREWALL_PACKAGES, (), FIREWALL))
    install(FIREWALL_PACKAGES)
    _install_modules(at, go, FIREWALL)


def build_queue(at: Layout) -> Path:
    """Makes Kueue if it is missing. Returns the folder of its module, which has its CRDs.

    Raises:
        BuildError: Go is missing.
        CommandFailed: the module can't be fetched.
    """
    go = _go()
    at.bin.mkdir(parents=True, exist_ok=True)
    announce(at, steps(at, (), (), QUEUE))
    _install_modules(at, go, QUEUE)
    told = json.loads(commands.said([go, "mod", "download", "-json", f"{QUEUE_MODULE}@{QUEUE_VERSION}"]))
    return Path(told["Dir"])


def build_simulation(at: Layout) -> None:
    """Makes the missing programs of a cluster with simulated nodes. It runs no containers, so it needs no root.

    Raises:
        BuildError: Go is missing, or OpenSSL is missing and only root may install it.
    """
    go = _go()
    at.bin.mkdir(parents=True, exist_ok=True)
    announce(at, steps(at, ("openssl",), KUBERNETES_PROGRAMS[:4], KWOK))
    install(("openssl",))
    _build(go, at, SOURCES / "etcd", "etcd", "go.etcd.io/etcd/server/v3", flags="-s -w")
    for program in KUBERNETES_PROGRAMS[:4]:
        _build(go, at, SOURCES / "kubernetes", program, f"k8s.io/kubernetes/cmd/{program}", flags=_version_flags())
    _install_modules(at, go, KWOK)


def build_registry(at: Layout) -> Path:
    """Makes crane, which also serves a registry, if it is missing. Returns the program.

    Raises:
        BuildError: Go is missing.
    """
    at.bin.mkdir(parents=True, exist_ok=True)
    _install_modules(at, _go(), {"crane": INSTALLED["crane"]})
    return at.bin / "crane"


@dataclass(frozen=True, slots=True)
class BuildStep:
    """One part of the test cluster: its purpose, about how many minutes it takes, and whether it exists."""

    name: str
    purpose: str
    minutes: float
    done: bool


# The purpose of each, and the minutes that it takes on four cores without caches. The first of Kubernetes' programs
# also compiles what the others share.
_PURPOSES = {
    "etcd": ("keeps the API server's objects", 1.0),
    "kube-apiserver": ("the API server", 4.0),
    "kubectl": ("its command line", 1.0),
    "kube-controller-manager": ("makes pods of Jobs", 2.0),
    "kube-scheduler": ("chooses nodes", 1.0),
    "kubelet": ("runs pods", 2.0),
    "kube-proxy": ("leads Services to pods", 1.0),
    "coredns": ("names of Services", 2.0),
    "crane": ("copies images", 0.5),
    "kube-router": ("enforces NetworkPolicies", 5.0),
    "kueue": ("queues Jobs", 4.0),
    "kwok": ("pretends nodes and pods", 1.0),
}


def steps(
    at: Layout, packages: Sequence[str], kubernetes: Sequence[str], modules: Mapping[str, str]
) -> list[BuildStep]:
    """All parts of the cluster, in the order in which they are made."""
    programs = [*(["etcd"] if kubernetes else []), *kubernetes, *modules]
    missing = lacking(packages) if packages else []
    debian = BuildStep("Debian's packages", ", ".join(missing or packages), 1.0, done=not missing)
    return [
        *([debian] if packages else []),
        *(BuildStep(name, *_PURPOSES[name], done=(at.bin / name).exists()) for name in programs),
    ]


def announcement(at: Layout, planned: Sequence[BuildStep]) -> str:
    """The parts that will be made now, with their purpose and about how long each takes; empty if all exist."""
    left = [step for step in planned if not step.done]
    if not left:
        return ""
    minutes = sum(step.minutes for step in left)
    width = max(len(step.name) for step in planned)
    rows = [
        f"  {step.name:{width}}  {'there already' if step.done else f'about {step.minutes:g} min':13}  {step.purpose}"
        for step in planned
    ]
    head = (
        f"This makes a Kubernetes for the tests in {at.home}: {len(left)} of {len(planned)} parts, about {minutes:.0f} "
        "minutes on four cores, and as much longer as there are fewer. It is done once, and goes on where it stopped."
    )
    return "\n".join([head, *rows])


def announce(at: Layout, planned: Sequence[BuildStep]) -> None:
    """Prints the announcement, if anything will be made."""
    if text := announcement(at, planned):
        commands.write_line(text)


def _install_modules(at: Layout, go: str, modules: Mapping[str, str]) -> None:
    """Makes the missing programs, by name, from their modules."""
    for program, module in modules.items():
        if not (at.bin / program).exists():
            commands.write_line(f"building {program}")
            commands.run([go, "install", module], environment=_environment() | {"GOBIN": str(at.bin)})


def _go() -> str:
    go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if go is None:
        raise BuildError("Go 1.26 or newer is needed to build Kubernetes: see https://go.dev/doc/install")
    return go


def _version_flags() -> str:
    package = "k8s.io/component-base/version"
    major, minor, _ = KUBERNETES.removeprefix("v").split(".")
    stamps = {"gitVersion": KUBERNETES, "gitMajor": major, "gitMinor": minor}
    return "-s -w " + " ".join(f"-X {package}.{name}={value}" for name, value in stamps.items())


def _build(go: str, at: Layout, source: Path, program: str, package: str, *, flags: str) -> None:
    if (at.bin / program).exists():
        return
    commands.write_line(f"building {program}")
    partial = at.bin / f".{program}.partial"
    line = [go, "build", "-ldflags", flags, "-o", str(partial), package]
    commands.run(line, cwd=source, environment=_environment())
    partial.rename(at.bin / program)


def _environment() -> dict[str, str]:
    return os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false"}


def install(packages: tuple[str, ...]) -> None:
    """Installs the missing ones of Debian's packages.

    Raises:
        BuildError: some are missing and only root may install them, or this is not Debian.
        CommandFailed: apt-get failed, or another program kept it locked.
    """
    missing = lacking(packages)
    if not missing:
        return
    if os.geteuid() != 0:
        raise BuildError(f"install these first: sudo apt-get install -y {' '.join(missing)}")
    commands.write_line(f"installing {', '.join(missing)}")
    commands.apt_get("update", "-qq")
    commands.apt_get("install", "-y", "-qq", "--no-install-recommends", *missing)


def lacking(packages: Sequence[str]) -> list[str]:
    """The Debian packages that are not installed.

    Raises:
        BuildError: this is not Debian.
    """
    if shutil.which("dpkg-query") is None:
        raise BuildError(f"this machine has no dpkg: install {', '.join(packages)} by other means, or use Debian")
    installed = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *packages],
        text=True, capture_output=True, check=False,
    ).stdout  # fmt: skip
    return [package for package in packages if f"{package} installed" not in installed.splitlines()]

"""Builds the programs of the test cluster, once: Debian's packages and Go modules, at pinned versions."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.cluster.layout import KUBERNETES, SOURCES, Layout

PACKAGES = (
    "busybox-static", "conntrack", "containerd", "containernetworking-plugins", "iproute2", "iptables", "nftables",
    "openssl", "runc", "socat",
)  # fmt: skip
KUBERNETES_PROGRAMS = (
    "kube-apiserver", "kubectl", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy",
)  # fmt: skip
# Modules without replace directives, which `go install` takes as they are.
INSTALLED = {
    "coredns": "github.com/coredns/coredns@v1.15.0",
    "crane": "github.com/google/go-containerregistry/cmd/crane@v0.22.1",
}
# Only for simulated nodes: see tests.cluster.simulated.
KWOK = {"kwok": "sigs.k8s.io/kwok/cmd/kwok@v0.8.0"}


class BuildError(Exception):
    """Something that building needs is not on this machine; the message says how to get it."""


def build(at: Layout, *, api_only: bool = False) -> None:
    """Makes whatever is missing. `api_only` leaves out what runs pods: etcd, the API server and kubectl remain.

    Raises:
        BuildError: no Go, or not root and packages are missing.
    """
    go = _go()
    at.bin.mkdir(parents=True, exist_ok=True)
    packages = ("openssl",) if api_only else PACKAGES
    install(packages)
    _build(go, at, SOURCES / "etcd", "etcd", "go.etcd.io/etcd/server/v3", flags="-s -w")
    for program in KUBERNETES_PROGRAMS[: 2 if api_only else None]:
        _build(go, at, SOURCES / "kubernetes", program, f"k8s.io/kubernetes/cmd/{program}", flags=_version_flags())
    _install_modules(at, go, {} if api_only else INSTALLED)


def build_simulation(at: Layout) -> None:
    """Makes what a cluster of simulated nodes lacks: no containers are run, so root is not needed.

    Raises:
        BuildError: no Go, or OpenSSL is missing and only root may install it.
    """
    go = _go()
    at.bin.mkdir(parents=True, exist_ok=True)
    install(("openssl",))
    _build(go, at, SOURCES / "etcd", "etcd", "go.etcd.io/etcd/server/v3", flags="-s -w")
    for program in KUBERNETES_PROGRAMS[:4]:
        _build(go, at, SOURCES / "kubernetes", program, f"k8s.io/kubernetes/cmd/{program}", flags=_version_flags())
    _install_modules(at, go, KWOK)


def _install_modules(at: Layout, go: str, modules: Mapping[str, str]) -> None:
    """Makes the programs that are missing, by name, from their modules."""
    for program, module in modules.items():
        if not (at.bin / program).exists():
            print(f"building {program}", flush=True)
            subprocess.run([go, "install", module], env=_environment() | {"GOBIN": str(at.bin)}, check=True)


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
    print(f"building {program}", flush=True)
    partial = at.bin / f".{program}.partial"
    subprocess.run(
        [go, "build", "-ldflags", flags, "-o", str(partial), package], cwd=source, env=_environment(), check=True
    )
    partial.rename(at.bin / program)


def _environment() -> dict[str, str]:
    return os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false"}


def install(packages: tuple[str, ...]) -> None:
    """Sees to it that Debian's packages are there.

    Raises:
        BuildError: some are missing and only root may install them.
    """
    installed = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *packages],
        text=True, capture_output=True, check=False,
    ).stdout  # fmt: skip
    missing = [package for package in packages if f"{package} installed" not in installed]
    if not missing:
        return
    if os.geteuid() != 0:
        raise BuildError(f"install these first: sudo apt-get install -y {' '.join(missing)}")
    quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-qq"], env=quiet, check=True)
    subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing], env=quiet, check=True)

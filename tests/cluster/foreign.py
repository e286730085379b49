"""Clusters that this package did not build: the one that KUBECONFIG names, or kind if Docker and kind exist.

Tests start, kill and stop nothing of such a cluster. A test that needs that is skipped.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NoReturn

import pytest

from tests.cluster.control import Cluster, ClusterError
from tests.cluster.layout import Layout
from tests.cluster.recipes import COMPONENTS, ROOT, dockerfile

ENV_IMAGES = "VELODROME_IMAGES"
_KIND = "velodrome-tests"


def choose() -> Cluster:
    """The cluster for this run of the tests: KUBECONFIG's, else kind's, else the project's own."""
    own = Cluster()
    given = os.environ.get("KUBECONFIG")
    if given and Path(given).resolve() != own.at.kubeconfig.resolve():
        return Foreign(Path(given))
    if shutil.which("kind") and shutil.which("docker"):
        return Kind()
    return own


class Foreign(Cluster):
    """A cluster that somebody else runs. VELODROME_IMAGES names its images: `operator=NAME@sha256:…,runner=…`."""

    def __init__(self, kubeconfig: Path) -> None:
        super().__init__(Layout(Path(tempfile.mkdtemp(prefix="velodrome-cluster-"))))
        kubectl = shutil.which("kubectl")
        if kubectl is None:
            raise ClusterError("kubectl is not on PATH: https://kubernetes.io/docs/tasks/tools/")
        self.at.bin.mkdir(parents=True)
        self.at.run.mkdir()
        (self.at.bin / "kubectl").symlink_to(kubectl)
        self.at.kubeconfig.symlink_to(kubeconfig.resolve())

    @property
    def has_volumes(self) -> bool:
        """Such a cluster has a default StorageClass."""
        return True

    def build(self, *, api_only: bool = False) -> None:
        """Builds nothing."""

    def begin_images(self, *others: str) -> None:
        """Begins nothing: such images are there, or are built when they are loaded."""

    def enforce_policies(self) -> None:
        """Leaves the network to whoever runs the cluster."""

    def relax_policies(self) -> None:
        """Leaves the network to whoever runs the cluster."""

    def up(self, *, api_only: bool = False) -> Path:
        """Checks that the cluster answers."""
        self.kubectl("get", "--raw", "/readyz")
        return self.at.kubeconfig

    def down(self) -> None:
        """Leaves it as it is."""
        shutil.rmtree(self.at.home)

    def pid(self, part: str) -> int | None:
        """Its parts are not ours to see."""
        return None

    def start(self, part: str) -> NoReturn:
        """Skips the test."""
        pytest.skip(f"{part} of this cluster is not the test's to start")

    def kill(self, part: str, number: int = 0) -> NoReturn:
        """Skips the test."""
        pytest.skip(f"{part} of this cluster is not the test's to kill")

    def load_image(self, component: str) -> str:
        """The image that VELODROME_IMAGES names; skips the test if it names none."""
        found = _named().get(component)
        if found is None:
            pytest.skip(f"{ENV_IMAGES} names no image for {component}")
        return found

    def load_images(self) -> dict[str, str]:
        """The images that VELODROME_IMAGES names.

        Raises:
            ClusterError: one is missing, or is not pinned by digest.
        """
        named = _named()
        missing = [component for component in COMPONENTS if "@sha256:" not in named.get(component, "")]
        if missing:
            raise ClusterError(
                f"build deploy/images/*.Dockerfile, push them to a registry of this cluster and set {ENV_IMAGES}="
                f"operator=NAME@sha256:DIGEST,…; there is none by digest for: {', '.join(missing)}"
            )
        return {component: named[component] for component in COMPONENTS}


class Kind(Foreign):
    """A cluster of kind, made at the first use and kept; `kind delete cluster --name velodrome-tests` removes it."""

    def __init__(self) -> None:
        kubeconfig = Path(tempfile.mkdtemp(prefix="velodrome-kind-")) / "kubeconfig"
        if _KIND not in _run("kind", "get", "clusters").split():
            _run("kind", "create", "cluster", "--name", _KIND, "--wait", "180s")
        kubeconfig.write_text(_run("kind", "get", "kubeconfig", "--name", _KIND))
        super().__init__(kubeconfig)

    def load_images(self) -> dict[str, str]:
        """Builds each image with Docker and imports it into the node, under a name with digest that pods can pin."""
        return {component: self.load_image(component) for component in COMPONENTS}

    def load_image(self, component: str) -> str:
        """Builds one image and imports it."""
        repository = f"localhost/velodrome-{component}"
        _run("docker", "build", "--quiet", *dockerfile(component), "--tag", f"{repository}:tests", str(ROOT))
        _run("kind", "load", "docker-image", f"{repository}:tests", "--name", _KIND)
        ctr = ("docker", "exec", f"{_KIND}-control-plane", "ctr", "--namespace", "k8s.io", "images")
        for line in _run(*ctr, "ls").splitlines()[1:]:
            name, _, digest = line.split()[:3]
            if name == f"{repository}:tests":
                _run(*ctr, "tag", "--force", name, f"{repository}@{digest}")
                return f"{repository}@{digest}"
        raise ClusterError(f"{repository}:tests was loaded and is not in the node")


def _named() -> dict[str, str]:
    return dict(item.split("=", 1) for item in os.environ.get(ENV_IMAGES, "").split(",") if "=" in item)


def _run(*line: str) -> str:
    done = subprocess.run(line, cwd=ROOT, text=True, capture_output=True, check=False)
    if done.returncode != 0:
        raise ClusterError(f"{' '.join(line)}: {done.stderr.strip()}")
    return done.stdout

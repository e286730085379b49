"""Builds the project's images for the test cluster from its Dockerfiles, with buildah, on a base of Debian.

An image is built when one of its own inputs changed (`tools.imaging.components`), and kept as an archive named after
their digest. debootstrap makes the base, so that no registry is needed.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.cluster import commands, images
from tests.cluster.build import install
from tests.cluster.layout import Layout
from tools.imaging import components

ROOT = Path(__file__).resolve().parents[2]
_BASE = "localhost/velodrome-base:1"
# How buildah builds without a registry, a daemon or namespaces of its own.
BUILD_ARGUMENTS = ("--isolation=chroot", "--pull-never", "--volume=/etc/ssl/certs:/etc/ssl/certs:ro")
PACKAGES = ("buildah", "debootstrap")
# Every file is given one time: what is in an image decides its digest, and not when it was built.
_TIMESTAMP = "1700000000"
COMPONENTS = ("operator", "runner", "leaderboard", "redis")


def load_all(at: Layout) -> dict[str, str]:
    """Builds and loads what changed. Returns the reference by digest of each component's image."""
    return {component: load(at, component) for component in COMPONENTS}


def load(at: Layout, component: str) -> str:
    """Builds a component's image if it changed, loads it into the cluster, and returns its reference by digest."""
    key = components.key(inputs(component))
    name = f"localhost/velodrome-{component}:{key}"
    present = images.pinned(at, name)
    if present is not None:
        return present
    install(PACKAGES)
    archive = at.images / f"{component}-{key}.tar"
    if not archive.exists():
        at.images.mkdir(parents=True, exist_ok=True)
        _buildah(
            "bud", "--quiet", "--layers", *BUILD_ARGUMENTS, "--timestamp", _TIMESTAMP,
            "--build-arg", f"BASE={base()}", *dockerfile(component), "--tag", name, ".",
        )  # fmt: skip
        for old in (*at.images.glob(f"{component}-*.tar"), *at.images.glob(f"{component}-*.partial")):
            old.unlink()
        _forget_older(component, name)
        partial = archive.with_suffix(".partial")
        _buildah("push", "--quiet", "--disable-compression", name, f"oci-archive:{partial}:{name}")
        partial.rename(archive)
    return images.load(at, archive)[name]


def _forget_older(component: str, newest: str) -> None:
    """Removes the component's older images from buildah's storage: those of the runner take gigabytes each."""
    listed = _buildah("images", "--format", "{{.Name}}:{{.Tag}}").splitlines()
    old = [name for name in listed if name.startswith(f"localhost/velodrome-{component}:") and name != newest]
    if old:
        _buildah("rmi", *old)


def dockerfile(component: str) -> tuple[str, ...]:
    """The build options that name the Dockerfile: that of a component, or that of the examples."""
    if (ROOT / f"deploy/images/{component}.Dockerfile").is_file():
        return "--file", f"deploy/images/{component}.Dockerfile"
    return "--file", "deploy/examples/Dockerfile", "--build-arg", f"PROGRAM={component}"


def inputs(component: str) -> tuple[str, ...]:
    """Every file and folder that the image is built from. Those of the examples start from the runner's code."""
    if component in components.COMPONENTS:
        return components.COMPONENTS[component].inputs
    folder = f"deploy/examples/{component}"
    locks = tuple(f"deploy/images/locks/{name}.txt" for name in ("core", "runner"))
    runner = components.COMPONENTS["runner"].sources
    return ("deploy/examples/Dockerfile", *runner, *locks, f"{folder}/train.py", f"{folder}/requirements.txt")


def base() -> str:
    """The name of the base image, which is made if it does not exist."""
    if subprocess.run(["buildah", "images", "-q", _BASE], capture_output=True, check=False).returncode == 0:
        return _BASE
    container = _buildah("from", "scratch")
    root = _buildah("mount", container)
    commands.write_line("making the base image of the project's own images: about 2 minutes, once")
    wanted = "--include=python3,python3-venv,ca-certificates"
    line = ["debootstrap", "--variant=minbase", wanted, "bookworm", root]
    done = subprocess.run(line, check=False, stdout=subprocess.DEVNULL)
    if done.returncode != 0:
        raise commands.CommandFailed(f"{commands.failure(line, done.returncode)}; its messages stand above")
    _buildah("umount", container)
    _buildah("commit", "--quiet", "--rm", container, _BASE)
    return _BASE


def environment() -> dict[str, str]:
    """What buildah is told on machines of every kind."""
    return os.environ | {"STORAGE_DRIVER": "overlay", "BUILDAH_ISOLATION": "chroot"}


def _buildah(*arguments: str) -> str:
    line = ["buildah", *arguments]
    done = subprocess.run(line, cwd=ROOT, env=environment(), check=False, text=True, stdout=subprocess.PIPE)
    if done.returncode != 0:
        raise commands.CommandFailed(f"{commands.failure(line, done.returncode)}; its messages stand above")
    return done.stdout.strip()

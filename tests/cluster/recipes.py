"""Builds the project's images for the test cluster from its Dockerfiles, with buildah, on a base of Debian.

An image is built when one of its own inputs changed (`tools.imaging.components`), and kept as an archive named after
their digest. debootstrap makes the base, so that no registry is needed.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from collections.abc import Iterable
from pathlib import Path

from tests.cluster import commands, images
from tests.cluster.build import BuildError, install
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
# One image is built at a time: another thread may build ahead of the one that needs it.
_BUILDING = threading.RLock()


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
    return images.load(at, build(at, component))[name]


def begin_to_build(at: Layout, components: Iterable[str]) -> None:
    """Builds images in a thread, in this order, while the caller does something else: `load` waits for its image."""

    def work() -> None:
        with contextlib.suppress(BuildError, commands.CommandFailed):  # who needs one builds it again, and is told
            for component in components:
                build(at, component)

    threading.Thread(target=work, name="images", daemon=True).start()


def build(at: Layout, component: str) -> Path:
    """Builds a component's image if it changed. Returns its archive."""
    key = components.key(inputs(component))
    archive = at.images / f"{component}-{key}.tar"
    if archive.exists():
        return archive
    with _BUILDING:
        if not archive.exists():
            install(PACKAGES)
            at.images.mkdir(parents=True, exist_ok=True)
            _build(component, f"localhost/velodrome-{component}:{key}", archive)
    return archive


def _build(component: str, name: str, archive: Path) -> None:
    _buildah(
        "bud", "--quiet", "--layers", *BUILD_ARGUMENTS, "--timestamp", _TIMESTAMP,
        "--build-arg", f"BASE={base()}", *dockerfile(component), "--tag", name, ".",
    )  # fmt: skip
    for old in (*archive.parent.glob(f"{component}-*.tar"), *archive.parent.glob(f"{component}-*.partial")):
        old.unlink()
    _forget_older(component, name)
    partial = archive.with_suffix(".partial")
    # In Docker's form: buildah compresses the layers in OCI's, whatever it is told, and containerd would unpack them.
    _buildah("push", "--quiet", name, f"docker-archive:{partial}:{name}")
    partial.rename(archive)


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
    with _BUILDING:
        return _base()


def _base() -> str:
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

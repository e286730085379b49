"""The project's images: what each is built from, and the commit that last changed that.

What stands here decides an image's labels and its time, so an edit elsewhere leaves its digest as it was.
"""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.imaging.locks import ROOT

_IMAGES = "deploy/images"
_PYTHON = (f"{_IMAGES}/assemble.py", f"{_IMAGES}/package", "tools/uv.txt", "core/velodrome")


@dataclass(frozen=True, slots=True)
class Component:
    """One image, and all that it is built from."""

    name: str
    sources: tuple[str, ...]
    locks: tuple[str, ...] = ()  # in deploy/images/locks

    @property
    def dockerfile(self) -> str:
        """Its Dockerfile, from the repository's root."""
        return f"{_IMAGES}/{self.name}.Dockerfile"

    @property
    def lock_files(self) -> tuple[str, ...]:
        """Its lists of libraries, from the repository's root."""
        return tuple(f"{_IMAGES}/locks/{name}.txt" for name in self.locks)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Every file and folder that the build reads."""
        return (self.dockerfile, *self.sources, *self.lock_files)


COMPONENTS = {
    found.name: found
    for found in (
        Component("operator", (*_PYTHON, "operator/velodrome_operator"), ("operator",)),
        Component("leaderboard", (*_PYTHON, "leaderboard/velodrome_leaderboard"), ("leaderboard",)),
        Component("runner", (*_PYTHON, "runner/velodrome_runner"), ("runner", "runner-cpu", "torch-cpu", "triton")),
        Component("redis", (f"{_IMAGES}/assemble.py",)),
        Component("pushgateway", (f"{_IMAGES}/assemble.py",)),
    )
}


@dataclass(frozen=True, slots=True)
class Revision:
    """The commit that last changed an image's inputs, its time in seconds, and whether they were edited since."""

    commit: str
    seconds: int
    edited: bool

    def __str__(self) -> str:
        return f"{self.commit}-edited" if self.edited else self.commit


class NoRevisionError(Exception):
    """The inputs are in no commit, or this is no git checkout."""


def revision(component: Component, root: Path = ROOT) -> Revision:
    """The revision of the component's inputs.

    Raises:
        NoRevisionError: git knows none.
    """
    said = _git(root, "log", "-1", "--format=%H %ct", "--", *component.inputs)
    if not said:
        raise NoRevisionError(f"no commit has {component.dockerfile}: commit the sources, then build the image again")
    commit, seconds = said.split()
    return Revision(commit, int(seconds), edited=bool(_git(root, "status", "--porcelain", "--", *component.inputs)))


def key(inputs: tuple[str, ...], root: Path = ROOT) -> str:
    """A digest of the names and bytes of all files among the inputs; an input that is absent counts for nothing."""
    found = hashlib.sha256()
    for path in _files(inputs, root):
        found.update(f"{path.relative_to(root)}\0".encode())
        found.update(path.read_bytes())
    return found.hexdigest()[:16]


def _files(inputs: tuple[str, ...], root: Path) -> Iterator[Path]:
    for name in sorted(inputs):
        path = root / name
        if path.is_dir():
            yield from sorted(f for f in path.rglob("*") if f.is_file() and "__pycache__" not in f.parts)
        elif path.exists():
            yield path


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, check=False, text=True, capture_output=True)
    if done.returncode != 0:
        raise NoRevisionError(f"git tells no revision of the sources: {done.stderr.strip()}")
    return done.stdout.strip()

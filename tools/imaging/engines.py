"""What docker, podman and buildah are asked to do. The lines are made by pure functions; `Engine` runs them."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.imaging.locks import ROOT

ENGINES = ("docker", "podman", "buildah")
PACKAGES = "usr/share/velodrome/packages.json"


class ImageError(Exception):
    """An image could not be built or pushed. The message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that decides the bytes of one image."""

    dockerfile: str
    tag: str
    arguments: Mapping[str, str]
    labels: Mapping[str, str]
    seconds: int  # the time of every file and of the image, so that the same sources give the same digest


def build_line(engine: str, recipe: Recipe, id_file: Path, extra: Sequence[str] = ()) -> list[str]:
    """The command that builds an image, in the repository's root."""
    if engine == "docker":
        # BuildKit takes the time from this argument. Its own provenance would make each digest differ.
        head = ["docker", "buildx", "build", "--load", "--provenance=false", "--sbom=false"]
        times = ["--build-arg", f"SOURCE_DATE_EPOCH={recipe.seconds}"]
    else:
        head = ["podman", "build", "--layers"] if engine == "podman" else ["buildah", "build", "--layers"]
        times = ["--timestamp", str(recipe.seconds)]
    given = [f"{name}={value}" for name, value in recipe.arguments.items() if value]
    return [
        *head, *times, *extra, "--file", recipe.dockerfile, "--iidfile", str(id_file), "--tag", recipe.tag,
        *(word for argument in given for word in ("--build-arg", argument)),
        *(word for name, value in recipe.labels.items() for word in ("--label", f"{name}={value}")),
        ".",
    ]  # fmt: skip


def push_line(engine: str, tag: str, digest_file: Path, *, insecure: bool = False) -> list[str]:
    """The command that pushes an image. docker reads from its own settings which registries use no TLS."""
    if engine == "docker":
        return ["docker", "push", tag]
    unsafe = ["--tls-verify=false"] if insecure else []
    return [engine, "push", *unsafe, "--digestfile", str(digest_file), tag]


@dataclass(frozen=True, slots=True)
class Engine:
    """One of the three programs, as it is called here."""

    name: str
    extra: tuple[str, ...] = ()

    def build(self, recipe: Recipe) -> str:
        """Builds the image and returns its id, `sha256:…`."""
        with tempfile.TemporaryDirectory() as folder:
            id_file = Path(folder, "id")
            self._run(build_line(self.name, recipe, id_file, self.extra))
            return "sha256:" + id_file.read_text().strip().removeprefix("sha256:")

    def push(self, tag: str, *, insecure: bool) -> str:
        """Pushes the image and returns the digest that the registry gave it."""
        with tempfile.TemporaryDirectory() as folder:
            digest_file = Path(folder, "digest")
            self._run(push_line(self.name, tag, digest_file, insecure=insecure))
            if self.name != "docker":
                return digest_file.read_text().strip()
        repository = tag.rpartition(":")[0]
        for name in json.loads(self._said(["docker", "image", "inspect", "--format", "{{json .RepoDigests}}", tag])):
            if name.startswith(f"{repository}@"):
                return str(name.partition("@")[2])
        raise ImageError(f"docker names no digest of {tag}: push it again")

    def packages(self, tag: str) -> dict[str, Any]:
        """The list of packages that the build wrote into the image."""
        if self.name == "buildah":
            container = self._said(["buildah", "from", "--pull-never", tag])
            try:
                read: dict[str, Any] = json.loads(
                    Path(self._said(["buildah", "mount", container]), PACKAGES).read_text()
                )
            finally:
                self._said(["buildah", "rm", container])
            return read
        container = self._said([self.name, "create", tag])
        try:
            with tempfile.TemporaryDirectory() as folder:
                self._said([self.name, "cp", f"{container}:/{PACKAGES}", f"{folder}/packages.json"])
                read = json.loads(Path(folder, "packages.json").read_text())
        finally:
            self._said([self.name, "rm", container])
        return read

    def save(self, tag: str, folder: Path) -> None:
        """Writes the image, compressed as a registry keeps it, into a folder of OCI's layout."""
        if self.name == "docker":
            archive = folder.with_suffix(".tar")
            self._run(["docker", "buildx", "build", "--output", f"type=oci,dest={archive}", "-"], given=f"FROM {tag}\n")
            shutil.unpack_archive(archive, folder)
            archive.unlink()
        else:
            self._run([self.name, "push", "--quiet", tag, f"oci:{folder}"])

    def version(self) -> str:
        """What the program says of itself."""
        return self._said([self.name, "--version"]).splitlines()[0]

    def base_digest(self, base: str) -> str | None:
        """The digest of a base image: the one in its name, or else the one that the engine knows of its copy."""
        _, found, digest = base.partition("@")
        if found:
            return digest
        field = "{{.FromImageDigest}}" if self.name == "buildah" else "{{.Id}}"
        line = ["buildah", "inspect", "--type", "image"] if self.name == "buildah" else [self.name, "image", "inspect"]
        try:
            return self._said([*line, "--format", field, base]) or None
        except ImageError:
            return None

    def _run(self, line: Sequence[str], given: str | None = None) -> None:
        try:
            done = subprocess.run(line, cwd=ROOT, check=False, text=True, input=given)
        except FileNotFoundError as error:
            raise ImageError(self._absent()) from error
        if done.returncode != 0:
            raise ImageError(
                f"`{' '.join(line[:3])} …` failed with exit code {done.returncode}; its messages stand above"
            )

    def _said(self, line: Sequence[str]) -> str:
        try:
            done = subprocess.run(line, cwd=ROOT, check=False, text=True, capture_output=True)
        except FileNotFoundError as error:
            raise ImageError(self._absent()) from error
        if done.returncode != 0:
            raise ImageError(f"`{' '.join(line)}` failed: {done.stderr.strip()}")
        return done.stdout.strip()

    def _absent(self) -> str:
        return f"{self.name} is not installed: install it, or name another with ENGINE={'|'.join(ENGINES)}"

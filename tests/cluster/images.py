"""Imports images from archives into the test cluster's containerd, under their digests, so that pods can pin them."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import signal
import subprocess
import tarfile
import time
from pathlib import Path

from tests.cluster.layout import Layout

_OCI = "application/vnd.oci.image."
PAUSE = "localhost/pause:1"


def ctr(at: Layout, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Runs containerd's own client in Kubernetes' namespace."""
    line = ["ctr", "--address", str(at.socket), "--namespace", "k8s.io", *arguments]
    return subprocess.run(line, check=check, text=True, capture_output=True)


def load(at: Layout, archive: Path) -> dict[str, str]:
    """Imports an OCI or docker archive. Returns each image's name with its digest, `name@sha256:…`, by its tag.

    A pod that pins a digest starts from a local image only if containerd also has the image under that name. So each
    image gets it as a tag.
    """
    ctr(at, "images", "import", "--all-platforms", str(archive))
    pinned = {}
    for line in ctr(at, "images", "ls").stdout.splitlines()[1:]:
        name, _, digest = line.split()[:3]
        if name.startswith("sha256:") or "@" in name:
            continue
        repository = name.rpartition(":")[0]
        pinned[name] = f"{repository}@{digest}"
        ctr(at, "images", "tag", "--force", name, pinned[name])
    return pinned


def pinned(at: Layout, name: str) -> str | None:
    """The reference by digest of a loaded image; None if it is not loaded."""
    for line in ctr(at, "images", "ls").stdout.splitlines()[1:]:
        found, _, digest = line.split()[:3]
        if found == name:
            return f"{name.rpartition(':')[0]}@{digest}"
    return None


def load_pause(at: Layout) -> None:
    """Loads the sandbox image: one program that sleeps."""
    if PAUSE in ctr(at, "images", "ls", "-q").stdout.split():
        return
    busybox = shutil.which("busybox")
    if busybox is None:
        raise FileNotFoundError("busybox is not installed: apt-get install busybox-static")
    archive = at.run / "pause.tar"
    archive.write_bytes(pause_archive(Path(busybox).read_bytes()))
    load(at, archive)
    # A kubelet that is short of disk would remove it, because the kubelet sees no pod that uses it.
    ctr(at, "images", "label", PAUSE, "io.cri-containerd.pinned=pinned")


def pause_archive(program: bytes) -> bytes:
    """An OCI archive of an image that sleeps forever, with busybox as its only file."""
    layer = _tar({"bin/busybox": program}, links={"bin/sleep": "busybox", "bin/sh": "busybox"})
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Entrypoint": ["/bin/sleep", "2147483647"]},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        }
    ).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": _OCI + "manifest.v1+json",
            "config": _descriptor(config, "config.v1+json"),
            "layers": [_descriptor(layer, "layer.v1.tar")],
        }
    ).encode()
    entry = _descriptor(manifest, "manifest.v1+json") | {"annotations": {"io.containerd.image.name": PAUSE}}
    index = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
    blobs = {f"blobs/sha256/{_digest(blob)[7:]}": blob for blob in (layer, config, manifest)}
    return _tar({"oci-layout": b'{"imageLayoutVersion": "1.0.0"}', "index.json": index, **blobs})


def remove_containers(at: Layout) -> None:
    """Ends and removes every container of this containerd."""
    tasks = ctr(at, "tasks", "ls", "-q", check=False).stdout.split()
    for task in tasks:
        ctr(at, "tasks", "kill", "--signal", signal.Signals.SIGKILL.name, task, check=False)
    deadline = time.monotonic() + 5
    while tasks and time.monotonic() < deadline and "RUNNING" in ctr(at, "tasks", "ls", check=False).stdout:
        time.sleep(0.1)
    for container in ctr(at, "containers", "ls", "-q", check=False).stdout.split():
        ctr(at, "tasks", "rm", "--force", container, check=False)
        ctr(at, "containers", "rm", container, check=False)


def _digest(blob: bytes) -> str:
    return "sha256:" + hashlib.sha256(blob).hexdigest()


def _descriptor(blob: bytes, kind: str) -> dict[str, object]:
    return {"mediaType": _OCI + kind, "digest": _digest(blob), "size": len(blob)}


def _tar(files: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755
            archive.addfile(entry, io.BytesIO(content))
        for name, target in (links or {}).items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            archive.addfile(entry)
    return buffer.getvalue()

"""Reads an image in OCI's layout: its digest, and how large its layers are as a registry keeps them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Layout:
    """The digest of an image's manifest, and the bytes of each of its layers, compressed."""

    digest: str
    layers: tuple[int, ...]

    @property
    def megabytes(self) -> float:
        """What a node downloads, in units of 1,000,000 bytes."""
        return sum(self.layers) / 1e6


def read(folder: Path) -> Layout:
    """The one image of the folder."""
    digest = json.loads((folder / "index.json").read_text())["manifests"][0]["digest"]
    manifest = json.loads((folder / "blobs" / digest.replace(":", "/")).read_text())
    if "manifests" in manifest:  # an index of platforms: of one
        digest = manifest["manifests"][0]["digest"]
        manifest = json.loads((folder / "blobs" / digest.replace(":", "/")).read_text())
    return Layout(digest, tuple(layer["size"] for layer in manifest["layers"]))

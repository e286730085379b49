"""The values file that tells the chart which images to run: `charts/velodrome/digests.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tools.imaging.locks import ROOT

FILE = ROOT / "charts" / "velodrome" / "digests.yaml"
_NOTICE = "# The images that were pushed last. Written by `make images push`; the other values stand in values.yaml.\n"


def merged(text: str, pushed: Mapping[str, tuple[str, str]]) -> str:
    """The file's text with the repository and digest of each pushed image; what was pushed earlier stays."""
    before: dict[str, Any] = yaml.safe_load(text) or {}
    images: dict[str, Any] = dict(before.get("images") or {})
    images |= {name: {"repository": repository, "digest": digest} for name, (repository, digest) in pushed.items()}
    return _NOTICE + yaml.safe_dump({**before, "images": dict(sorted(images.items()))}, sort_keys=False)


def write(pushed: Mapping[str, tuple[str, str]], file: Path = FILE) -> None:
    """Writes the repository and digest of each pushed image into the file."""
    text = file.read_text("utf-8") if file.exists() else ""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(merged(text, pushed), encoding="utf-8")

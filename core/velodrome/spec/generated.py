"""Makes a name for a job that has `metadata.generateName` and no name, as an API server does. Pure.

An API server takes a new suffix each time, so that `kubectl create` makes a new job each time. Here the suffix follows
from the job's spec: the same file is the same job, and a second `velodrome run` continues it.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

# As in Kubernetes: no vowels, so that a suffix forms no words; 5 characters, and 63 in the whole name.
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_SUFFIX = 5
_LONGEST_PREFIX = 63 - _SUFFIX


def is_generated(document: Any) -> bool:
    """Whether the name must be generated. A written name counts, with or without `generateName`."""
    metadata = document.get("metadata") if isinstance(document, dict) else None
    if not isinstance(metadata, dict) or metadata.get("name"):
        return False
    prefix = metadata.get("generateName")
    return isinstance(prefix, str) and prefix != ""


def named(document: Any) -> Any:
    """The document with a name. Unchanged if it has one, or if it has no `generateName`."""
    if not is_generated(document):
        return document
    metadata = document["metadata"]
    name = metadata["generateName"][:_LONGEST_PREFIX] + _suffix(document.get("spec"))
    return {**document, "metadata": {**metadata, "name": name}}


def _suffix(spec: Any) -> str:
    digest = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).digest()
    return "".join(_LETTERS[byte % len(_LETTERS)] for byte in digest[:_SUFFIX])

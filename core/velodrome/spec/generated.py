"""A name for a job that has `metadata.generateName` and no name, as an API server would make one. Pure.

An API server takes a new suffix each time, so that `kubectl create` makes a new job each time. Here the suffix follows
from the job's spec: the same file is the same job, which a second `velodrome run` carries on with.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

# As in Kubernetes: no vowels, so that no words come of it; 5 of these, and 63 characters in all.
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_SUFFIX = 5
_LONGEST_PREFIX = 63 - _SUFFIX


def is_generated(document: Any) -> bool:
    """Whether the document leaves its name to be made; a name that is written counts, whatever stands beside it."""
    metadata = document.get("metadata") if isinstance(document, dict) else None
    if not isinstance(metadata, dict) or metadata.get("name"):
        return False
    prefix = metadata.get("generateName")
    return isinstance(prefix, str) and prefix != ""


def named(document: Any) -> Any:
    """The document with a name; as it is where it has one, or where nothing says what to make one of."""
    if not is_generated(document):
        return document
    metadata = document["metadata"]
    name = metadata["generateName"][:_LONGEST_PREFIX] + _suffix(document.get("spec"))
    return {**document, "metadata": {**metadata, "name": name}}


def _suffix(spec: Any) -> str:
    digest = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).digest()
    return "".join(_LETTERS[byte % len(_LETTERS)] for byte in digest[:_SUFFIX])

"""Says how an image came about, as an in-toto statement with SLSA's provenance, version 1. Pure: no clock, no files.

The statement is not signed. Whoever pushes the images signs it with their own key, for example with `cosign attest`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

BUILD_TYPE = "urn:velodrome:make-images:1"


@dataclass(frozen=True, slots=True)
class Build:
    """One build. `materials` has the digests of all that went into it, by kind, under each one's address."""

    dockerfile: str
    arguments: Mapping[str, str]
    materials: Mapping[str, Mapping[str, str]]
    builder: str
    engine: str
    started: str
    finished: str


def statement(image: str, digest: str, build: Build) -> dict[str, Any]:
    """The statement that this build made the image of this digest."""
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": image, "digest": _digest(digest)}],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {"dockerfile": build.dockerfile, "buildArguments": dict(build.arguments)},
                "internalParameters": {},
                "resolvedDependencies": [{"uri": uri, "digest": dict(of)} for uri, of in build.materials.items()],
            },
            "runDetails": {
                "builder": {"id": build.builder, "version": {"engine": build.engine}},
                "metadata": {"startedOn": build.started, "finishedOn": build.finished},
            },
        },
    }


def _digest(text: str) -> dict[str, str]:
    kind, _, value = text.partition(":")
    return {kind: value}

"""Rules of the files that trials keep. Pure; see `velodrome.spec.rules`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from velodrome.spec.raw import Broken, as_mapping, as_text, numbered
from velodrome.spec.volumes import ARTIFACTS_FOLDER
from velodrome.spec.wording import Location, shown


def artifact_rules(spec: Mapping[str, Any]) -> Iterator[Broken]:
    """Nothing else may lie where the claim is mounted."""
    artifacts, runner = as_mapping(spec.get("artifacts")), as_mapping(spec.get("runner"))
    if artifacts.get("claimName") is not None:
        for index, volume in numbered(runner.get("volumes")):
            path = as_text(volume.get("mountPath"))
            if f"{path}/".startswith(f"{ARTIFACTS_FOLDER}/"):
                here: Location = ("spec", "runner", "volumes", index, "mountPath")
                yield Broken(here, f"{shown(path)} is where artifacts.claimName is mounted", "mount it elsewhere")

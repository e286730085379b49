"""Volumes of the test cluster, which has no provisioner: folders of its one node."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def bound(volume: str, claim: str, folder: Path, mode: str) -> list[dict[str, Any]]:
    """A volume that is a folder, and the claim of the default namespace that it is for."""
    size, modes = {"storage": "1Gi"}, [mode]
    return [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": volume},
            "spec": {
                "capacity": size,
                "accessModes": modes,
                "storageClassName": "",
                "claimRef": {"namespace": "default", "name": claim},
                "hostPath": {"path": str(folder), "type": "Directory"},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": claim, "namespace": "default"},
            "spec": {
                "accessModes": modes,
                "storageClassName": "",
                "volumeName": volume,
                "resources": {"requests": size},
            },
        },
    ]

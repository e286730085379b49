"""The headless Service of a race whose trials train on several pods each. Pure."""

from __future__ import annotations

from velodrome import keys
from velodrome.spec import BenchmarkJob
from velodrome_operator.children.names import Manifest, Names, metadata


def service(job: BenchmarkJob, uid: str, names: Names) -> Manifest:
    """Names the pods of trials that train together, even before they are ready, so that they find each other."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(job, uid, names.service),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {keys.LABEL_JOB_UID: uid, keys.LABEL_ROLE: keys.ROLE_RUNNER},
        },
    }

"""The Indexed Job that runs the trials of one pod template. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from velodrome import keys
from velodrome.spec import BenchmarkJob
from velodrome_operator.children.names import (
    KUEUE_PREFIX,
    ChildSettings,
    Manifest,
    Names,
    TrialGroup,
    is_kueue,
    metadata,
)
from velodrome_operator.children.pod import pod_template
from velodrome_operator.disruptions import retries

# A pod that Kubernetes marks as disrupted costs no attempt. A trial that reported its own failure would fail again.
_FAILURE_RULES: Sequence[Manifest] = (
    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
    {
        "action": "FailIndex",
        "onExitCodes": {
            "containerName": "runner",
            "operator": "In",
            "values": [keys.EXIT_FAILED, keys.EXIT_CONFIGURATION],
        },
    },
)


def trial_job(
    job: BenchmarkJob,
    uid: str,
    names: Names,
    settings: ChildSettings,
    group: TrialGroup,
    completions: int,
    parallelism: int,
    taken_over: AbstractSet[int],
) -> Manifest:
    """The Job of a group of trials. Only the first group's runs at first: a pass gives the others their share."""
    kueue = {key: value for key, value in job.metadata.labels.items() if key.startswith(KUEUE_PREFIX)}
    nodes = job.spec.runner.nodes
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(job, uid, names.job(group), kueue),
        "spec": {
            "completionMode": "Indexed",
            "completions": completions,
            "parallelism": parallelism,
            "suspend": job.spec.suspend or is_kueue(job),
            # Kubernetes counts a pod that somebody deleted as failed. `disruptions` decides what costs an attempt.
            "backoffLimitPerIndex": retries(nodes) + job.spec.execution.max_disruptions,
            "maxFailedIndexes": completions,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {"rules": _FAILURE_RULES},
            "template": pod_template(job, uid, names, settings, group, taken_over),
        },
    }

"""Merges `runner.template` into a pod template. Pure.

`velodrome.spec` has refused whatever Velodrome sets itself, so merging overrides nothing of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from velodrome.spec.pods import DEFAULT_LIMITS, DEFAULT_REQUESTS
from velodrome.spec.template import PodTemplate
from velodrome_operator.children.names import Manifest

RESTRICTED_CONTAINER: Manifest = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
# Lists of a pod or a container in which each item is kept, whoever wrote it.
_JOINED = ("volumes", "volumeMounts")


def merged(pod: Manifest, template: PodTemplate | None) -> Manifest:
    """The pod's spec with the job's template in it: mappings are merged, and volumes and mounts are added."""
    if template is None or template.spec is None:
        return pod
    written: Manifest = _without_nulls(template.spec.model_dump(mode="json", by_alias=True, exclude_none=True))
    (runner,) = pod["containers"]
    own: Manifest = next(iter(written.pop("containers", ())), {})
    init = [_restricted(container) for container in written.pop("initContainers", ())]
    return {
        **_overlaid(pod, written),
        "containers": [_overlaid(runner, own)],
        **({"initContainers": init} if init else {}),
    }


def _overlaid(below: Manifest, above: Mapping[str, Any]) -> Manifest:
    result = dict(below)
    for field, value in above.items():
        known = result.get(field)
        if isinstance(known, Mapping) and isinstance(value, Mapping):
            result[field] = _overlaid(dict(known), value)
        elif field in _JOINED and isinstance(known, list):
            result[field] = [*known, *value]
        else:
            result[field] = value
    return result


def _restricted(container: Mapping[str, Any]) -> Manifest:
    """An init container with what "restricted" wants of it, and with resources if it names none."""
    filled = {
        "imagePullPolicy": "IfNotPresent",
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "resources": {"requests": dict(DEFAULT_REQUESTS), "limits": dict(DEFAULT_LIMITS)},
        **container,
    }
    own = container.get("securityContext")
    if own is None or isinstance(own, Mapping):  # anything else is for the API server to refuse
        filled["securityContext"] = _overlaid(RESTRICTED_CONTAINER, own or {})
    return filled


def _without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value

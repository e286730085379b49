"""Checks whether a job's images are there: on a node already, or in their registry."""

from __future__ import annotations

from collections.abc import Iterator

from velodrome.cli.cluster.installation import Installation
from velodrome.cli.cluster.kubectl import Kubectl
from velodrome.cli.cluster.preflight.needs import PodNeeds
from velodrome.cli.registry.client import ImageNotFound, Registries, RegistryDenied
from velodrome.cli.registry.reference import ImageReference
from velodrome.errors import ClusterError, VelodromeError
from velodrome.machine.checks import Check
from velodrome.spec import BenchmarkJob
from velodrome.text import counted


def image_checks(
    kubectl: Kubectl, installation: Installation, registries: Registries, job: BenchmarkJob, needs: PodNeeds
) -> Iterator[Check]:
    """Whether each image is on a node, or whether its registry knows its digest."""
    images = list(needs.images)
    if job.spec.runner.image is None and any(entry.image is None for entry in job.spec.entries):
        own = installation.argument("--runner-image")
        if not own or "@sha256:" not in own:
            fix = "write spec.runner.image, or install the operator with a runner image by digest"
            yield Check("images", "missing", "the job names no runner image, and the operator has none", fix)
        else:
            images.insert(0, ("the operator's runner image", own))
    present = _on_nodes(kubectl)
    for field, image in images:
        yield _image(field, image, present, registries, bool(job.spec.runner.image_pull_secrets))


def _on_nodes(kubectl: Kubectl) -> dict[str, int]:
    """By image, by its name with digest: how many nodes have it. Empty for a person who may not list nodes."""
    found: dict[str, int] = {}
    try:
        nodes = kubectl.items("nodes")
    except ClusterError:
        return found
    for node in nodes:
        for name in {_bare(name) for image in node["status"].get("images") or () for name in image.get("names") or ()}:
            found[name] = found.get(name, 0) + 1
    return found


def _bare(image: str) -> str:
    """A name with its digest and without its tag, as nodes report it."""
    try:
        parsed = ImageReference.parse(image)
    except ValueError:
        return image
    return f"{parsed.host}/{parsed.repository}@{parsed.digest}"


def _image(field: str, image: str, present: dict[str, int], registries: Registries, has_secret: bool) -> Check:
    known = present.get(_bare(image))
    if known:
        return Check("images", "ok", f"{image}: on {counted(known, 'node')}")
    try:
        registries.digest(ImageReference.parse(image))
    except ImageNotFound as error:
        return Check("images", "missing", f"{error} ({field})", "push it, or write the digest of one that is there")
    except RegistryDenied as error:
        fix = (
            "the cluster's pull secret may still do"
            if has_secret
            else "sign in here, and name spec.runner.imagePullSecrets"
        )
        return Check("images", "warning", f"{error} ({field})", fix)
    except (VelodromeError, ValueError) as error:
        return Check(
            "images", "warning", f"{error} ({field})", "no node has it; look from a place that reaches the registry"
        )
    return Check("images", "ok", f"{image}: its registry has it")

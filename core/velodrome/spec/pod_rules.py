"""Rules that span fields of `spec.runner`: what a pod may ask for, and what Velodrome keeps for itself. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any, Final

from velodrome import keys
from velodrome.spec.raw import (
    Broken,
    as_mapping,
    as_text,
    chosen,
    numbered,
    one_of,
    repeated,
    taken_names,
)
from velodrome.spec.restricted import violations
from velodrome.spec.types import IMAGE
from velodrome.spec.volumes import DATA_FOLDER, OWN_VOLUMES, READ_ONLY_SOURCES, VOLUME_SOURCES, hides
from velodrome.spec.wording import Location, shown

# What the operator or the runner writes. HOME, which the operator writes too, is the job's if the job names it.
OWN_VARIABLES: Final = tuple(
    value
    for name, value in vars(keys).items()
    if name.startswith("ENV_") and value not in (keys.ENV_CPUS, keys.ENV_CONCURRENT)
)
# Labels and annotations with these prefixes belong to Velodrome, to Kubernetes' Job controller and to Kueue.
OWN_PREFIXES: Final = (f"{keys.GROUP}/", "batch.kubernetes.io/", "kueue.x-k8s.io/")
OWN_LABELS: Final = ("app.kubernetes.io/managed-by", "controller-uid", "job-name")

_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
_DOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_APPARMOR: Final = "container.apparmor.security.beta.kubernetes.io/"
_MOST_NAME, _MOST_DOMAIN = 63, 253
_RUNNER: Location = ("spec", "runner")


def pod_rules(spec: Mapping[str, Any]) -> Iterator[Broken]:
    """Every rule of the runner's pods that the spec breaks."""
    runner = as_mapping(spec.get("runner"))
    yield from chain(_environment(runner), _volumes(spec, runner), _metadata(runner), _claims(runner))
    yield from _template(spec, runner)


def _environment(runner: Mapping[str, Any]) -> Iterator[Broken]:
    for index, variable in numbered(runner.get("env")):
        here: Location = (*_RUNNER, "env", index)
        name = as_text(variable.get("name"))
        if name in OWN_VARIABLES:
            yield Broken((*here, "name"), f"{name} is set by Velodrome and can't be overridden", "leave it out")
        source = as_mapping(variable.get("valueFrom"))
        if variable.get("valueFrom") is not None:
            yield from one_of((*here, "valueFrom"), source, ("secretKeyRef", "configMapKeyRef", "fieldRef"))
            if variable.get("value"):
                yield Broken((*here, "value"), "is written beside valueFrom", "write one of the two")
    for index, source in numbered(runner.get("envFrom")):
        yield from one_of((*_RUNNER, "envFrom", index), source, ("configMapRef", "secretRef"))


def _volumes(spec: Mapping[str, Any], runner: Mapping[str, Any]) -> Iterator[Broken]:
    here: Location = (*_RUNNER, "volumes")
    for index, volume in numbered(runner.get("volumes")):
        at = (*here, index)
        if volume.get("name") in OWN_VOLUMES:
            yield _own_volume((*at, "name"), volume["name"])
        yield from one_of(at, volume, VOLUME_SOURCES)
        for source in chosen(volume, READ_ONLY_SOURCES):
            if volume.get("readOnly") is False:
                yield Broken((*at, "readOnly"), f"the files of {_a(source)} can't be written", "leave it out")
        if ".." in as_text(volume.get("subPath")).split("/") or as_text(volume.get("subPath")).startswith("/"):
            yield Broken((*at, "subPath"), f"{shown(volume['subPath'])} leaves the volume", "without / and ..")
        for source in ("configMap", "secret"):
            for place, item in numbered(as_mapping(volume.get(source)).get("items")):
                path = as_text(item.get("path"))
                if ".." in path.split("/") or path.startswith("/"):
                    yield Broken(
                        (*at, source, "items", place, "path"), f"{shown(path)} leaves the mount", "without / and .."
                    )
        yield from _mount((*at, "mountPath"), as_text(volume.get("mountPath")), spec)
    paths = [(index, as_text(volume.get("mountPath"))) for index, volume in numbered(runner.get("volumes"))]
    for index, path in repeated(paths):
        yield Broken((*here, index, "mountPath"), f"{shown(path)} is taken by another volume", "mount it elsewhere")


def _a(source: str) -> str:
    return {"configMap": "a ConfigMap", "secret": "a Secret", "image": "an image"}[source]  # words # nosec B105


def _own_volume(location: Location, name: str) -> Broken:
    return Broken(location, f"{shown(name)} is the name of a volume of Velodrome", "give it another name")


def _mount(location: Location, path: str, spec: Mapping[str, Any]) -> Iterator[Broken]:
    """Whether a volume may be mounted there."""
    steps = path.split("/")
    hidden = hides(path) if path.startswith("/") else None
    source = as_mapping(as_mapping(spec.get("dataset")).get("source"))
    if ".." in steps or "." in steps:
        yield Broken(location, f"{shown(path)} has . or .. in it", "write the path without them")
    elif hidden == DATA_FOLDER and path == DATA_FOLDER:
        yield Broken(
            location, f"{path} is the data set's", "write spec.dataset.source, or mount it elsewhere, as /models"
        )
    elif hidden is not None:
        yield Broken(location, f"would hide {hidden}, which the runner needs", "mount it elsewhere, such as at /models")
    elif path.startswith(f"{DATA_FOLDER}/") and source.get("persistentVolumeClaim") is not None:
        yield Broken(location, f"{DATA_FOLDER} is a read-only volume of the data set", "mount it outside of /data")


def _metadata(runner: Mapping[str, Any]) -> Iterator[Broken]:
    for field in ("labels", "annotations"):
        for key, value in as_mapping(runner.get(field)).items():
            location: Location = (*_RUNNER, field, key)
            if key in OWN_LABELS or key.startswith(OWN_PREFIXES):
                yield Broken(location, f"{key} is set by Velodrome or by Kubernetes", "use a prefix of your own")
            elif not _is_qualified(key):
                yield Broken(location, "is no name that Kubernetes allows", "[DOMAIN/]NAME, such as example.com/team")
            if field == "labels" and as_text(value) and not _NAME.fullmatch(as_text(value)):
                hint = "letters, digits, -, _ and ., with a letter or digit at both ends"
                yield Broken(location, f"{shown(value)} has characters that are not allowed", hint)
            if field == "annotations" and key.startswith(_APPARMOR) and not _confined(as_text(value)):
                yield Broken(location, f"{shown(value)} is refused (Pod Security restricted)", "write runtime/default")


def _is_qualified(key: str) -> bool:
    domain, slash, name = key.rpartition("/")
    right = len(name) <= _MOST_NAME and _NAME.fullmatch(name) is not None
    return right and (not slash or (len(domain) <= _MOST_DOMAIN and _DOMAIN.fullmatch(domain) is not None))


def _confined(profile: str) -> bool:
    return profile in ("", "runtime/default") or profile.startswith("localhost/")


def _claims(runner: Mapping[str, Any]) -> Iterator[Broken]:
    for index, claim in numbered(runner.get("resourceClaims")):
        kinds = ("resourceClaimName", "resourceClaimTemplateName")
        yield from one_of((*_RUNNER, "resourceClaims", index), claim, kinds)
    known = [claim.get("name") for _, claim in numbered(runner.get("resourceClaims"))]
    for index, use in numbered(as_mapping(runner.get("resources")).get("claims")):
        if use.get("name") not in known:
            hint = f"one of: {', '.join(map(str, known))}" if known else "describe it in runner.resourceClaims"
            location: Location = (*_RUNNER, "resources", "claims", index, "name")
            yield Broken(location, f"there is no claim {shown(use.get('name'))}", hint)


def _template(spec: Mapping[str, Any], runner: Mapping[str, Any]) -> Iterator[Broken]:
    pod = as_mapping(as_mapping(runner.get("template")).get("spec"))
    here: Location = (*_RUNNER, "template", "spec")
    yield from violations(pod, here)
    yield from _template_volumes(pod, runner, here)
    names = [volume.get("name") for _, volume in (*numbered(runner.get("volumes")), *numbered(pod.get("volumes")))]
    for kind in ("initContainers", "containers"):
        for index, container in numbered(pod.get(kind)):
            for place, mount in numbered(container.get("volumeMounts")):
                at = (*here, kind, index, "volumeMounts", place)
                if mount.get("name") not in names:
                    yield Broken((*at, "name"), f"there is no volume {shown(mount.get('name'))}", _one_of(names))
                if kind == "containers":
                    yield from _mount((*at, "mountPath"), as_text(mount.get("mountPath")).rstrip("/") or "/", spec)
    yield from _init_containers(pod, here)


def _template_volumes(pod: Mapping[str, Any], runner: Mapping[str, Any], here: Location) -> Iterator[Broken]:
    taken = [volume.get("name") for _, volume in numbered(runner.get("volumes"))]
    for index, volume in numbered(pod.get("volumes")):
        at = (*here, "volumes", index)
        if volume.get("name") in OWN_VOLUMES:
            yield _own_volume((*at, "name"), volume["name"])
        elif volume.get("name") in taken:
            yield Broken((*at, "name"), f"{shown(volume['name'])} is taken by runner.volumes", "names are unique")
        for place, source in numbered(as_mapping(volume.get("projected")).get("sources")):
            if source.get("serviceAccountToken") is not None:
                location = (*at, "projected", "sources", place, "serviceAccountToken")
                yield Broken(location, "a trial gets no token of a service account", "leave it out")
        image = as_mapping(volume.get("image")).get("reference")
        if image is not None:
            yield from _pinned((*at, "image", "reference"), image)
    yield from taken_names((*here, "volumes"), pod.get("volumes"))


def _init_containers(pod: Mapping[str, Any], here: Location) -> Iterator[Broken]:
    for index, container in numbered(pod.get("initContainers")):
        at = (*here, "initContainers", index)
        if not as_text(container.get("name")):
            yield Broken(at, "needs a name", "write name: NAME")
        elif container["name"] == "runner":
            yield Broken((*at, "name"), '"runner" is the name of the trial\'s container', "give it another name")
        yield from _pinned((*at, "image"), container.get("image"))
    yield from taken_names((*here, "initContainers"), pod.get("initContainers"))


def _pinned(location: Location, image: Any) -> Iterator[Broken]:
    if not re.fullmatch(IMAGE, as_text(image)):
        hint = "write NAME@sha256:DIGEST, so that every trial runs the same image"
        yield Broken(location, f"{shown(image)} is not pinned by its digest", hint)


def _one_of(names: list[Any]) -> str:
    return f"one of: {', '.join(map(str, names))}" if names else "describe it in runner.volumes"

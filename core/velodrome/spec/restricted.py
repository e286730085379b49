"""What Pod Security "restricted" refuses, in a whole pod or in a part of one. Pure.

The rules are those of Kubernetes 1.35: https://kubernetes.io/docs/concepts/security/pod-security-standards/. In a part
only what is written counts, because Velodrome writes the rest (`velodrome_operator.children.pod`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from velodrome.spec.raw import Broken, as_list, as_mapping, numbered
from velodrome.spec.wording import Location, shown

_VOLUMES: Final = (
    *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected"),
    "secret",
)
_SYSCTLS: Final = (
    *("kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_local_reserved_ports"),
    *("net.ipv4.ip_unprivileged_port_start", "net.ipv4.ping_group_range", "net.ipv4.tcp_fin_timeout"),
    *("net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_keepalive_time"),
    *("net.ipv4.tcp_rmem", "net.ipv4.tcp_syncookies", "net.ipv4.tcp_wmem"),
)
_SELINUX: Final = (None, "", "container_t", "container_init_t", "container_kvm_t", "container_engine_t")
_CONTAINERS: Final = ("initContainers", "containers")
_CAPABILITY: Final = "NET_BIND_SERVICE"
_PROFILES: Final = ("RuntimeDefault", "Localhost")


def violations(spec: Mapping[str, Any], here: Location, *, whole: bool = False) -> Iterator[Broken]:
    """What "restricted" refuses of a pod's `spec`, which is at `here`.

    If it is `whole`, also what must be written and is missing.
    """
    for field in ("hostNetwork", "hostPID", "hostIPC") if whole else ():  # no part of a pod has these
        if spec.get(field):
            yield _broken((*here, field), f"{field} is refused", "leave it out")
    pod = as_mapping(spec.get("securityContext"))
    yield from _identity(pod, (*here, "securityContext"))
    for index, sysctl in numbered(pod.get("sysctls")):
        if sysctl.get("name") not in _SYSCTLS:
            at = (*here, "securityContext", "sysctls", index, "name")
            yield _broken(at, f"{shown(sysctl.get('name'))} is no safe sysctl", f"one of: {', '.join(_SYSCTLS)}")
    for index, volume in numbered(spec.get("volumes")):
        for source in sorted(volume.keys() - {"name", *_VOLUMES}):
            if volume[source] is not None:
                yield _broken(
                    (*here, "volumes", index, source), f"{source} is refused", f"one of: {', '.join(_VOLUMES)}"
                )
    for kind in _CONTAINERS:
        for index, container in numbered(spec.get(kind)):
            yield from _container(container, pod, (*here, kind, index), whole=whole)


def _container(
    container: Mapping[str, Any], pod: Mapping[str, Any], here: Location, *, whole: bool
) -> Iterator[Broken]:
    own, at = as_mapping(container.get("securityContext")), (*here, "securityContext")
    yield from _identity(own, at)
    if own.get("privileged"):
        yield _broken((*at, "privileged"), "a privileged container is refused", "leave it out")
    escalates = own.get("allowPrivilegeEscalation")
    if escalates or (whole and escalates is not False):
        yield _broken((*at, "allowPrivilegeEscalation"), "must be false", "leave it out")
    if own.get("procMount") not in (None, "Default"):
        yield _broken((*at, "procMount"), f"{shown(own['procMount'])} is refused", "leave it out")
    yield from _capabilities(own, (*at, "capabilities"), whole=whole)
    for index, port in numbered(container.get("ports")):
        if port.get("hostPort"):
            yield _broken((*here, "ports", index, "hostPort"), "a port of the node is refused", "leave it out")
    yield from _hosts(container, here)
    if whole:
        if (own.get("runAsNonRoot") if own.get("runAsNonRoot") is not None else pod.get("runAsNonRoot")) is not True:
            yield _broken((*at, "runAsNonRoot"), "must be true", "write it")
        profile = as_mapping(own.get("seccompProfile")) or as_mapping(pod.get("seccompProfile"))
        if profile.get("type") not in _PROFILES:
            yield _broken(
                (*at, "seccompProfile"), "must be RuntimeDefault or Localhost", "write {type: RuntimeDefault}"
            )


def _identity(context: Mapping[str, Any], at: Location) -> Iterator[Broken]:
    """What the contexts of pods and of containers have in common."""
    if context.get("runAsNonRoot") is False:
        yield _broken((*at, "runAsNonRoot"), "must be true", "leave it out")
    if context.get("runAsUser") == 0:
        yield _broken((*at, "runAsUser"), "root is refused", "write another number, such as 65532")
    profile = as_mapping(context.get("seccompProfile"))
    if profile and profile.get("type") not in _PROFILES:
        yield _broken(
            (*at, "seccompProfile", "type"), f"{shown(profile.get('type'))} is refused", "write RuntimeDefault"
        )
    if as_mapping(context.get("appArmorProfile")).get("type") == "Unconfined":
        yield _broken((*at, "appArmorProfile", "type"), '"Unconfined" is refused', "write RuntimeDefault")
    selinux = as_mapping(context.get("seLinuxOptions"))
    if selinux.get("type") not in _SELINUX:
        yield _broken((*at, "seLinuxOptions", "type"), f"{shown(selinux['type'])} is refused", "write container_t")
    for field in ("user", "role"):
        if selinux.get(field):
            yield _broken((*at, "seLinuxOptions", field), "is refused", "leave it out")
    if as_mapping(context.get("windowsOptions")).get("hostProcess"):
        yield _broken((*at, "windowsOptions", "hostProcess"), "is refused", "leave it out")


def _capabilities(own: Mapping[str, Any], at: Location, *, whole: bool) -> Iterator[Broken]:
    written = as_mapping(own.get("capabilities"))
    for index, name in enumerate(as_list(written.get("add"))):
        if name != _CAPABILITY:
            yield _broken((*at, "add", index), f"{shown(name)} is refused", f"only {_CAPABILITY} may be added")
    if (whole or written.get("drop") is not None) and "ALL" not in as_list(written.get("drop")):
        yield _broken((*at, "drop"), "must have ALL", "write [ALL]")


def _hosts(container: Mapping[str, Any], here: Location) -> Iterator[Broken]:
    """Probes and hooks that reach another host than the pod."""
    places: list[tuple[str, ...]] = [(probe,) for probe in ("livenessProbe", "readinessProbe", "startupProbe")]
    places += [("lifecycle", "postStart"), ("lifecycle", "preStop")]
    for place in places:
        handler = container
        for step in place:
            handler = as_mapping(handler.get(step))
        for action in ("httpGet", "tcpSocket"):
            if as_mapping(handler.get(action)).get("host"):
                yield _broken((*here, *place, action, "host"), "another host than the pod is refused", "leave it out")


def _broken(location: Location, message: str, hint: str) -> Broken:
    return Broken(location, f"{message} (Pod Security restricted)", hint)

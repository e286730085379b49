"""Whether the quotas and limit ranges of a namespace admit the pods of a job. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from velodrome.cli.cluster.preflight.needs import PodNeeds
from velodrome.cli.cluster.preflight.quantities import amounts, shown
from velodrome.text import counted

Raw = Mapping[str, Any]

_PLAIN = ("cpu", "memory", "ephemeral-storage")
_OBJECTS = {"jobs.batch": "jobs", "configmaps": "one", "secrets": "one"}


class QuotaFinding(NamedTuple):
    """What a quota or a limit range means for a job. If it is `fatal`, no trial ever runs."""

    fatal: bool
    found: str
    fix: str


def findings(
    needs: PodNeeds, quotas: Sequence[Raw], ranges: Sequence[Raw], priority_class: str | None
) -> Iterator[QuotaFinding]:
    """Everything that a namespace's quotas and limit ranges have against the job's pods."""
    defaults = _defaults(ranges)
    needs_of_pod = {f"requests.{name}": amount for name, amount in {**defaults[0], **needs.requests}.items()}
    needs_of_pod |= {f"limits.{name}": amount for name, amount in {**defaults[1], **needs.limits}.items()}
    for quota in quotas:
        if _applies(quota, priority_class):
            yield from _of_quota(quota, needs, needs_of_pod)
    for each in ranges:
        yield from _of_range(each, needs)


def _of_quota(quota: Raw, needs: PodNeeds, of_pod: Mapping[str, Decimal]) -> Iterator[QuotaFinding]:
    name = quota["metadata"]["name"]
    hard = amounts(quota.get("status", {}).get("hard") or quota.get("spec", {}).get("hard"))
    used = amounts(quota.get("status", {}).get("used"))
    for resource, most in hard.items():
        key = f"requests.{resource}" if resource in _PLAIN else resource
        if key.startswith(("limits.", "requests.")) and key.partition(".")[2] in _PLAIN and key not in of_pod:
            fix = f"write spec.runner.resources.{key}"
            yield QuotaFinding(True, f"quota {name} demands {key} of every pod, and the job names none", fix)
            continue
        trial = _amount(key, needs, of_pod, needs.per_trial)
        if not trial:
            continue
        free, unit = most - used.get(resource, Decimal(0)), key.partition(".")[2] or key
        everything = _amount(key, needs, of_pod, needs.pods)
        words = f"quota {name}: a trial needs {shown(trial, unit)} of {resource}"
        if trial > most:
            yield QuotaFinding(True, f"{words}, the quota has {shown(most, unit)}", "raise the quota, or ask for less")
        elif trial > free:
            fix = "wait until it is free, raise the quota, or ask for less"
            yield QuotaFinding(False, f"{words}, {shown(max(free, Decimal(0)), unit)} are free: it waits", fix)
        elif everything > free:
            count = int(free // trial)
            fix = f"write spec.execution.parallelism: {count}, or raise the quota"
            yield QuotaFinding(False, f"{words}: {counted(count, 'trial runs', 'trials run')} at once", fix)


def _amount(key: str, needs: PodNeeds, of_pod: Mapping[str, Decimal], pods: int) -> Decimal:
    bare = key.removeprefix("count/")
    if bare == "pods":
        return Decimal(pods)
    if bare in _OBJECTS:
        return Decimal(needs.jobs if _OBJECTS[bare] == "jobs" else 1)
    return of_pod.get(key, Decimal(0)) * pods


def _applies(quota: Raw, priority_class: str | None) -> bool:
    """Whether a quota counts the pods of trials. They have a deadline, and they request something."""
    scopes = quota.get("spec", {}).get("scopes") or ()
    if "NotTerminating" in scopes or "BestEffort" in scopes:
        return False
    for each in (quota.get("spec", {}).get("scopeSelector") or {}).get("matchExpressions") or ():
        if each.get("scopeName") in ("NotTerminating", "BestEffort"):
            return False
        if each.get("scopeName") == "PriorityClass":
            values = each.get("values") or ()
            operator = each.get("operator")
            inside = priority_class in values if operator in ("In", "NotIn") else priority_class is not None
            if inside == (operator in ("NotIn", "DoesNotExist")):
                return False
    return True


def _limits(each: Raw) -> Iterator[Raw]:
    return (item for item in each.get("spec", {}).get("limits") or () if item.get("type") in ("Container", "Pod"))


def _defaults(ranges: Sequence[Raw]) -> tuple[dict[str, Decimal], dict[str, Decimal]]:
    """The requests and limits that a limit range gives to a container that names none."""
    requests: dict[str, Decimal] = {}
    limits: dict[str, Decimal] = {}
    for each in ranges:
        for item in _limits(each):
            limits |= amounts(item.get("default"))
            requests |= amounts(item.get("default")) | amounts(item.get("defaultRequest"))
    return requests, limits


def _of_range(each: Raw, needs: PodNeeds) -> Iterator[QuotaFinding]:
    name = each["metadata"]["name"]
    for item in _limits(each):
        for resource, most in amounts(item.get("max")).items():
            asked = max(needs.limits.get(resource, Decimal(0)), needs.requests.get(resource, Decimal(0)))
            if asked > most:
                found = f"limit range {name} allows {shown(most, resource)} of {resource}, a pod asks for"
                fix = f"write a smaller spec.runner.resources.limits.{resource}, or raise the range"
                yield QuotaFinding(True, f"{found} {shown(asked, resource)}", fix)
        for resource, least in amounts(item.get("min")).items():
            asked = needs.requests.get(resource, least)
            if asked < least:
                found = f"limit range {name} demands {shown(least, resource)} of {resource}, a pod asks for"
                fix = f"write a larger spec.runner.resources.requests.{resource}"
                yield QuotaFinding(True, f"{found} {shown(asked, resource)}", fix)

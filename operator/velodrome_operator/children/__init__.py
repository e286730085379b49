"""Turns a BenchmarkJob into the objects that run it. Pure: no API call, no clock, no randomness. One file per kind."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from velodrome.plan import Plan
from velodrome.spec import BenchmarkJob
from velodrome_operator.children.config_map import config_map
from velodrome_operator.children.job import trial_job
from velodrome_operator.children.names import ChildSettings, Manifest, Names, TrialGroup, groups, is_kueue, labels
from velodrome_operator.children.secret import secret
from velodrome_operator.children.service import service

__all__ = ["ChildSettings", "Manifest", "Names", "TrialGroup", "children", "groups", "is_kueue", "labels"]


def children(
    job: BenchmarkJob,
    plan: Plan,
    uid: str,
    redis_url: str,
    settings: ChildSettings,
    taken_over: AbstractSet[int] = frozenset(),
) -> tuple[Manifest, ...]:
    """Everything that a race needs, in the order in which to create it. Trials that were `taken_over` need nothing."""
    names = Names.of(job, uid)
    made: list[Manifest] = [
        config_map(job, uid, names),
        secret(job, uid, names, redis_url, settings.authority),
    ]
    if job.spec.runner.nodes > 1:
        made.append(service(job, uid, names))
    left = [(group, trials) for group in groups(job) if (trials := group.trials(plan, taken_over))]
    for number, (group, trials) in enumerate(left):
        parallelism = min(job.spec.execution.parallelism * job.spec.runner.nodes, len(trials)) if number == 0 else 0
        made.append(trial_job(job, uid, names, settings, group, len(trials), parallelism, taken_over))
    return tuple(made)

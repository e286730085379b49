"""From a BenchmarkJob to the objects that run it. Pure: no API call, no clock, no randomness. One file a child kind."""

from __future__ import annotations

from velodrome.plan import Plan
from velodrome.spec import BenchmarkJob
from velodrome_operator.children.config_map import config_map
from velodrome_operator.children.job import trial_job
from velodrome_operator.children.names import ChildSettings, Manifest, Names, TrialGroup, groups, is_kueue, labels
from velodrome_operator.children.secret import secret
from velodrome_operator.children.service import service

__all__ = ["ChildSettings", "Manifest", "Names", "TrialGroup", "children", "groups", "is_kueue", "labels"]


def children(job: BenchmarkJob, plan: Plan, uid: str, redis_url: str, settings: ChildSettings) -> tuple[Manifest, ...]:
    """Everything that a race needs, in the order in which to create it."""
    names = Names.of(job, uid)
    made: list[Manifest] = [config_map(job, uid, names), secret(job, uid, names, redis_url)]
    if job.spec.runner.nodes > 1:
        made.append(service(job, uid, names))
    made += [trial_job(job, plan, uid, names, settings, group) for group in groups(job)]
    return tuple(made)

"""Turns a BenchmarkJob into the objects that run it. Pure: no API call, no clock, no randomness. One file per kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace

from velodrome.plan import Plan
from velodrome.search.trials import search_of
from velodrome.spec import BenchmarkJob
from velodrome_operator.children.config_map import config_map
from velodrome_operator.children.job import trial_job
from velodrome_operator.children.names import (
    ChildSettings,
    Manifest,
    Names,
    TrialGroup,
    groups,
    is_kueue,
    labels,
    lanes,
)
from velodrome_operator.children.secret import report_keys, secret
from velodrome_operator.children.service import service
from velodrome_operator.rounds import Round, rounds_of

__all__ = [
    "ChildSettings",
    "Manifest",
    "Names",
    "TrialGroup",
    "children",
    "groups",
    "is_kueue",
    "labels",
    "lanes",
    "search_children",
]


# More keys would take too much of a node's memory: each is a file in the memory of each pod's node.
MOST_REPORT_KEYS = 2_000


def children(
    job: BenchmarkJob,
    plan: Plan,
    uid: str,
    redis_url: str,
    settings: ChildSettings,
    taken_over: AbstractSet[int] = frozenset(),
    key_of: Callable[[int], str] | None = None,
    rounds: Sequence[Round] = (),
) -> tuple[Manifest, ...]:
    """Everything that a race needs, in the order in which to create it. Trials that were `taken_over` need nothing.

    `key_of` gives the report key of a trial. A round of very many trials has none. `rounds` are those whose Jobs are
    wanted; without them, it is the first one.
    """
    names = Names.of(job, uid)
    made: list[Manifest] = [
        config_map(job, uid, names),
        secret(job, uid, names, redis_url, settings.authority),
    ]
    if job.spec.runner.nodes > 1:
        made.append(service(job, uid, names))
    for one in rounds or rounds_of({}, plan):
        made += _of_round(plan, uid, names.of_round(one.number), settings, one, taken_over, key_of)
    return tuple(made)


def search_children(
    job: BenchmarkJob,
    uid: str,
    redis_url: str,
    settings: ChildSettings,
    key_of: Callable[[str, int], str],
    parallelism: Mapping[str, int],
) -> tuple[Manifest, ...]:
    """Everything that the search of a job needs, in the order in which to create it.

    `key_of` gives the report key of a lane's turn. `parallelism` is that of each lane whose Job is wanted.
    """
    names = Names.of(job, uid)
    of_search, most = names.of_search(), search_of(job).max_trials
    made: list[Manifest] = [config_map(job, uid, names), secret(job, uid, names, redis_url, settings.authority)]
    turns = {lane: range(most * len(lane.entries)) for lane in lanes(job)}
    keyed = settings.report_keys and sum(map(len, turns.values())) <= MOST_REPORT_KEYS
    if keyed:
        keys_of = {lane: [key_of(lane.lane, turn) for turn in each] for lane, each in turns.items()}
        made.append(report_keys(job, uid, of_search, keys_of))
    own = replace(settings, report_keys=keyed)
    made += [
        trial_job(job, uid, of_search, own, lane, len(turns[lane]), parallelism[lane.lane], frozenset())
        for lane in turns
        if lane.lane in parallelism
    ]
    return tuple(made)


def _of_round(
    plan: Plan,
    uid: str,
    names: Names,
    settings: ChildSettings,
    of: Round,
    taken_over: AbstractSet[int],
    key_of: Callable[[int], str] | None,
) -> list[Manifest]:
    """The Jobs of a round, and the report keys that their pods mount."""
    job, made = plan.job, list[Manifest]()
    left = {group: trials for group in groups(job, of) if (trials := group.trials(plan, taken_over))}
    keyed = key_of is not None and settings.report_keys and sum(map(len, left.values())) <= MOST_REPORT_KEYS
    if key_of is not None and keyed and left:
        keys_of = {group: [key_of(index) for index in trials] for group, trials in left.items()}
        made.append(report_keys(job, uid, names, keys_of))
    own = replace(settings, report_keys=keyed)
    for number, (group, trials) in enumerate(left.items()):
        parallelism = min(job.spec.execution.parallelism * job.spec.runner.nodes, len(trials)) if number == 0 else 0
        made.append(trial_job(job, uid, names, own, group, len(trials), parallelism, taken_over))
    return made

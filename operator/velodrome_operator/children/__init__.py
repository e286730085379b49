"""Turns a BenchmarkJob into the objects that run it. Pure: no API call, no clock, no randomness. One file per kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace

from velodrome.plan import Plan
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
    stretches: Iterable[TrialGroup],
    parallelism: Mapping[TrialGroup, int],
) -> tuple[Manifest, ...]:
    """Everything that a search needs whose Jobs are missing, in the order in which to create it.

    `key_of` gives the report key of a turn in a stretch. `stretches` are all that there are, and `parallelism` is that
    of each one whose Job is wanted.
    """
    names = Names.of(job, uid)
    made: list[Manifest] = [config_map(job, uid, names), secret(job, uid, names, redis_url, settings.authority)]
    turns = {one: range(len(one.turns or ())) for one in stretches}
    of_secret: dict[str, list[TrialGroup]] = {}
    for one in stretches:
        of_secret.setdefault(names.of_stretch(one).report_keys, []).append(one)
    for own in of_secret.values():
        wanted, count = [one for one in own if one in parallelism], sum(len(turns[one]) for one in own)
        keyed = settings.report_keys and count <= MOST_REPORT_KEYS
        if keyed and wanted:
            keys_of = {one: [key_of(one.stretch, turn) for turn in turns[one]] for one in own}
            made.append(report_keys(job, uid, names.of_stretch(own[0], count), keys_of))
        of_job = replace(settings, report_keys=keyed)
        made += [
            trial_job(
                job, uid, names.of_stretch(one, count), of_job, one, len(turns[one]), parallelism[one], frozenset()
            )
            for one in wanted
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

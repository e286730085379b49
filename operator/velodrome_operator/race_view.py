"""What a pass over a race decides by, from what the operator remembers. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from velodrome.plan import Plan
from velodrome_operator.children import is_kueue
from velodrome_operator.pass_input import Observation
from velodrome_operator.races import Race
from velodrome_operator.rounds import count


def observed(race: Race, planned: Plan, now: datetime, finished: Mapping[int, bool]) -> Observation:
    """The race's object, and those Jobs and pods that do its present work. Of a race that has ended, these are all.

    `planned` is the plan of that work: search trials, or the trials that rank. `finished` says of each with a result
    whether it succeeded.
    """
    parent, load, notes = race.parent, race.workload, race.logbook
    names = frozenset(load.jobs) if parent.ended else frozenset(race.indexes)
    return Observation(
        plan=planned,
        uid=race.uid,
        generation=parent.generation,
        suspended=planned.job.spec.suspend,
        jobs={name: job for name, job in load.jobs.items() if name in names},
        pods=tuple(pod for pod in load.pods.values() if pod.job in names),
        finished=finished,
        status=parent.status,
        now=now,
        kueue=is_kueue(planned.job),
        collected_at=notes.collected_at,
        trouble=notes.trouble,
        disrupted=load.disrupted(names),
        poison=notes.poison,
        gone=tuple(pod for pod in load.gone.values() if pod.job in names),
        job_rounds=dict(race.job_rounds),
        asked=count(race.rounds),
        search=race.search if race.searching else None,
        searched=race.searched,
        run=race.run,
    )

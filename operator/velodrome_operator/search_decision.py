"""One pass over a BenchmarkJob whose search goes on: from what was observed to what is to be done. Pure.

The Job of a stretch is made once. Its pods wait for their turns, so no trial costs a write. A lane that ends before its
last turn has pods that wait for nothing: their Job is deleted then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from velodrome.text import counted
from velodrome_operator.children import Manifest, TrialGroup
from velodrome_operator.decision import LOOK_AGAIN, Decision, suspensions
from velodrome_operator.lanes import SearchLook, shares
from velodrome_operator.missing_results import missing_results, out_of_attempts
from velodrome_operator.observation import JobFacts, PodFacts
from velodrome_operator.outcome import Ending, hindrance, podless, startup_left
from velodrome_operator.pass_input import Observation


def decide_search(
    seen: Observation,
    look: SearchLook,
    lanes: Mapping[str, TrialGroup],
    rooms: Mapping[str, int],
    wanted: Sequence[Manifest],
) -> Decision:
    """Decides what a pass does. `look` says how far the search is, and `wanted` are the manifests of all children.

    `lanes` has the stretches by the name of their Job. `rooms` says how many pods each may run at once.
    """
    turns = {name: look.turns.get(one.stretch, ()) for name, one in lanes.items()}
    ending = _lost(look) if look.lost else hindrance(seen)
    if ending is not None:
        return Decision(ending=ending, stop=tuple(name for name, job in seen.jobs.items() if not job.finished))
    missing, later = missing_results(seen, turns)
    out, soon = out_of_attempts(seen, turns)
    missing += tuple(item for item in out if item.index not in {known.index for known in missing})
    over = {name for name, lane in lanes.items() if lane.lane in look.over}
    create = tuple(child for child in wanted if child["metadata"]["name"] not in {*seen.jobs, *over})
    waits = [later, soon, startup_left(seen), LOOK_AGAIN if podless(seen) else None]
    return Decision(
        create=create if any(child["kind"] == "Job" for child in create) else (),
        parallelism={
            name: room
            for name, room in rooms.items()
            if name in seen.jobs.keys() - over and not seen.jobs[name].finished and seen.jobs[name].parallelism != room
        },
        suspend=suspensions(seen),
        missing=missing,
        stop=_left_over(seen, look, lanes),
        again=min((wait for wait in waits if wait is not None), default=None),
    )


def rooms_by_job(look: SearchLook, lanes: Mapping[str, TrialGroup], rooms: Mapping[str, int]) -> dict[str, int]:
    """How many pods the Job of each stretch may run at once, by its name. `rooms` has the lanes that are not over.

    The pods of a further stretch would wait for turns that come after all turns before them. So it gets what these
    leave, and has no Job before that.
    """
    found: dict[str, int] = {}
    for lane, room in rooms.items():
        own = {name: one for name, one in lanes.items() if one.lane == lane}
        done = [sum(index in look.finished for index in look.turns.get(one.stretch, ())) for one in own.values()]
        found |= dict(zip(own, shares([one.turns or range(0) for one in own.values()], done, room), strict=True))
    return found


def has_work(stretch: TrialGroup, look: SearchLook) -> bool:
    """Whether a stretch has turns without a result."""
    done = sum(index in look.finished for index in look.turns.get(stretch.stretch, ()))
    return done < len(stretch.turns or ())


def _left_over(seen: Observation, look: SearchLook, lanes: Mapping[str, TrialGroup]) -> tuple[str, ...]:
    """The Jobs of lanes that are over, whose pods wait for turns that never come."""
    return tuple(
        name
        for name, lane in lanes.items()
        if lane.lane in look.over
        and name in seen.jobs
        and not seen.jobs[name].finished
        and not seen.jobs[name].deleting
        and len(look.turns.get(lane.stretch, ())) < seen.jobs[name].completions
    )


def after_search(
    decision: Decision,
    jobs: Mapping[str, JobFacts],
    pods: Iterable[PodFacts],
    lanes: Mapping[str, TrialGroup],
    turns: Mapping[str, Sequence[int]],
) -> Decision:
    """What a pass over the trials that confirm winners does, while Jobs of the search are there.

    Their pods end first: trials that are timed would share a node with them. A Job whose trials were all given away
    ends by itself. `jobs` and `pods` are all of the race's, and `turns` has the trials of each stretch.
    """
    left = tuple(
        name
        for name, lane in lanes.items()
        if name in jobs
        and not jobs[name].finished
        and not jobs[name].deleting
        and len(turns.get(lane.stretch, ())) < jobs[name].completions
    )
    busy = any(pod.job in lanes and pod.phase == "Running" and not pod.deleting for pod in pods)
    return replace(decision, create=() if busy else decision.create, stop=(*decision.stop, *left))


def _lost(look: SearchLook) -> Ending:
    """The end of a search in which an entry has no trial that ran to its end, for the reason of the most of them."""
    spent = {one.entry: one.spent.trials for one in look.entries}
    said = [
        f"{entry}: none of its {counted(spent.get(entry, 0), 'search trial')} ran to its end, most by {reason}"
        for entry, reason in look.lost.items()
    ]
    first = next(iter(look.lost.values()))
    return Ending("Failed", first if first.isidentifier() else "NoWinner", "; ".join(said))

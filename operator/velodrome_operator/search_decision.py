"""One pass over a BenchmarkJob whose search goes on: from what was observed to what is to be done. Pure.

The Job of a lane is made once. Its pods wait for their turns, so no trial costs a write. A lane that ends before its
last turn has pods that wait for nothing: its Job is deleted then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from velodrome.results.searches import Searched
from velodrome.text import counted
from velodrome_operator.children import Manifest, TrialGroup
from velodrome_operator.decision import LOOK_AGAIN, Decision, suspensions
from velodrome_operator.lanes import SearchLook
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

    `lanes` are by the name of their Job. `rooms` says how many trials each that is not over may run at once.
    """
    turns = {name: look.turns.get(lane.lane, ()) for name, lane in lanes.items()}
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
            name: rooms[lane.lane]
            for name, lane in lanes.items()
            if name in seen.jobs.keys() - over
            and not seen.jobs[name].finished
            and seen.jobs[name].parallelism != rooms[lane.lane]
        },
        suspend=suspensions(seen),
        missing=missing,
        stop=_left_over(seen, look, lanes),
        again=min((wait for wait in waits if wait is not None), default=None),
    )


def _left_over(seen: Observation, look: SearchLook, lanes: Mapping[str, TrialGroup]) -> tuple[str, ...]:
    """The Jobs of lanes that are over, whose pods wait for turns that never come."""
    return tuple(
        name
        for name, lane in lanes.items()
        if lane.lane in look.over
        and name in seen.jobs
        and not seen.jobs[name].finished
        and not seen.jobs[name].deleting
        and len(look.turns.get(lane.lane, ())) < seen.jobs[name].completions
    )


def after_search(
    decision: Decision,
    jobs: Mapping[str, JobFacts],
    pods: Iterable[PodFacts],
    lanes: Mapping[str, TrialGroup],
    searched: Searched,
) -> Decision:
    """What a pass over the trials that confirm winners does, while Jobs of the search are there.

    Their pods end first: trials that are timed would share a node with them. A Job whose trials were all given away
    ends by itself. `jobs` and `pods` are all of the race's.
    """
    spent = [one.spent.trials for one in searched.entries.values()]
    left = tuple(
        name
        for name, lane in lanes.items()
        if name in jobs
        and not jobs[name].finished
        and not jobs[name].deleting
        and sum(spent[at] for at in lane.entries) < jobs[name].completions
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

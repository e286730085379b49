"""The lanes of a search: its trials that share a pod template. Pure.

A lane has turns. Which trial has a turn is known once it was suggested, so the trials of a lane are in the order of
their suggestions, whichever entries they are of. An Indexed Job runs a stretch of the turns, and its completion index
counts them. A lane has one stretch, and a further one for each time that its search got more trials.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import pairwise

from velodrome.results.searches import Searched, Spent
from velodrome.search.trials import search_of
from velodrome.spec import BenchmarkJob

# A pod that ends is replaced in a second at the earliest. Half of it is left for results to arrive.
POD_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class LaneAsk:
    """A lane as the process that searches is asked about it: its entries, and how many trials it may run at once.

    `made` has the completions of each Job that is there, by the turn at which its stretch begins.
    """

    entries: tuple[str, ...]
    room: int
    made: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SearchAsk:
    """What the process that searches is asked: `maxTrials` as it is now, and the lanes by name."""

    most: int
    lanes: Mapping[str, LaneAsk]


@dataclass(frozen=True, slots=True)
class EntryLook:
    """How far the search of one entry is. `best` is in the unit of the first objective, `number` is that trial's."""

    entry: str
    spent: Spent
    best: float | None = None
    number: int | None = None
    said: str = ""


@dataclass(frozen=True, slots=True)
class SearchLook:
    """How far a search is. Trials are given by their index.

    `turns` has the trials of each stretch, in order, and `stretches` the turns of each lane that its Jobs run.
    `finished` says of each trial with a result whether it ran to its end. A lane is `over` when no trial of it runs
    and none will come. `searched` are the winners, when all lanes are over and each entry has one; `lost` has the
    reason of each entry that has none then. `made` counts the suggestions of this look, and `seconds` is the CPU
    time that they took.
    """

    turns: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    finished: Mapping[int, bool] = field(default_factory=dict)
    entries: tuple[EntryLook, ...] = ()
    over: frozenset[str] = frozenset()
    searched: Searched | None = None
    lost: Mapping[str, str] = field(default_factory=dict)
    stretches: Mapping[str, tuple[range, ...]] = field(default_factory=dict)
    made: int = 0
    seconds: float = 0.0

    @property
    def going(self) -> int:
        """How many trials run, or are about to."""
        return sum(index not in self.finished for trials in self.turns.values() for index in trials)

    @property
    def spent(self) -> int:
        """How many trials have a result."""
        return len(self.finished)


def at_once(job: BenchmarkJob) -> int:
    """How many search trials may run at once."""
    execution, search = job.spec.execution, search_of(job)
    return min(execution.parallelism, search.parallelism or execution.parallelism)


def rooms(entries: Mapping[str, int], parallelism: int) -> dict[str, int]:
    """How many trials each lane may run at once, by the number of its entries: at least one, and as many in all as may
    run. There are no more lanes than that.
    """
    given = dict.fromkeys(entries, 1)
    for _ in range(parallelism - len(entries) if entries else 0):
        behind = min(given, key=lambda lane: (given[lane] / entries[lane], lane))
        given[behind] += 1
    return given


def ahead(room: int, at_once: int, seconds: float) -> int:
    """How many suggestions of a lane are chosen before there is room for their trials, so that no pod waits for them.

    All trials of a lane with so much `room` may end at once. Their pods take at least `POD_SECONDS` to be replaced,
    and a choice takes so many `seconds`: what can't be chosen meanwhile is chosen before. Each such suggestion
    knows fewer results. So there are none while choices are quick, and none at all if one trial runs `at_once`: then
    each suggestion follows from all results before it.
    """
    if at_once == 1 or seconds <= 0:
        return 0
    return max(0, room - int(POD_SECONDS / seconds) * room // at_once)


def stretch_name(lane: str, start: int) -> str:
    """The name of the stretch of a lane that begins at this turn: that of the lane, if it is the first one."""
    return f"{lane}-{start}" if start else lane


def stretch_start(lane: str, name: str) -> int | None:
    """The turn at which the stretch of that name begins; None if it is of another lane."""
    own, _, start = name.partition("-")
    return int(start or 0) if own == lane else None


def stretches(
    given: Mapping[int, int], going: AbstractSet[int], made: Mapping[int, int], need: int
) -> tuple[range, ...]:
    """The turns of a lane that needs so many in all, as its Jobs run them.

    Stretches are named by the turn at which they begin. `given` counts the trials that have a turn in each, and those
    in `going` have a trial without a result. `made` has the completions of the Jobs that are there. All of it is in
    Redis and in the API server, so an operator that starts anew finds the same stretches.

    A Job can't grow. So turns that no Job has, or that a Job had which is gone, are a further stretch.
    """
    starts = sorted({0, *given, *made})
    found = [range(start, end) for start, end in pairwise(starts)]
    last = starts[-1]
    end = last + given.get(last, 0)
    if last in made:
        end = last + made[last]
    elif last in going or not given.get(last):  # its Job is missing, and may have all turns that are left
        end = max(need, end)
    found.append(range(last, end))
    return (*found, range(end, need)) if need > end else tuple(found)


def shares(stretches: Sequence[range], finished: Sequence[int], room: int) -> tuple[int, ...]:
    """How many pods each stretch of a lane may run at once: earlier ones come first, and the last one has the rest.

    `finished` counts the trials with a result in each stretch.
    """
    found = []
    for turns, done in zip(stretches[:-1], finished, strict=False):
        found.append(min(room, max(0, len(turns) - done)))
        room -= found[-1]
    return (*found, room)

"""The lanes of a search: its trials that share a pod template, one Indexed Job each. Pure.

A Job's completion index counts the turns of its lane. Which trial has a turn is known once it was suggested, so the
trials of a lane are in the order of their suggestions, whichever entries they are of.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from velodrome.results.searches import Searched, Spent
from velodrome.search.trials import search_of
from velodrome.spec import BenchmarkJob


@dataclass(frozen=True, slots=True)
class LaneAsk:
    """A lane as the process that searches is asked about it: its entries, and how many trials it may run at once."""

    entries: tuple[str, ...]
    room: int


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

    `turns` has the trials of each lane, in order. `finished` says of each trial with a result whether it ran to its
    end. A lane is `over` when no trial of it runs and none will come. `searched` are the winners, when all lanes are
    over and each entry has one; `lost` has the reason of each entry that has none then. `made` counts the suggestions
    of this look, and `seconds` is the CPU time that they took.
    """

    turns: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    finished: Mapping[int, bool] = field(default_factory=dict)
    entries: tuple[EntryLook, ...] = ()
    over: frozenset[str] = frozenset()
    searched: Searched | None = None
    lost: Mapping[str, str] = field(default_factory=dict)
    made: int = 0
    seconds: float = 0.0

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

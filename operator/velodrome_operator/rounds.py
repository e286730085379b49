"""The rounds of a race until decided, as its status keeps them: which trials each round's Jobs run. Pure.

`velodrome.board.rounds` says which trials a race asks for. A round is written into the status before its first Job is
made, so that a Job's completion indexes mean the same trials whatever is decided later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from velodrome.plan import Plan, write_spans
from velodrome.results.records import Rounds
from velodrome_operator import shapes

_FIELD = "rounds"


@dataclass(frozen=True, slots=True)
class Round:
    """These `repeats` of the entries at these positions. Rounds are numbered from 1."""

    number: int
    entries: tuple[int, ...]
    repeats: range


def rounds_of(status: Mapping[str, Any], plan: Plan) -> tuple[Round, ...]:
    """The rounds so far: the first, which follows from the job, and those that the status has. A race that asks for all
    of its trials at once has one round.
    """
    trials, entries = plan.job.spec.trials, len(plan.configs)
    found = [Round(1, tuple(range(entries)), range(trials.repeats))]
    for written in shapes.items(status.get(_FIELD)) if trials.until is not None else ():
        positions = shapes.indexes(shapes.at(written, "entries"), entries)
        repeats = shapes.indexes(shapes.at(written, "repeats"), trials.most)
        if not positions or not repeats:
            break  # nobody else writes the status, so nothing of it is to be trusted from here on
        found.append(Round(len(found) + 1, tuple(sorted(positions)), range(min(repeats), max(repeats) + 1)))
    return tuple(found)


def further(rounds: Sequence[Round], plan: Plan, wanted: Rounds) -> tuple[Round, ...]:
    """The rounds that are missing for what the race asks for now: one, if all entries that go on had as many seeds."""
    missing: dict[tuple[int, int], list[int]] = {}
    for position, entry in enumerate(plan.configs):
        have = max(one.repeats.stop for one in rounds if position in one.entries)
        if wanted.repeats[entry] > have:
            missing.setdefault((have, wanted.repeats[entry]), []).append(position)
    return tuple(
        Round(number, tuple(entries), range(have, want))
        for number, ((have, want), entries) in enumerate(sorted(missing.items()), start=len(rounds) + 1)
    )


def written(rounds: Sequence[Round]) -> list[dict[str, Any]]:
    """The rounds after the first, as the status has them."""
    return [
        {"round": one.number, "entries": write_spans(one.entries), "repeats": write_spans(one.repeats)}
        for one in rounds[1:]
    ]


def count(rounds: Sequence[Round]) -> int:
    """How many trials these rounds have."""
    return sum(len(one.entries) * len(one.repeats) for one in rounds)

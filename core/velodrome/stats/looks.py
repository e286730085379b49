"""The looks of a race that goes on until it is decided: how many seeds each has, and how much error it may spend. Pure.

A *look* is a moment at which the values are tested. Whoever looks often and stops when something shows is wrong more
often than at a single look. So the looks share the error: look k may claim at the level α · w_k, and the shares w_k
have the sum 1. Whatever the dependence between the looks, and whatever made the race stop, any claim at all is false in
at most a share α of races (Bonferroni over the looks, with weights). Sizes and shares were chosen by simulation:
docs/decisions/0044-races-until-decided.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

# Each look has about √2 times as many seeds as the one before, and there are at most so many looks.
_GROWTH = math.sqrt(2)
_MOST_LOOKS = 6


@dataclass(frozen=True, slots=True)
class Until:
    """When a race is decided, as `trials.until` says it.

    - `decided`: the names of the objectives whose leaders must be settled.
    - `start`: the seeds of every entry at the first look (`trials.repeats`).
    - `most`: the seeds that no entry exceeds (`maxRepeats`).
    - `alpha`: for each objective, the share of races that may contain any false claim, over all looks together.

    Raises:
        ValueError: a number is out of its range, or no objective is named.
    """

    decided: tuple[str, ...]
    start: int
    most: int
    alpha: float = 0.05

    def __post_init__(self) -> None:
        if not self.decided:
            raise ValueError("until.decided: it is empty: name the objectives that the race is to decide")
        if self.start < 2:
            raise ValueError(f"trials.repeats: {self.start} seed shows no spread: set at least 2 with until")
        if self.most < self.start:
            raise ValueError(f"until.maxRepeats: {self.most} is less than trials.repeats, {self.start}")
        if not 0 < self.alpha < 1:
            raise ValueError(f"until.alpha: {self.alpha} is not between 0 and 1")


def look_sizes(until: Until) -> tuple[int, ...]:
    """The seeds that each entry has at each look, if it goes on so far: 5, 7, 10, 14, 20 from 5 to 20."""
    span = until.most / until.start
    steps = min(_MOST_LOOKS - 1, round(math.log(span) / math.log(_GROWTH))) or (1 if until.most > until.start else 0)
    if not steps:
        return (until.start,)
    return tuple(sorted({round(until.start * span ** (step / steps)) for step in range(steps + 1)}))


def shares(until: Until) -> tuple[float, ...]:
    """The share of α that each look may spend, in proportion to its seeds; their sum is 1."""
    sizes = look_sizes(until)
    return tuple(size / sum(sizes) for size in sizes)


def level(until: Until, look: int) -> float:
    """The error that look `look`, counted from 1, may spend: claims and intervals at this level stay valid however the
    race came to stop there.

    An entry's interval of the confidence 1 - level(until, look) contains its true mean at every look together with
    probability 1 - α (a repeated confidence interval: Jennison and Turnbull 1989, JRSS B 51(3)).

    Raises:
        ValueError: there is no such look.
    """
    found = shares(until)
    if not 1 <= look <= len(found):
        raise ValueError(f"look: {look} is not one of the looks 1 to {len(found)}")
    return until.alpha * found[look - 1]


def look_of(until: Until, seeds: int) -> int:
    """The number, from 1, of the last look that an entry with this many seeds was part of; 0 before the first."""
    return sum(size <= seeds for size in look_sizes(until))

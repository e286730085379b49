"""What the operator notes of one race between passes."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from velodrome_operator.poison import Poison


@dataclass(slots=True)
class Logbook:
    """`news` counts what was seen to change, `passed` is what it was when the last successful pass began, and `results`
    how many trials had one then.

    `collected_at` is when the race's inbox was last found to hold no more, `trouble` why it can't be collected now, and
    `troubled_at` since when; `poison` is why it ends the race, and `reported_at` is when a runner last reported.
    `instructed` is what runners can read of accepted trials: by index, whether they succeeded. `cleared` says that the
    race has ended and was cleared up after. `judged_marks` is how often people had marked its board's results when the
    race was last judged.
    """

    news: int = 1
    passed: int = 0
    results: int = 0
    collected_at: datetime | None = None
    trouble: str = ""
    troubled_at: datetime | None = None
    poison: Poison | None = None
    reported_at: datetime | None = None
    instructed: dict[int, bool] = field(default_factory=dict)
    cleared: bool = False
    judged_marks: int = 0

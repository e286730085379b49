"""What the operator notes about one race between passes."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from velodrome_operator.poison import Poison


@dataclass(slots=True)
class Logbook:
    """What is noted about one race.

    `news` counts the changes that were seen. `passed` is the value of `news` when the last successful pass began, and
    `results` is how many trials had a result then.

    `collected_at` is when the race's inbox was last found empty. `trouble` says why it can't be collected now, and
    `troubled_at` since when. `poison` says why the inbox ends the race. `reported_at` is when a runner last reported.
    `instructed` is what runners can read about accepted trials: by index, whether each succeeded. `cleared` says that
    the race has ended and was cleaned up. `judged_marks` is how often people had marked its board's results when the
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

    def begin_again(self) -> None:
        """Forgets what was of the race before it went on after its end."""
        self.results, self.collected_at, self.poison = 0, None, None
        self.instructed, self.cleared = {}, False

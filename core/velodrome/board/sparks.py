"""The means of entries in the newest jobs of a board, for small pictures of how they went."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from velodrome.metrics.catalogue import MetricKey, measurable
from velodrome.stats import metric_mean

if TYPE_CHECKING:
    from velodrome.store import Reader

JOBS_IN_A_SPARK = 20


def read_sparks(
    reader: Reader, board: str, metric_key: str, cohort_id: str, entries: Sequence[str]
) -> dict[str, tuple[float, ...]]:
    """By entry, its means in the board's newest jobs, oldest first, as far as these have values in the cohort.

    Raises:
        As the store does.
    """
    jobs = reader.jobs(board, limit=JOBS_IN_A_SPARK)
    wanted = {
        job.uid: [(metric_key, cohort_id, entry) for entry in entries if entry in set(job.entries)]
        for job in reversed(jobs)
    }
    metric, found = MetricKey.parse(metric_key).metric, dict[str, list[float]]()
    for samples in reader.some_samples(wanted).values():
        for one in samples:
            values = [value for value in one.values.values() if measurable(value)]
            if values:
                found.setdefault(one.entry, []).append(metric_mean(metric, values))
    return {entry: tuple(means) for entry, means in found.items()}

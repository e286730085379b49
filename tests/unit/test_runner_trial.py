"""What a trial's report holds of its curves."""

from __future__ import annotations

import pytest

from velodrome.keys import REPORT_BYTES
from velodrome.results.records import EpochPoint
from velodrome_runner.reporting import MOST_POINTS, thinned


def curves(epochs: int) -> list[EpochPoint]:
    validation = {"validation_loss": 1 / 3, "accuracy": 2 / 3, "mean_average_precision": 1 / 7}
    return [
        EpochPoint(
            epoch=epoch, seconds=epoch / 7, train_loss=1 / 3, learning_rate=1 / 3, samples_per_second=1e6 / 7,
            validation=validation,
        )
        for epoch in range(1, epochs + 1)
    ]  # fmt: skip


def test_a_short_training_keeps_every_epoch() -> None:
    assert thinned(curves(20), 7) == tuple(curves(20))


@pytest.mark.parametrize("best", [None, 1, 12_345, 20_000])
def test_a_long_one_keeps_the_first_the_best_and_the_last_and_fits_a_report(best: int | None) -> None:
    kept = thinned(curves(20_000), best)
    epochs = [point.epoch for point in kept]
    assert {1, best or 1, 20_000} <= set(epochs)
    assert epochs == sorted(epochs)
    assert len(epochs) <= MOST_POINTS + 2
    assert sum(len(point.model_dump_json()) for point in kept) < REPORT_BYTES

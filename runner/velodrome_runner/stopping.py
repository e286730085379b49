"""Decides when training is done: early stopping, and the target of time-to-target. Pure."""

from __future__ import annotations

from velodrome.metrics.catalogue import CATALOGUE
from velodrome.spec import EarlyStopping, Target


class EarlyStopper:
    """Follows one metric over epochs and says when it stopped improving.

    An epoch improves if its value is better than the best so far by `minDelta` or more. `exhausted` becomes true when
    `patience` epochs in a row did not improve. `best_epoch` is the last epoch that improved; epochs count from 1.
    """

    def __init__(self, spec: EarlyStopping) -> None:
        self._spec = spec
        self._sign = 1 if CATALOGUE[spec.metric].direction == "higher" else -1
        self._best: float | None = None
        self._epoch = 0
        self.best_epoch = 0

    @property
    def memory(self) -> tuple[float | None, int, int]:
        """What it has seen, for another stopper of the same metric to go on from."""
        return self._best, self._epoch, self.best_epoch

    @memory.setter
    def memory(self, memory: tuple[float | None, int, int]) -> None:
        self._best, self._epoch, self.best_epoch = memory

    def improves(self, value: float) -> bool:
        """Notes the value of the next epoch, and returns whether it is the best so far."""
        self._epoch += 1
        gain = None if self._best is None else self._sign * (value - self._best)
        if gain is not None and not (gain > 0 and gain >= self._spec.min_delta):
            return False
        self._best, self.best_epoch = value, self._epoch
        return True

    @property
    def exhausted(self) -> bool:
        """Whether `patience` epochs in a row did not improve."""
        return self._epoch - self.best_epoch >= self._spec.patience


def reached(target: Target, value: float) -> bool:
    """Whether the value reaches the target or is better."""
    return value >= target.value if CATALOGUE[target.metric].direction == "higher" else value <= target.value

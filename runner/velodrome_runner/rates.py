"""The learning rate over a budget. Pure arithmetic, without torch.

A *position* is how much of the budget is used, in steps of the optimizer: from 0, before the first step, to the number
of steps of the whole budget. It needs no whole number: of a budget in seconds, a share is used.
"""

from __future__ import annotations

import math
from typing import Protocol

from velodrome.spec import Training

# OneCycle starts at the peak divided by the first, and ends at its start divided by the second: torch's defaults.
_START, _END = 25.0, 1e4
# The rate at the start of a linear warm-up, as a share of its end: torchvision's recipes' value.
_WARMUP_START = 0.01


class Rates(Protocol):
    """A schedule. Ask for positions in rising order."""

    def at(self, position: float) -> float:
        """The learning rate of the step that begins at this position."""

    @property
    def memory(self) -> tuple[float, ...]:
        """What the next rate depends on beside its position. Another schedule of the same budget can be given it."""

    @memory.setter
    def memory(self, memory: tuple[float, ...]) -> None: ...


class _Forgetful:
    """A schedule whose rates depend on their positions alone."""

    memory: tuple[float, ...] = ()


def rates(training: Training, *, epochs: int, steps: int, most: int | None = None) -> Rates:
    """The schedule of a budget of `epochs` epochs of `steps` steps each, and of `most` steps at most if that is given.

    For whole positions one after the other, without a warm-up, the rates have the same bits as those of torch's
    schedulers.
    """
    spec, peak, total = training.schedule, training.optimizer.learning_rate, epochs * steps
    if most is not None and most < total:
        total, epochs = most, max(1, most // steps)
    if spec.name == "OneCycle":
        return _OneCycle(peak, total, 0.3 if spec.warmup_fraction is None else spec.warmup_fraction)
    warmup = (spec.linear_warmup or 0.0) * total
    # A warm-up that is shorter than a step would leave the only step of a short budget at its lowest rate.
    warmup = warmup if warmup >= 1 else 0.0
    after: Rates
    match spec.name:
        case "Step":
            every = (spec.step_epochs or max(1, epochs // 3)) * steps
            after = _Step(peak, every, 0.1 if spec.gamma is None else spec.gamma)
        case "Cosine":
            after = _Cosine(peak, peak * (spec.final_factor or 0.0), start=warmup, end=float(total))
        case _:
            after = _Constant(peak)
    return _Warmed(after, peak, warmup) if warmup else after


class _Constant(_Forgetful):
    def __init__(self, rate: float) -> None:
        self._rate = rate

    def at(self, position: float) -> float:  # noqa: ARG002 - the protocol's argument
        return self._rate


class _Warmed:
    """A linear rise to `peak`, then another schedule."""

    def __init__(self, after: Rates, peak: float, warmup: float) -> None:
        self._after, self._peak, self._warmup = after, peak, warmup

    def at(self, position: float) -> float:
        share = _WARMUP_START + (1 - _WARMUP_START) * position / self._warmup
        return self._after.at(position) if position >= self._warmup else self._peak * share

    @property
    def memory(self) -> tuple[float, ...]:
        return self._after.memory

    @memory.setter
    def memory(self, memory: tuple[float, ...]) -> None:
        self._after.memory = memory


class _Step:
    """Multiplies the rate by `gamma` after every `every` steps of the budget."""

    def __init__(self, rate: float, every: int, gamma: float) -> None:
        self._rate, self._every, self._gamma = rate, every, gamma
        self._drops = 0

    def at(self, position: float) -> float:
        # Products one after the other, as in torch: a power would be rounded differently.
        while self._drops < position // self._every:
            self._rate *= self._gamma
            self._drops += 1
        return self._rate

    @property
    def memory(self) -> tuple[float, ...]:
        return self._rate, self._drops

    @memory.setter
    def memory(self, memory: tuple[float, ...]) -> None:
        self._rate, self._drops = memory[0], int(memory[1])


class _Cosine:
    """Half a cosine from `rate` at `start` to `final` at `end`.

    Source: I. Loshchilov, F. Hutter, "SGDR: Stochastic gradient descent with warm restarts" (2017), without restarts.
    torch computes a step's rate from that of the step before it. So does this, to the same bits; a position that is no
    next step has the closed form.
    """

    def __init__(self, rate: float, final: float, *, start: float, end: float) -> None:
        self._first, self._final, self._start, self._end = rate, final, start, end
        self._last, self._rate = start, rate

    def at(self, position: float) -> float:
        if position != self._last:
            span, here = self._end - self._start, position - self._start
            if here == self._last - self._start + 1:
                before = 1 + math.cos(math.pi * (here - 1) / span)
                self._rate = (1 + math.cos(math.pi * here / span)) / before * (self._rate - self._final) + self._final
            else:
                self._rate = self._final + (self._first - self._final) * (1 + math.cos(math.pi * here / span)) / 2
            self._last = position
        return self._rate

    @property
    def memory(self) -> tuple[float, ...]:
        return self._last, self._rate

    @memory.setter
    def memory(self, memory: tuple[float, ...]) -> None:
        self._last, self._rate = memory


class _OneCycle(_Forgetful):
    """Half a cosine up to `peak` during a share of the steps, and half a cosine down to nearly 0.

    Source: L. Smith, N. Topin, "Super-convergence" (2018), in torch's form with two phases. A budget of a single step
    has nothing to rise or fall to: its rate is the peak.
    """

    def __init__(self, peak: float, total: int, warmup: float) -> None:
        if warmup * total == 1:  # there is nothing between the first step and the peak to divide by
            warmup *= 1 - 1e-9
        self._peak, self._total = peak, total
        self._top, self._last = float(warmup * total) - 1, total - 1
        self._low = peak / _START
        self._final = self._low / _END

    def at(self, position: float) -> float:
        if self._total == 1:
            return self._peak
        position = min(position, self._last)
        if position <= self._top:
            return _between(self._low, self._peak, position / self._top)
        return _between(self._peak, self._final, (position - self._top) / (self._last - self._top))


def _between(first: float, last: float, share: float) -> float:
    """Half a cosine from `first` to `last`."""
    return last + (first - last) / 2.0 * (math.cos(math.pi * share) + 1)

"""The bands of `preprocessing.logMel`, and which of them a clip can't have. Pure.

A frequency of f hertz is 2595 log10(1 + f / 700) mels (D. O'Shaughnessy, "Speech Communication", 1987; HTK has it so).
Band i is a triangle over frequencies: 0 at corner i, 1 at corner i + 1, and 0 at corner i + 2. The corners have equal
distances in mels, from 0 to half the rate.
"""

from __future__ import annotations

import math
from itertools import count
from typing import NamedTuple

from velodrome.spec.conditions import LogMel

_FEWEST = 3  # samples of a window: the spectrum of two has no frequency between 0 and half the rate


class WrongBands(NamedTuple):
    """The field of `logMel` that can't be so, why, and what to write."""

    field: str
    message: str
    hint: str


def samples_of(seconds: float, rate: int) -> int:
    """The nearest whole number of samples."""
    return math.floor(seconds * rate + 0.5)


def corners(bins: int, rate: int) -> list[float]:
    """The corners of the bands in hertz, one behind another (bins + 2,)."""
    most = _mels(rate / 2)
    return [_hertz(most * place / (bins + 1)) for place in range(bins + 2)]


def wrong_bands(log_mel: LogMel, rate: int, seconds: float) -> WrongBands | None:
    """Why clips of so many seconds, at so many samples a second, have no such bands; None if they have."""
    window, hop = samples_of(log_mel.window_seconds, rate), samples_of(log_mel.hop_seconds, rate)
    written = f"{log_mel.window_seconds:g} s"
    if window < _FEWEST:
        said = f"a window of {written} has less than {_FEWEST} samples at {rate:,} Hz"
        return WrongBands("windowSeconds", said, "write a longer one")
    if window > samples_of(seconds, rate):
        return WrongBands(
            "windowSeconds", f"a window of {written} is longer than a clip of {seconds:g} s", "shorten it"
        )
    if hop < 1:
        said = f"a hop of {log_mel.hop_seconds:g} s has no sample at {rate:,} Hz"
        return WrongBands("hopSeconds", said, "write a longer one")
    if not _filled(log_mel.bins, rate, window):
        most = next(fewer for fewer in count(1) if not _filled(fewer + 1, rate, window))
        said = (
            f"the frequencies of a window of {window:,} samples lie {rate / window:g} Hz apart, so some of "
            f"{log_mel.bins} bands would have none"
        )
        return WrongBands("bins", said, f"write {most} at most, or a longer window")
    return None


def _filled(bins: int, rate: int, window: int) -> bool:
    """Whether each band has one of the spectrum's frequencies inside it; they are multiples of rate / window."""
    edges, step = corners(bins, rate), rate / window
    return all((math.floor(low / step) + 1) * step < high for low, high in zip(edges, edges[2:], strict=False))


def _mels(hertz: float) -> float:
    return 2595.0 * math.log10(1.0 + hertz / 700.0)


def _hertz(mels: float) -> float:
    return 700.0 * (math.pow(10.0, mels / 2595.0) - 1.0)

"""Sequences: normalisation of each channel, padding, and true lengths.

Channels are normalised by all values of the training split that lie inside a sequence. A missing value becomes the
channel's mean, and padding is 0 after the normalisation.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from velodrome.spec import Preprocessing
from velodrome_runner.data import SampleSource, Schema
from velodrome_runner.inputs.base import CHUNK, few_of
from velodrome_runner.inputs.varying import Varying, inside

_VALUES_AT_ONCE = 2**23  # of sequences that are converted or looked at, each of 8 bytes


class Sequences(Varying):
    """Converts sequences to `values` (n, channels, longest of them) float32 and their `lengths` (n,) int64."""

    kind = "sequences"
    field = "values"

    def __init__(
        self, fitted: Fitted, longest: int, *, equal: bool, device: torch.device, samples: int | None = None
    ) -> None:
        """`equal`: all sequences have the same length. `samples`: how many were looked at, where those are not all."""
        self.mean, self.shift, self.scale = (each.to(device) for each in fitted)
        self.longest = longest
        self.at_once = _at_once(len(fitted.mean) * longest)
        self.fitted = samples
        self.device = device
        self.shape = (len(fitted.mean), longest if equal else None)
        self.told = {}

    @classmethod
    def fit(
        cls, train: SampleSource, schema: Schema, preprocessing: Preprocessing, *, device: torch.device
    ) -> Sequences:
        """Learns the statistics of each channel."""
        channels, longest = schema.shape
        few, statistics = few_of(train), Statistics(channels)
        for values in inside(few, cls.field, longest, _at_once(channels * longest)):
            statistics.add(values.T.contiguous().double())
        scaling = (preprocessing.scaling or "StandardScaler") if preprocessing.normalize else None
        samples = len(few) if len(few) < len(train) else None
        return cls(statistics.fitted(scaling), longest, equal=schema.equal, device=device, samples=samples)

    @property
    def step_bytes(self) -> int:
        """Bytes of the channels of one step."""
        return 4 * len(self.mean)

    def convert(self, values: Tensor) -> Tensor:
        """Steps (…, channels) without missing values, and normalised."""
        values = values.double()
        known = torch.where(values.isnan(), self.mean, values)
        return ((known - self.shift) / self.scale).float()


def _at_once(values: int) -> int:
    """How many sequences of so many values are converted at once."""
    return max(1, min(CHUNK, _VALUES_AT_ONCE // max(values, 1)))


class Fitted(NamedTuple):
    """Of each channel (channels,), in double precision: its mean, what is subtracted, and what it is divided by."""

    mean: Tensor
    shift: Tensor
    scale: Tensor


class Statistics:
    """What is known of values that come in parts (channels, positions), in which NaN is no value.

    Parts are joined as T. F. Chan, G. H. Golub and R. J. LeVeque do ("Updating Formulae and a Pairwise Algorithm for
    Computing Sample Variances", 1979), so no part is needed again.
    """

    def __init__(self, channels: int) -> None:
        self.count, self.mean, self.squares = (torch.zeros(channels, dtype=torch.float64) for _ in range(3))
        self.least, self.most = self.mean + torch.inf, self.mean - torch.inf

    def add(self, values: Tensor) -> None:
        """Looks at one more part."""
        missing = values.isnan()
        count = (~missing).sum(1)
        mean = values.nanmean(1).nan_to_num(0.0)
        share = (count / (self.count + count)).nan_to_num(0.0)
        apart = mean - self.mean
        self.squares += (values - mean[:, None]).square().nansum(1) + apart.square() * self.count * share
        self.mean = self.mean + apart * share
        self.count += count
        self.least = self.least.minimum(values.masked_fill(missing, torch.inf).amin(1))
        self.most = self.most.maximum(values.masked_fill(missing, -torch.inf).amax(1))

    def fitted(self, scaling: str | None) -> Fitted:
        """The statistics that a scaling needs; a constant channel is divided by 1."""
        shift, scale = torch.zeros_like(self.mean), torch.ones_like(self.mean)
        if scaling == "MinMaxScaler":
            shift, scale = self.least, self.most - self.least
        elif scaling is not None:
            shift, scale = self.mean, (self.squares / self.count).sqrt()
        unscaled = ~((scale > 0) & scale.isfinite())
        return Fitted(self.mean, shift.nan_to_num(0.0, 0.0, 0.0), scale.masked_fill(unscaled, 1.0))

"""Sequences: normalisation of each channel, padding, and true lengths.

Channels are normalised by all values of the training split that lie inside a sequence. A missing value becomes the
channel's mean, and padding is 0 after the normalisation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from velodrome.spec import Preprocessing
from velodrome_runner.data import Samples, SampleSource, Schema
from velodrome_runner.inputs.base import Transform, View, chunks, parameters


class Sequences(Transform):
    """Converts sequences to `values` (n, channels, longest) float32 and their `lengths` (n,) int64.

    All sequences are padded to the longest of the data set; batches that a model with `lengths` gets are shorter.
    """

    kind = "sequences"

    def __init__(self, fitted: Fitted, longest: int, *, equal: bool, device: torch.device) -> None:
        """`equal` says that all sequences have the same length."""
        self.mean, self.shift, self.scale = (each.view(1, -1, 1).to(device) for each in fitted)
        self.longest = longest
        self.device = device
        self.shape = (len(fitted.mean), longest if equal else None)
        self.told = {}

    @classmethod
    def fit(
        cls, train: SampleSource, schema: Schema, preprocessing: Preprocessing, *, device: torch.device
    ) -> Sequences:
        """Learns the statistics of each channel."""
        _, longest = schema.shape
        # (channels, positions), NaN outside a sequence and where a value is missing.
        values = torch.cat([_inside(part).permute(1, 0, 2).flatten(1).double() for part in chunks(train)], dim=1)
        scaling = (preprocessing.scaling or "StandardScaler") if preprocessing.normalize else None
        return cls(_statistics(values, scaling), longest, equal=schema.equal, device=device)

    def __call__(self, samples: Samples, *, training: bool = False) -> Mapping[str, Tensor]:  # noqa: ARG002
        values = samples.inputs["values"].to(self.device, non_blocking=True).double()
        lengths = samples.inputs["lengths"].to(self.device, non_blocking=True)
        known = torch.where(values.isnan(), self.mean, values)
        normalised = ((known - self.shift) / self.scale).masked_fill(_outside(values, lengths), 0.0).float()
        return {"values": functional.pad(normalised, (0, self.longest - values.shape[2])), "lengths": lengths}

    def view(self, model: nn.Module) -> View:
        """`model(values)`, or `model(values, lengths=lengths)` for a forward with a parameter of that name."""
        names = parameters(model)
        if "lengths" not in names:
            return lambda inputs: inputs["values"]  # type: ignore[index]  # a sequence's inputs have names
        first = next(name for name in names if name != "lengths")
        return lambda inputs: {first: inputs["values"], "lengths": inputs["lengths"]}  # type: ignore[index]

    def nbytes(self, source: SampleSource) -> int:
        return len(source) * (4 * int(self.shape[0]) * self.longest + 8)


def _inside(samples: Samples) -> Tensor:
    """The values (n, channels, longest), NaN after each sequence's end."""
    values = samples.inputs["values"]
    return values.masked_fill(_outside(values, samples.inputs["lengths"]), torch.nan)


def _outside(values: Tensor, lengths: Tensor) -> Tensor:
    """A mask (n, 1, longest) of the positions after each sequence's end."""
    return (torch.arange(values.shape[2], device=values.device) >= lengths[:, None])[:, None, :]


class Fitted(NamedTuple):
    """Of each channel (channels,), in double precision: its mean, what is subtracted, and what it is divided by."""

    mean: Tensor
    shift: Tensor
    scale: Tensor


def _statistics(values: Tensor, scaling: str | None) -> Fitted:
    """The statistics of values (channels, positions), where NaN is no value; a constant channel is divided by 1."""
    mean = values.nanmean(1).nan_to_num(0.0)
    shift, scale = torch.zeros_like(mean), torch.ones_like(mean)
    if scaling == "MinMaxScaler":
        missing = values.isnan()
        shift = values.masked_fill(missing, torch.inf).amin(1)
        scale = values.masked_fill(missing, -torch.inf).amax(1) - shift
    elif scaling is not None:
        shift, scale = mean, (values - mean[:, None]).square().nanmean(1).sqrt()
    unscaled = ~((scale > 0) & scale.isfinite())
    return Fitted(mean, shift.nan_to_num(0.0, 0.0, 0.0), scale.masked_fill(unscaled, 1.0))

"""What sequences and documents share: inputs of unequal lengths, which are padded as a batch needs it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from velodrome_runner.data import Samples, SampleSource, Unpadded, steps
from velodrome_runner.data.ragged import Ragged
from velodrome_runner.inputs.base import Inputs, PackedInputs, Transform, View, with_lengths

_STEPS_AT_ONCE = 2**20  # steps that are looked at or converted at a time


class Varying(Transform):
    """Converts samples to `field` (n, *, length of the longest of them) and their `lengths` (n,) int64.

    A sample is cut after `longest` steps. A model with `lengths` gets batches as long as their longest sample, and any
    other gets batches as long as `longest`.
    """

    field: ClassVar[str]
    longest: int

    @abstractmethod
    def convert(self, values: Tensor) -> Tensor:
        """Steps (…, *) as a model gets them, on the device."""

    @property
    @abstractmethod
    def step_bytes(self) -> int:
        """Bytes of one step as a model gets it."""

    @property
    def equal(self) -> bool:
        """Whether all samples have one length."""
        return self.shape[-1] is not None

    def __call__(self, samples: Samples, *, training: bool = False) -> Mapping[str, Tensor]:  # noqa: ARG002
        raw = samples.inputs[self.field][..., : self.longest].to(self.device, non_blocking=True)
        lengths = samples.inputs["lengths"].to(self.device, non_blocking=True).clamp(max=self.longest)
        outside = torch.arange(raw.shape[-1], device=self.device) >= lengths[:, None]
        found = self.convert(raw.movedim(-1, 1)).movedim(1, -1)
        return {self.field: found.masked_fill(outside if found.ndim == 2 else outside[:, None], 0), "lengths": lengths}

    def view(self, model: nn.Module) -> View:
        """`model(values)`, or `model(values, lengths=lengths)` for a forward with a parameter of that name."""
        return with_lengths(model, self.field, self.longest)

    def nbytes(self, source: SampleSource) -> int:
        lengths = source.lengths
        total = self.longest * len(source) if lengths is None else int(lengths.clamp(max=self.longest).sum())
        return self.step_bytes * total + (8 if self.equal else 16) * len(source)

    def whole(self, source: SampleSource, *, training: bool = False) -> Inputs | PackedInputs:
        if self.equal:
            return super().whole(source, training=training)
        assert source.lengths is not None
        lengths = source.lengths.clamp(max=self.longest).to(self.device)
        pieces = inside(source, self.field, self.longest, self.at_once)
        converted = (self.convert(piece.to(self.device)) for piece in pieces)
        return PackedInputs(self.field, Ragged.joined(converted, lengths))


def inside(source: SampleSource, field: str, longest: int, at_once: int) -> Iterator[Tensor]:
    """The first `longest` steps of each sample, (steps, *) at a time: those of `at_once` samples, if they are read."""
    if isinstance(source, Unpadded):
        return source.rows.cut(longest).pieces(_STEPS_AT_ONCE)
    return steps(source, field, at_once, longest)

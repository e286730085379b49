"""Windows of a running text: the tokens as they are, on the device."""

from __future__ import annotations

import torch
from torch import Tensor

from velodrome_runner.data import Samples, SampleSource, Schema
from velodrome_runner.inputs.base import Transform


class Windows(Transform):
    """Gives `tokens` (n, window) int64, each from 0 to `vocabulary` - 1, as a model's only argument."""

    kind = "text"

    def __init__(self, window: int, vocabulary: int, device: torch.device) -> None:
        self.device = device
        self.shape = (window,)
        self.told = {"vocabulary": vocabulary}

    @classmethod
    def fit(cls, schema: Schema, device: torch.device) -> Windows:
        """Learns nothing: the vocabulary was read from the training split."""
        return cls(schema.shape[0], len(schema.tokens), device)

    def __call__(self, samples: Samples, *, training: bool = False) -> Tensor:  # noqa: ARG002
        return samples.inputs["tokens"].to(self.device, non_blocking=True)

    def nbytes(self, source: SampleSource) -> int:
        return 0 if self.device.type == "cpu" else source.nbytes  # on a CPU, windows are cut where the text already is

"""Documents: the words that the training split has most often, by their numbers, padding, and true lengths."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from velodrome.spec import Preprocessing
from velodrome.vocabulary import LENGTH, VOCABULARY
from velodrome_runner.data import Samples, SampleSource, Schema
from velodrome_runner.inputs.base import Transform, View, chunks, with_lengths


class Documents(Transform):
    """Converts texts to `tokens` (n, longest) int64 and their `lengths` (n,) int64.

    A word is its number from 1 to `vocabulary` - 1. The number 0 stands for each word that a model does not know, and
    for what is behind a text's end, which only `lengths` tell apart. Texts are cut after so many words as are read.
    """

    kind = "documents"

    def __init__(self, numbers: Tensor, longest: int, *, equal: bool, device: torch.device) -> None:
        """`numbers` (all words,) has the new number of each word. `equal`: all texts have the same length."""
        self.numbers = numbers.to(device)
        self.longest = longest
        self.device = device
        self.shape = (longest if equal else None,)
        self.told = {"vocabulary": int(numbers.max()) + 1}

    @classmethod
    def fit(
        cls, train: SampleSource, schema: Schema, preprocessing: Preprocessing, *, device: torch.device
    ) -> Documents:
        """Learns which words are frequent, in what is read of the training texts; of equally frequent, the first."""
        longest = min(preprocessing.max_length or LENGTH, schema.shape[0])
        counts = torch.zeros(len(schema.tokens), dtype=torch.int64)
        for samples in chunks(train):
            tokens = samples.inputs["tokens"][:, :longest]
            inside = torch.arange(tokens.shape[1]) < samples.inputs["lengths"][:, None]
            counts += tokens[inside].bincount(minlength=len(counts))
        kept = counts.argsort(descending=True, stable=True)[: (preprocessing.vocabulary or VOCABULARY) - 1]
        kept = kept[counts[kept] > 0]
        numbers = torch.zeros(len(counts), dtype=torch.int64)
        numbers[kept] = torch.arange(1, len(kept) + 1)
        return cls(numbers, longest, equal=schema.equal, device=device)

    def __call__(self, samples: Samples, *, training: bool = False) -> Mapping[str, Tensor]:  # noqa: ARG002
        raw = samples.inputs["tokens"][:, : self.longest].to(self.device, non_blocking=True).long()
        lengths = samples.inputs["lengths"].to(self.device, non_blocking=True).clamp(max=self.longest)
        inside = torch.arange(raw.shape[1], device=self.device) < lengths[:, None]
        tokens = self.numbers[raw].masked_fill(~inside, 0)
        return {"tokens": functional.pad(tokens, (0, self.longest - tokens.shape[1])), "lengths": lengths}

    def view(self, model: nn.Module) -> View:
        """`model(tokens)`, or `model(tokens, lengths=lengths)` for a forward with a parameter of that name."""
        return with_lengths(model, "tokens")

    def nbytes(self, source: SampleSource) -> int:
        return 8 * len(source) * (self.longest + 1)

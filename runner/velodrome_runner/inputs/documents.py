"""Documents: the words that the training split has most often, by their numbers, padding, and true lengths."""

from __future__ import annotations

import torch
from torch import Tensor

from velodrome.spec import Preprocessing
from velodrome.vocabulary import LENGTH, VOCABULARY
from velodrome_runner.data import SampleSource, Schema
from velodrome_runner.inputs.base import CHUNK
from velodrome_runner.inputs.varying import Varying, inside


class Documents(Varying):
    """Converts texts to `tokens` (n, longest of them) int64 and their `lengths` (n,) int64.

    A word is its number from 1 to `vocabulary` - 1. The number 0 stands for each word that a model does not know, and
    for what is behind a text's end, which only `lengths` tell apart. Texts are cut after so many words as are read.
    """

    kind = "documents"
    field = "tokens"
    step_bytes = 8

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
        for tokens in inside(train, cls.field, longest, CHUNK):
            counts += tokens.bincount(minlength=len(counts))
        kept = counts.argsort(descending=True, stable=True)[: (preprocessing.vocabulary or VOCABULARY) - 1]
        kept = kept[counts[kept] > 0]
        numbers = torch.zeros(len(counts), dtype=torch.int64)
        numbers[kept] = torch.arange(1, len(kept) + 1)
        return cls(numbers, longest, equal=schema.equal, device=device)

    def convert(self, values: Tensor) -> Tensor:
        """Words by their numbers of all splits as the numbers that a model knows."""
        return self.numbers[values.long()]

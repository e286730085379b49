"""Velodrome's models of texts with labels: a mean of embeddings, recurrent networks, and a transformer's encoder.

Each is called with `tokens` (n, longest) int64 and, where lengths differ, `lengths` (n,) int64, and returns a logit for
each class. What lies behind a text's end changes nothing.

Each factory accepts the number of words, the shape of a text, (length,) with None where lengths differ, the number of
outputs, the dropout, and its arguments in `velodrome.vocabulary.MODEL_ARGS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from velodrome_runner.models import sequences

Length = tuple[int | None]


class MeanOfWords(nn.Module):
    """The mean of a text's embeddings, and a linear layer."""

    def __init__(self, vocabulary: int, outputs: int, dropout: float, width: int) -> None:
        super().__init__()
        self.words = nn.EmbeddingBag(vocabulary, width, mode="mean")
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, outputs)

    def forward(self, tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
        if lengths is None:
            found = self.words(tokens)
        else:
            inside = torch.arange(tokens.shape[1], device=tokens.device) < lengths[:, None]
            found = self.words(tokens[inside], lengths.cumsum(0) - lengths)
        output: Tensor = self.head(self.dropout(found))
        return output


def embedding_bag(vocabulary: int, shape: Length, outputs: int, dropout: float, width: int = 64) -> nn.Module:  # noqa: ARG001
    """The mean of embeddings of `width` numbers: the order of words counts for nothing.

    Source: A. Joulin et al., "Bag of tricks for efficient text classification" (2017), without n-grams.
    """
    return MeanOfWords(vocabulary, outputs, dropout, width)


class OfWords(nn.Module):
    """Embeddings of `width` numbers, and a network for sequences over them."""

    def __init__(self, vocabulary: int, width: int, network: nn.Module) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, width)
        self.network = network

    def forward(self, tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
        output: Tensor = self.network(self.words(tokens).transpose(1, 2), lengths)
        return output


def lstm(
    vocabulary: int, shape: Length, outputs: int, dropout: float, hidden: int = 128, layers: int = 1,
    *, bidirectional: bool = False,
) -> nn.Module:  # fmt: skip
    """An LSTM over embeddings of `hidden` numbers; dropout as over sequences."""
    network = sequences.recurrent(nn.LSTM, (hidden, shape[0]), outputs, dropout, hidden, layers, both=bidirectional)
    return OfWords(vocabulary, hidden, network)


def gru(
    vocabulary: int, shape: Length, outputs: int, dropout: float, hidden: int = 128, layers: int = 1,
    *, bidirectional: bool = False,
) -> nn.Module:  # fmt: skip
    """A GRU over embeddings of `hidden` numbers; dropout as over sequences."""
    network = sequences.recurrent(nn.GRU, (hidden, shape[0]), outputs, dropout, hidden, layers, both=bidirectional)
    return OfWords(vocabulary, hidden, network)


def transformer(
    vocabulary: int, shape: Length, outputs: int, dropout: float, width: int = 64, layers: int = 3, heads: int = 4
) -> nn.Module:
    """The transformer over sequences, over embeddings of `width` numbers. Raises as that does."""
    return OfWords(vocabulary, width, sequences.transformer((width, shape[0]), outputs, dropout, width, layers, heads))


DOCUMENTS: Mapping[str, Callable[..., nn.Module]] = {
    "velodrome/embeddingbag": embedding_bag,
    "velodrome/lstm": lstm,
    "velodrome/gru": gru,
    "velodrome/transformer": transformer,
}

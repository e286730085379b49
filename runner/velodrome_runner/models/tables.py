"""Velodrome's model for tables with categorical columns: a multilayer perceptron over numbers and embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

# No embedding is wider than this.
_WIDEST = 50


class EmbeddingMlp(nn.Module):
    """Called with `numeric` (n, p) float32 and `categorical` (n, q) int64, each column below its cardinality."""

    def __init__(
        self, numeric: int, cardinalities: Sequence[int], outputs: int, body: list[int], dropout: float
    ) -> None:
        super().__init__()
        widths = [min(_WIDEST, (cardinality + 1) // 2) for cardinality in cardinalities]
        self.embeddings = nn.ModuleList(nn.Embedding(*size) for size in zip(cardinalities, widths, strict=True))
        sizes = [numeric + sum(widths), *body]
        layers: list[nn.Module] = []
        for wide, narrow in pairwise(sizes):
            layers += [nn.Linear(wide, narrow), nn.ReLU(inplace=True), nn.Dropout(dropout)]
        self.body = nn.Sequential(*layers, nn.Linear(sizes[-1], outputs))

    def forward(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        columns = categorical.unbind(1)
        embedded = [embedding(column) for embedding, column in zip(self.embeddings, columns, strict=True)]
        output: Tensor = self.body(torch.cat([numeric, *embedded], dim=1))
        return output


def embedding_mlp(
    numeric: int, cardinalities: Sequence[int], outputs: int, dropout: float, hidden: int = 256, layers: int = 2
) -> nn.Module:
    """`layers` hidden layers of `hidden` units over the numbers and an embedding of each categorical column.

    A column of k categories is embedded in half as many dimensions, 50 at most. Sources: C. Guo, F. Berkhahn, "Entity
    embeddings of categorical variables" (2016); Y. Gorishniy et al., "Revisiting deep learning models for tabular data"
    (2021), whose MLP has such layers.
    """
    return EmbeddingMlp(numeric, cardinalities, outputs, [hidden] * layers, dropout)

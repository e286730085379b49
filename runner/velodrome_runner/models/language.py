"""Velodrome's models of a running text: each place of a window sees the tokens up to it, and answers with the next one.

Each is called with `tokens` (n, window) int64, and returns a logit for each token of the vocabulary at each place,
(n, window, vocabulary). What lies behind a place changes nothing at it.

Each factory accepts the shape of a window, the number of tokens of the vocabulary, the dropout, and its arguments in
`velodrome.vocabulary.MODEL_ARGS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from velodrome.errors import ConfigurationError
from velodrome_runner.models.sequences import check_width, encoder_layers, waves


class RecurrentLanguage(nn.Module):
    """An embedding, an LSTM or GRU from left to right, and a linear layer at each place."""

    def __init__(self, network: nn.LSTM | nn.GRU, dropout: float, vocabulary: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, network.input_size)
        self.network = network
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(network.hidden_size, vocabulary)

    def forward(self, tokens: Tensor) -> Tensor:
        states, _ = self.network(self.dropout(self.embedding(tokens)))
        output: Tensor = self.head(self.dropout(states))
        return output


def lstm(
    vocabulary: int, dropout: float, hidden: int = 128, layers: int = 1, *, bidirectional: bool = False
) -> nn.Module:
    """An LSTM over the tokens. Raises as `_recurrent` does."""
    return _recurrent(nn.LSTM, vocabulary, dropout, hidden, layers, both=bidirectional)


def gru(
    vocabulary: int, dropout: float, hidden: int = 128, layers: int = 1, *, bidirectional: bool = False
) -> nn.Module:
    """A GRU over the tokens. Raises as `_recurrent` does."""
    return _recurrent(nn.GRU, vocabulary, dropout, hidden, layers, both=bidirectional)


def _recurrent(
    kind: type[nn.LSTM | nn.GRU], vocabulary: int, dropout: float, hidden: int, layers: int, *, both: bool
) -> nn.Module:
    """Embeddings of `hidden` numbers; dropout behind them, between layers, and before the linear layer.

    Raises:
        ConfigurationError: `ModelArguments`, backwards a network would see what it has to predict.
    """
    if both:
        raise ConfigurationError(
            "bidirectional is not for a running text, because backwards a model sees what it has to predict: leave it "
            "out of model.args",
            "ModelArguments",
        )
    # torch warns about dropout between layers if there is only one layer.
    network = kind(hidden, hidden, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
    return RecurrentLanguage(network, dropout, vocabulary)


class CausalTransformer(nn.Module):
    """Embeddings with sine waves, layers of a transformer that look back alone, and a linear layer at each place."""

    def __init__(self, vocabulary: int, dropout: float, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.width = width
        self.embedding = nn.Embedding(vocabulary, width)
        self.layers = encoder_layers(width, layers, heads, dropout)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, tokens: Tensor) -> Tensor:
        steps = self.embedding(tokens)
        steps = self.dropout(steps + waves(tokens.shape[1], self.width, steps))
        mask = nn.Transformer.generate_square_subsequent_mask(tokens.shape[1], steps.device, steps.dtype)
        for layer in self.layers:
            steps = layer(steps, src_mask=mask, is_causal=True)
        output: Tensor = self.head(self.norm(steps))
        return output


def transformer(vocabulary: int, dropout: float, width: int = 64, layers: int = 3, heads: int = 4) -> nn.Module:
    """`layers` layers with `heads` heads, norms first, each place looking at itself and those before.

    Source: A. Radford et al., "Language models are unsupervised multitask learners" (2019), in the small.

    Raises:
        ConfigurationError: `ModelArguments`, heads do not divide the width.
    """
    check_width(width, heads)
    return CausalTransformer(vocabulary, dropout, width, layers, heads)


LANGUAGE: Mapping[str, Callable[..., nn.Module]] = {
    "velodrome/lstm": lstm,
    "velodrome/gru": gru,
    "velodrome/transformer": transformer,
}

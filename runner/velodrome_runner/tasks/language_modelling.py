"""LanguageModellingTask: the next token of a running text, at each place of a window."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from velodrome.errors import ConfigurationError
from velodrome.metrics.catalogue import CATALOGUE, MetricKey
from velodrome.spec import Training
from velodrome.tasks import TASKS
from velodrome.vocabulary import Keeping
from velodrome_runner.data import SampleSource, Schema
from velodrome_runner.data.windows import IGNORED
from velodrome_runner.inputs import Transform
from velodrome_runner.inputs.base import Inputs
from velodrome_runner.tasks.base import QualityMeter, Reading, Task

# By how much a network's answer may change because its products are summed in another order.
_ROUNDING = 1e-3


class LanguageModellingTask(Task):
    """Cross-entropy of the next token. A model returns a logit for each token of the vocabulary at each place.

    `sizes` (vocabulary,) has the bytes of each token in UTF-8. `characters` says that each token is one.
    """

    name = "language-modelling"
    scores = TASKS["language-modelling"].scores
    watched = frozenset({"validation_loss", "perplexity"})

    def __init__(self, sizes: Tensor, label_smoothing: float, transform: Transform, *, characters: bool) -> None:
        super().__init__(transform)
        self.sizes = sizes
        self.characters = characters
        self.label_smoothing = label_smoothing

    @classmethod
    def fit(cls, train: SampleSource, schema: Schema, training: Training, transform: Transform) -> Self:  # noqa: ARG003
        if not schema.tokens:
            raise ConfigurationError(
                "these data are no running text, so there is no next token: write another spec.task, or format: Text",
                "WrongTask",
            )
        characters = all(len(token) == 1 for token in schema.tokens)
        sizes = torch.tensor([len(token.encode()) if characters else 1 for token in schema.tokens])
        return cls(sizes, training.regularization.label_smoothing, transform, characters=characters)

    @property
    def told(self) -> Mapping[str, Any]:
        return {"outputs": len(self.sizes)}

    def refuse(self, keys: Iterable[str]) -> None:
        for text in keys:
            if MetricKey.parse(text).name == "bits_per_character" and not self.characters:
                raise ConfigurationError(
                    "bits_per_character is of characters, and the tokens are bytes: use bits_per_byte, or write "
                    "spec.dataset.tokens: characters"
                )

    def problem(self, outputs: Tensor, samples: int) -> str | None:
        wanted = (samples, *self.transform.shape, len(self.sizes))
        if tuple(outputs.shape) == wanted:
            return None
        return f"it must return one logit for each token of the vocabulary at each place of each window, {wanted}"

    def leak(self, model: nn.Module, inputs: Inputs) -> str | None:
        """Changes all tokens behind a place, and compares the answers up to that place."""
        assert isinstance(inputs, Tensor)
        place = inputs.shape[1] // 2
        changed = inputs.clone()
        changed[:, place:] = (changed[:, place:] + 1) % len(self.sizes)
        one, other = (self.call(model, each)[:, :place].double() for each in (inputs, changed))
        if (one - other).abs().max() <= _ROUNDING * one.abs().max().clamp(min=1.0):
            return None
        return (
            "its answer at a place changes with the tokens behind that place, which it has to predict: mask them, as a "
            "causal transformer does, or read the window in one direction"
        )

    def loss(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, int]:
        """The mean over all tokens. Its weight is the number of windows: in training all have the same length."""
        logits = outputs.float().flatten(0, 1)
        smoothing = self.label_smoothing
        return F.cross_entropy(logits, targets.flatten(), ignore_index=IGNORED, label_smoothing=smoothing), len(targets)

    def meter(self, keys: Iterable[str], keeping: Keeping = "none") -> LanguageMeter:  # noqa: ARG002 - keeps nothing
        return LanguageMeter(self, keys)


class LanguageMeter(QualityMeter):
    """The quality of logits (n, window, vocabulary) for tokens (n, window), each token that is not ignored once.

    From the sum of all cross-entropies in double precision, without label smoothing, over all batches:

    - `loss` and `validation_loss`: nats for each token; `perplexity`: the exponential of that.
    - `bits_per_byte`: the sum in bits, divided by the bytes of the predicted tokens in UTF-8.
    - `bits_per_character`: the sum in bits, divided by the predicted characters.
    """

    def __init__(self, task: LanguageModellingTask, keys: Iterable[str]) -> None:
        super().__init__()
        self.task = task
        self.keys = {text: MetricKey.parse(text) for text in keys}

    @torch.inference_mode()
    def update(self, outputs: Tensor, targets: Tensor) -> None:
        counted = targets.flatten() != IGNORED
        logits, tokens = outputs.flatten(0, 1)[counted], targets.flatten()[counted]
        self.finite = self.finite and bool(logits.isfinite().all())
        self.add("nats", F.cross_entropy(logits.double(), tokens, reduction="sum"))
        self.add("tokens", torch.tensor(len(tokens)))
        self.add("bytes", self.task.sizes[tokens.cpu()].sum())

    def read(self) -> Reading:
        return Reading.of(self.keys, lambda key: self._value(key.name))

    def _value(self, name: str) -> float | str:
        nats, tokens = float(self.sums["nats"]), int(self.sums["tokens"])
        match name:
            case "loss" | "validation_loss":
                return nats / tokens
            case "perplexity":
                most = CATALOGUE["perplexity"].range[1]
                exponent = nats / tokens
                return math.exp(exponent) if exponent <= math.log(most) else f"it is above {most:g}: {exponent:g} nats"
            case "bits_per_byte":
                return nats / math.log(2) / int(self.sums["bytes"])
        return nats / math.log(2) / tokens


TASK = LanguageModellingTask

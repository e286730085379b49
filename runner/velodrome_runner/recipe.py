"""How weights are updated: one object that steps the optimizer. The training loop tells it losses and time."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from velodrome.errors import ConfigurationError
from velodrome.spec import Training
from velodrome_runner.log import words
from velodrome_runner.optimization import decay_rule, l1_norm, make_optimizer, weights
from velodrome_runner.rates import rates
from velodrome_runner.states import give_weights, weights_of


class Recipe:
    """The optimizer, its learning rate, L1, accumulation, clipping, loss scaling, and the average of the weights.

    For each batch, in this order: `backward(loss, weight)`, then `advance(share of the seconds)`. At the end of an
    epoch and before training ends: `flush()`. `evaluated` is the network to evaluate, and `finish()` makes its weights
    those of the model.

    The learning rate follows the budget: the share of its steps or of its seconds that is used, whichever is larger. So
    a schedule is complete when a budget of seconds ends training.
    """

    def __init__(
        self,
        model: nn.Module,
        training: Training,
        *,
        epochs: int,
        batches: int,
        device: torch.device,
        most: int | None = None,
    ) -> None:
        """A recipe for a budget of at most `epochs` epochs of `batches` batches each, and of `most` steps if that is
        given. `model` is on `device`.

        Raises:
            ConfigurationError: `NothingToTrain`, or `ModelNotCopied` where averaged weights need a copy of it.
        """
        self._accumulate = training.accumulate_batches or 1
        steps = -(-batches // self._accumulate)
        self._optimizer = make_optimizer(model, training)
        self._parameters = [each for group in self._optimizer.param_groups for each in group["params"]]
        self._total = epochs * steps if most is None else min(most, epochs * steps)
        self._rates = rates(training, epochs=epochs, steps=steps, most=most)
        # float16 can't represent small gradients: they are scaled up, and steps whose gradients overflow are skipped.
        self._scaler = torch.amp.GradScaler(device.type, enabled=training.precision == "float16")
        self._l1 = training.regularization.l1
        rule = decay_rule(training.regularization)
        self._penalised = weights(model, rule) if self._l1 and rule else []
        self._clip_norm, self._clip_value = training.clip_norm, training.clip_value
        self._model = model
        self._average = None if training.ema_decay is None else _Average(model, training.ema_decay)
        self._steps = self._pending = 0
        self._first: float | Tensor = 0.0
        self._weight: float | Tensor = 0.0
        self._used = 0.0
        self._set_rate(self._rates.at(0))

    @property
    def rate(self) -> float:
        """The learning rate of the next step."""
        return float(self._optimizer.param_groups[0]["lr"])

    @property
    def steps(self) -> int:
        """How many steps of the optimizer are done."""
        return self._steps

    @property
    def between_steps(self) -> bool:
        """Whether no batch waits for others to make a step with it."""
        return self._pending == 0

    def state(self) -> dict[str, Any]:
        """What a recipe of the same training needs to go on from here. Call it between steps."""
        return {
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "rates": self._rates.memory,
            "average": None if self._average is None else weights_of(self._average.module),
            "steps": self._steps,
            "used": self._used,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from there."""
        self._optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])
        self._rates.memory = state["rates"]
        if self._average is not None:
            give_weights(self._average.module, state["average"])
        self._steps, self._used = state["steps"], state["used"]

    @property
    def evaluated(self) -> nn.Module:
        """The network whose quality counts: the model, or its averaged copy."""
        return self._model if self._average is None else self._average.module

    def backward(self, loss: Tensor, weight: float | Tensor = 1.0) -> Tensor:
        """Adds the batch's gradient, and steps if enough batches have been accumulated. Returns the minimised loss.

        `loss` is a mean over the batch. `weight` is what it is a mean over: samples or tokens. A step's gradient is
        that of the mean over all its batches. The returned scalar includes L1 and has no history.

        A `weight` that is a tensor on the device is not read, so no step waits for the device.
        """
        if isinstance(weight, Tensor):
            weight = weight.double()  # as a number of Python is
        if self._penalised:
            loss = loss + self._l1 * l1_norm(self._penalised)
        if self._pending == 0:
            self._optimizer.zero_grad()
            self._first, self._weight = weight, 0.0
        self._pending += 1
        self._weight += weight
        scaled = loss if self._accumulate == 1 else loss * _as(loss, weight / self._first)
        self._scaler.scale(scaled).backward()
        if self._pending == self._accumulate:
            self._step()
        return loss.detach()

    def advance(self, used: float = 0.0) -> None:
        """Sets the next step's learning rate. `used` is the share of the budget's seconds; 0 where it has none."""
        self._used = min(used, 1.0)
        self._set_rate(self._rates.at(max(self._steps, self._used * self._total)))

    def flush(self) -> None:
        """Steps with the batches that wait for more to come, if there are any: an epoch's last step may have fewer."""
        if self._pending:
            self._step()
            self.advance(self._used)

    def finish(self) -> None:
        """Gives the model the weights that are evaluated."""
        if self._average is not None:
            self._model.load_state_dict(self._average.module.state_dict())

    def _step(self) -> None:
        share = 1.0 if self._accumulate == 1 else self._weight / self._first
        shared = isinstance(share, Tensor) or share != 1
        if shared or self._clip_norm or self._clip_value:
            self._scaler.unscale_(self._optimizer)
        if shared:
            torch._foreach_div_(  # one call for all tensors, as in torch's own clipping
                [each.grad for each in self._parameters if each.grad is not None], share
            )
        if self._clip_value:
            nn.utils.clip_grad_value_(self._parameters, self._clip_value)
        if self._clip_norm:
            nn.utils.clip_grad_norm_(self._parameters, self._clip_norm)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._steps += 1
        self._pending = 0
        if self._average is not None:
            self._average.update(self._steps)

    def _set_rate(self, rate: float) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = rate


class _Average:
    """A copy of a model whose weights and buffers are an exponential moving average.

    The decay rises to its value: min(decay, (1 + n) / (10 + n)) after n steps. So the first weights, which know
    nothing, do not weigh on short trainings. Source: TensorFlow's ExponentialMovingAverage. Whole numbers, such as
    batch normalisation's counters, are copied.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        """Raises ConfigurationError, `ModelNotCopied`."""
        self._decay = decay
        try:
            self.module = copy.deepcopy(model)
        # Copying runs code of the model, which may raise anything.
        except Exception as error:
            raise ConfigurationError(
                f"training.emaDecay needs a copy of the model, and copying it raised {type(error).__name__}: "
                f"{words(error)[:200]}: set emaDecay to null for this entry",
                "ModelNotCopied",
            ) from error
        pairs = list(zip(_tensors(self.module), _tensors(model), strict=True))
        self._floats = [pair for pair in pairs if pair[0].is_floating_point()]
        self._others = [pair for pair in pairs if not pair[0].is_floating_point()]

    @torch.no_grad()
    def update(self, steps: int) -> None:
        """Moves the average towards the model's weights after that many steps."""
        averages, current = zip(*self._floats, strict=True)
        share = 1 - min(self._decay, (1 + steps) / (10 + steps))
        torch._foreach_lerp_(averages, current, share)  # as torch's swa_utils
        for average, value in self._others:
            average.copy_(value)


def _as(loss: Tensor, factor: float | Tensor) -> float | Tensor:
    """A factor in the loss's own precision, which it would otherwise raise."""
    return factor.to(loss.dtype) if isinstance(factor, Tensor) else factor


def _tensors(model: nn.Module) -> Iterator[Tensor]:
    yield from model.parameters()
    yield from model.buffers()

"""torch's optimizer and learning-rate schedule for a BenchmarkJob."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer, lr_scheduler

from velodrome.spec import Training


def weights(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that L1 and L2 regularise: matrices and kernels, without biases and the gains of norms.

    A bias or a gain has one dimension. Shrinking it makes the fit worse and does not regularise.
    """
    return [parameter for parameter in model.parameters() if parameter.requires_grad and parameter.ndim > 1]


def make_optimizer(model: nn.Module, training: Training) -> Optimizer:
    """The optimizer of the model's trainable parameters, with weight decay (`l2`) only on `weights(model)`.

    The decay is coupled in SGD and Adam (added to the gradient) and decoupled in AdamW, as in torch. It uses torch's
    fused implementations: one pass over a tensor instead of one for each operation.
    """
    spec, groups = training.optimizer, _groups(model, training.regularization.l2)
    if spec.name == "SGD":
        momentum, nesterov = spec.momentum or 0.0, bool(spec.nesterov)
        return SGD(groups, lr=spec.learning_rate, momentum=momentum, nesterov=nesterov, fused=True)
    made = Adam if spec.name == "Adam" else AdamW
    return made(groups, lr=spec.learning_rate, betas=spec.betas or (0.9, 0.999), eps=spec.eps or 1e-8, fused=True)


def _groups(model: nn.Module, l2: float) -> list[dict[str, Any]]:
    """The parameters by weight decay. One group if nothing decays, because each group costs one call per step."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if l2 == 0:
        return [{"params": trainable, "weight_decay": 0.0}]
    decayed = weights(model)
    ids = {id(parameter) for parameter in decayed}
    others = [parameter for parameter in trainable if id(parameter) not in ids]
    groups = [{"params": decayed, "weight_decay": l2}, {"params": others, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


class RateSchedule:
    """The learning rate over a budget of `epochs` epochs of `steps` steps each.

    `Step` changes at the ends of epochs, `Cosine` and `OneCycle` after every step. `OneCycle` does not change the
    BenchmarkJob's momentum.
    """

    def __init__(self, optimizer: Optimizer, training: Training, *, epochs: int, steps: int) -> None:
        self._optimizer = optimizer
        self._by_step: lr_scheduler.LRScheduler | None = None
        self._by_epoch: lr_scheduler.LRScheduler | None = None
        spec, rate, total = training.schedule, training.optimizer.learning_rate, epochs * steps
        match spec.name:
            case "Step":
                every = spec.step_epochs or max(1, epochs // 3)
                gamma = 0.1 if spec.gamma is None else spec.gamma
                self._by_epoch = lr_scheduler.StepLR(optimizer, every, gamma)
            case "Cosine":
                final = rate * (spec.final_factor or 0.0)
                self._by_step = lr_scheduler.CosineAnnealingLR(optimizer, total, eta_min=final)
            case "OneCycle":
                warmup = 0.3 if spec.warmup_fraction is None else spec.warmup_fraction
                if warmup * total == 1:  # torch divides by the steps between the first one and the peak
                    warmup *= 1 - 1e-9
                self._by_step = lr_scheduler.OneCycleLR(
                    optimizer, rate, total_steps=total, pct_start=warmup, cycle_momentum=False
                )

    @property
    def rate(self) -> float:
        """The learning rate of the next step."""
        return float(self._optimizer.param_groups[0]["lr"])

    def after_step(self) -> None:
        """Call this after each step of the optimizer."""
        if self._by_step is not None:
            self._by_step.step()

    def after_epoch(self) -> None:
        """Call this after the last step of each epoch."""
        if self._by_epoch is not None:
            self._by_epoch.step()


def l1_norm(parameters: list[nn.Parameter]) -> torch.Tensor:
    """The sum of absolute values; its gradient at 0 is 0."""
    return torch.stack([torch.linalg.vector_norm(parameter, ord=1) for parameter in parameters]).sum()

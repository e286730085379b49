"""torch's optimizer for a BenchmarkJob, and the parameters that L1 and L2 regularise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from velodrome.errors import ConfigurationError
from velodrome.spec import Regularization, Training
from velodrome.vocabulary import DecayRule

DEFAULT_RULE: DecayRule = "torchvision"

# Names that torchvision, timm and transformers give to class tokens, position embeddings and gains of layer scale.
_TOKENS = frozenset({"class_token", "cls_token", "dist_token", "reg_token", "mask_token"})
_POSITIONS = frozenset(
    {
        *("pos_embed", "pos_emb", "pos_embedding", "positional_embedding", "position_embedding", "position_embeddings"),
        *("absolute_pos_embed", "relative_position_bias_table", "pos_embed_win"),
    }
)
_GAINS = frozenset({"layer_scale", "layer_scale_1", "layer_scale_2", "gamma", "gamma_1", "gamma_2", "gamma1", "gamma2"})
_EXEMPT = _TOKENS | _GAINS


def decay_rule(regularization: Regularization) -> DecayRule | None:
    """The rule that L1 and L2 follow; None where neither is used."""
    if not (regularization.l1 or regularization.l2):
        return None
    return regularization.decay_rule or DEFAULT_RULE


def weights(model: nn.Module, rule: DecayRule = DEFAULT_RULE) -> list[nn.Parameter]:
    """The trainable parameters that L1 and L2 regularise, in the model's order.

    - `torchvision`: matrices and kernels. Left alone are biases, the gains of norms and of layer scale, class tokens
      and position embeddings, known by their dimensions and names: what torchvision's recipes for vision transformers
      and ConvNeXt exempt. Shrinking them makes the fit worse and does not regularise.
    - `matrices`: every parameter of two or more dimensions, also class tokens and the like.
    - `all`: every parameter.
    """
    return [
        parameter
        for path, parameter in model.named_parameters()
        if parameter.requires_grad and _decays(path, parameter, rule)
    ]


def _decays(path: str, parameter: nn.Parameter, rule: DecayRule) -> bool:
    if rule == "all":
        return True
    names = path.split(".")
    # A position embedding may be a layer, such as pos_embed.weight.
    named = names[-1] in _EXEMPT or not _POSITIONS.isdisjoint(names)
    return parameter.ndim > 1 and (rule == "matrices" or not named)


def make_optimizer(model: nn.Module, training: Training) -> Optimizer:
    """The optimizer of the model's trainable parameters, with weight decay (`l2`) only on `weights(model, rule)`.

    The decay is coupled in SGD, Adam and RMSprop (added to the gradient) and decoupled in AdamW, as in torch. It uses
    torch's fused implementations, where there are some: one pass over a tensor instead of one for each operation.

    Raises:
        ConfigurationError: `NothingToTrain`, all parameters are frozen.
    """
    spec, groups = training.optimizer, list(_groups(model, training.regularization))
    if not groups:
        raise ConfigurationError(
            "the model has no parameter to train: set requires_grad of those that should learn", "NothingToTrain"
        )
    rate, momentum, eps = spec.learning_rate, spec.momentum or 0.0, spec.eps or 1e-8
    if spec.name == "SGD":
        return SGD(groups, lr=rate, momentum=momentum, nesterov=bool(spec.nesterov), fused=True)
    if spec.name == "RMSprop":
        return RMSprop(groups, lr=rate, momentum=momentum, alpha=0.99 if spec.alpha is None else spec.alpha, eps=eps)
    made = Adam if spec.name == "Adam" else AdamW
    return made(groups, lr=rate, betas=spec.betas or (0.9, 0.999), eps=eps, fused=True)


def _groups(model: nn.Module, regularization: Regularization) -> Iterator[dict[str, Any]]:
    """The parameters by weight decay. One group if nothing decays, because each group costs one call per step."""
    decayed = weights(model, regularization.decay_rule or DEFAULT_RULE) if regularization.l2 else []
    ids = {id(parameter) for parameter in decayed}
    others = [parameter for parameter in model.parameters() if parameter.requires_grad and id(parameter) not in ids]
    for parameters, decay in ((decayed, regularization.l2), (others, 0.0)):
        if parameters:
            yield {"params": parameters, "weight_decay": decay}


def l1_norm(parameters: list[nn.Parameter]) -> torch.Tensor:
    """The sum of absolute values; its gradient at 0 is 0."""
    return torch.stack([torch.linalg.vector_norm(parameter, ord=1) for parameter in parameters]).sum()

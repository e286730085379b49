"""The state of a model and of the process's random generators, as values that a checkpoint can hold."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn


def weights_of(model: nn.Module) -> dict[str, Any]:
    """A model's state dict, and the buffers that it leaves out. The tensors are the model's own."""
    state = model.state_dict()
    return {"state": state, "buffers": {name: value for name, value in model.named_buffers() if name not in state}}


@torch.no_grad()
def give_weights(model: nn.Module, found: Mapping[str, Any]) -> None:
    """Gives a model of the same kind those weights and buffers, in place."""
    model.load_state_dict(found["state"])
    buffers = dict(model.named_buffers())
    for name, value in found["buffers"].items():
        buffers[name].copy_(value)


def generators() -> dict[str, Any]:
    """The states of every random generator that a trial may use, beside those that it makes itself."""
    kind, words, *rest = np.random.get_state(legacy=True)  # noqa: NPY002 - models may draw from the global generator
    return {
        "python": random.getstate(),
        "numpy": (str(kind), torch.from_numpy(np.asarray(words).astype(np.int64)), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
    }


def set_generators(states: Mapping[str, Any]) -> None:
    """Sets them to where they were."""
    random.setstate(states["python"])
    kind, words, *rest = states["numpy"]
    np.random.set_state((kind, words.numpy().astype(np.uint32), *rest))  # noqa: NPY002 - as above
    torch.set_rng_state(states["torch"])
    if states["cuda"]:
        torch.cuda.set_rng_state_all(states["cuda"])

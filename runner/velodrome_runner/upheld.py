"""Upholds a trial's conditions while code of an entry runs: what that code changed is set back, and noted.

An import, a factory or a forward pass of an entry may change what holds for the whole process: the number of threads,
determinism, the seed. The trial would then be measured under other conditions than its record says.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from velodrome_runner.log import complain

# A trial has a setting for each of these, and an entry's code can change each at four moments.
MOST_CHANGES = 100
_DIGITS = 16


@dataclass(frozen=True, slots=True)
class _Setting:
    """Something that holds for the whole process. `get` may raise RuntimeError for a value that torch can't name."""

    name: str
    get: Callable[[], Any]
    put: Callable[[Any], object]


def _attribute(owner: object, name: str) -> tuple[Callable[[], Any], Callable[[Any], object]]:
    return lambda: getattr(owner, name), lambda value: setattr(owner, name, value)


# In the order in which they are set back: the general rule for a precision comes before the rules of its parts.
_SETTINGS = (
    _Setting("threads", torch.get_num_threads, torch.set_num_threads),
    _Setting(
        "determinism",
        torch.get_deterministic_debug_mode,
        lambda mode: torch.use_deterministic_algorithms(mode > 0, warn_only=mode == 1),
    ),
    _Setting("cudnn.benchmark", *_attribute(torch.backends.cudnn, "benchmark")),
    _Setting("cudnn.deterministic", *_attribute(torch.backends.cudnn, "deterministic")),
    _Setting("the precision of float32", *_attribute(torch.backends, "fp32_precision")),
    _Setting("cudnn.fp32_precision", *_attribute(torch.backends.cudnn, "fp32_precision")),
    _Setting(
        "the precision of matrix products", torch.get_float32_matmul_precision, torch.set_float32_matmul_precision
    ),
    _Setting("gradients", torch.is_grad_enabled, torch.set_grad_enabled),
    _Setting("the default dtype", torch.get_default_dtype, torch.set_default_dtype),
    _Setting("the default device", torch.get_default_device, torch.set_default_device),
)
# torch's modes of determinism are numbers.
_WORDS = {("determinism", mode): name for mode, name in enumerate(("off", "warnings", "on"))}


def seed_everything(seed: int) -> None:
    """Seeds every random generator that a trial may use."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - models of other packages may draw from the global generator
    torch.manual_seed(seed)


class Upheld:
    """The process's settings as they are now, and the trial's seed. Create it before any code of an entry runs."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._values = {setting.name: setting.get() for setting in _SETTINGS}
        self.changed: list[str] = []

    def restore(self, who: str, *, reseed: bool = False) -> None:
        """Sets back what differs, and notes it in `changed` as `who`'s doing.

        torch's generators are seeded again if `who` has seeded them. With `reseed`, all generators of a trial are
        seeded again, whatever happened to them.
        """
        for setting in _SETTINGS:
            wanted, found = self._values[setting.name], _value(setting)
            if found != wanted:
                setting.put(wanted)
                there, back = (_WORDS.get((setting.name, value), _words(value)) for value in (found, wanted))
                self._note(f"{who} set {setting.name} to {there}: set back to {back}")
        seeded = [seed for seed in _torch_seeds() if seed != self._seed]
        if seeded:
            self._note(f"{who} seeded torch with {seeded[0]}: seeded again with the trial's seed, {self._seed}")
        if seeded or reseed:
            seed_everything(self._seed)

    def _note(self, change: str) -> None:
        complain(change)
        if len(self.changed) < MOST_CHANGES:
            self.changed.append(change)


def initial_weights(model: nn.Module) -> str | None:
    """A digest of the names and bytes of the trainable parameters; None without any, or if one has no plain bytes."""
    return _digest((name, one) for name, one in model.named_parameters() if one.requires_grad)


def trained_weights(model: nn.Module) -> str | None:
    """A digest of the names and bytes of all parameters and buffers, as `initial_weights`."""
    return _digest((*model.named_parameters(), *model.named_buffers()))


def _digest(tensors: Iterable[tuple[str, torch.Tensor]]) -> str | None:
    hashed = hashlib.sha256()
    count = 0
    for name, tensor in tensors:
        try:
            # Rows in the order of their indices, whatever the memory format; a scalar has no bytes to view as such.
            flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
            hashed.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            hashed.update(flat.numpy().data)
        except (RuntimeError, TypeError, ValueError):  # sparse, quantised and other tensors of an entry
            return None
        count += 1
    return hashed.hexdigest()[:_DIGITS] if count else None


def _torch_seeds() -> list[int]:
    """The seeds that torch's generators were last given: of the CPU, and of each GPU that has been used."""
    if not torch.cuda.is_initialized():
        return [torch.initial_seed()]
    return [torch.initial_seed(), *(generator.initial_seed() for generator in torch.cuda.default_generators)]


def _value(setting: _Setting) -> Any:
    try:
        return setting.get()
    except RuntimeError:
        return "a mixture"


def _words(value: Any) -> str:
    match value:
        case True | False:
            return "on" if value else "off"
        case _:
            return str(value).removeprefix("torch.")

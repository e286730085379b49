"""Keeps torch's compiler out of trials that don't compile.

torch's optimizers and its counter of FLOPs import the compiler, torch._dynamo, at their first call, only to tell it
where it must not look. The import takes more CPU time than importing torch itself, and than many trials. Where nothing
is compiled, it is of no use.
"""

from __future__ import annotations

import functools
import importlib
import logging
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.optim import Optimizer
from torch.utils._python_dispatch import TorchDispatchMode

# torch looks for this attribute of a function first, and imports the compiler only if it is missing.
_UNCOMPILED = "__dynamo_disable"


def spare_the_compiler() -> None:
    """Makes torch's optimizers and dispatch modes work without the compiler, unless it is there already.

    Call it after the model was built, because a model that is compiled has imported the compiler, and before an
    optimizer is made. What they compute stays the same. Code that compiles an optimizer's step later, which Velodrome's
    training does not, would let the compiler look into it.
    """
    if "torch._dynamo" in sys.modules:
        return
    # Without Triton, which only the compiler needs, torch says so at this import: in the log of each trial.
    logging.getLogger("torch.utils.flop_counter").setLevel(logging.ERROR)
    importlib.import_module("torch.utils.flop_counter")  # so that its dispatch modes are there

    for kind in (Optimizer, *_below(TorchDispatchMode)):
        for method in tuple(vars(kind).values()):
            plain = getattr(method, "__wrapped__", None)
            if plain is not None and _code(method).co_filename.endswith("_compile.py"):
                setattr(plain, _UNCOMPILED, plain)
    for optimizer in _below(Optimizer):
        step = vars(optimizer).get("step")
        if step is not None and _code(step).co_name == "_use_grad":
            optimizer.step = _step(step.__wrapped__)


def _step(plain: Callable[..., Any]) -> Callable[..., Any]:
    """An optimizer's step that computes gradients of its own only if the optimizer is differentiable, as torch's."""

    @functools.wraps(plain)
    def step(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        with torch.set_grad_enabled(self.defaults["differentiable"]):
            return plain(self, *args, **kwargs)

    return step


def _below(kind: type[Any]) -> Iterator[type[Any]]:
    """All classes that derive from this one."""
    for own in kind.__subclasses__():
        yield own
        yield from _below(own)


def _code(function: Any) -> Any:
    """The function's code; that of this function for something that has none."""
    return getattr(function, "__code__", _code.__code__)

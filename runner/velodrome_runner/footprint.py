"""How big a model is: its parameters, its bytes, and the arithmetic of one sample."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from velodrome_runner.log import words
from velodrome_runner.peak import Unmeasurable

# Operations of torch that multiply a lot and that its counter has no formula for.
_UNCOUNTED = frozenset(
    {"mkldnn_rnn_layer", "_cudnn_rnn", "miopen_rnn", "_trilinear", "_fft_r2c", "_fft_c2c", "_fft_c2r"}
)


def model_bytes(model: nn.Module) -> int:
    """Bytes of all parameters and buffers; one that is used in several places counts once."""
    tensors = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def parameters(model: nn.Module) -> int:
    """Number of trainable parameters; one that is used in several places counts once."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def flops(model: nn.Module, sample: Tensor) -> int:
    """Floating-point operations to classify `sample`, of shape (1, channels, height, width), as torch counts them.

    Matrix products, convolutions and attention count, a multiplication and an addition being two; elementwise work,
    norms and pooling count nothing. The count is taken on a copy of the model on the CPU, in float32, with recurrent
    layers taken apart into the matrix products that they are; so it does not depend on the device.

    Raises:
        Unmeasurable: the model uses an operation that torch has no formula for, or can't be copied or run there.
    """
    counter, seen = FlopCounterMode(display=False), _Operations()
    try:
        probe = copy.deepcopy(model).cpu().float().eval()
        with torch.no_grad(), _without_onednn(), seen, counter:
            probe(sample.cpu().float())
    # A model of one's own may be tied to its device, hold tensors with a history, or what can't be copied.
    except Exception as error:
        raise Unmeasurable(
            f"a copy of the model does not run on the CPU: {type(error).__name__}: {words(error)[:200]}"
        ) from error
    if seen.uncounted:
        raise Unmeasurable(f"torch can't count the operations of {', '.join(sorted(seen.uncounted))}")
    return int(counter.get_total_flops())


@contextmanager
def _without_onednn() -> Iterator[None]:
    """With oneDNN a recurrent layer would be one operation, which the counter takes for nothing.

    `torch.backends.mkldnn.flags` would do the same and warn about TF32, which it sets too.
    """
    mkldnn = torch.backends.mkldnn
    (enabled, *_) = mkldnn.set_flags(_enabled=False, _fp32_precision=None)
    try:
        yield
    finally:
        mkldnn.set_flags(_enabled=enabled, _fp32_precision=None)


class _Operations(TorchDispatchMode):
    """Notes the operations that a FLOP counter must know and does not."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.uncounted: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        namespace, _, name = func._schema.name.partition("::")  # noqa: SLF001 - the mode's own protocol
        if namespace not in ("aten", "prim", "prims") or name in _UNCOUNTED:
            self.uncounted.add(f"{namespace}::{name}")
        return func(*args, **(kwargs or {}))

"""The size of a model: its parameters, its bytes, and the arithmetic for one sample."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from velodrome_runner.log import words
from velodrome_runner.peak import Unmeasurable

# Operations of torch with many multiplications for which its counter has no formula.
_UNCOUNTED = frozenset(
    {"mkldnn_rnn_layer", "_cudnn_rnn", "miopen_rnn", "_trilinear", "_fft_r2c", "_fft_c2c", "_fft_c2r"}
)


def model_bytes(model: nn.Module) -> int:
    """Bytes of all parameters and buffers. A shared one counts once."""
    tensors = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def parameters(model: nn.Module) -> int:
    """Number of trainable parameters. A shared one counts once."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def flops(model: nn.Module, sample: Tensor) -> int:
    """Floating-point operations to classify `sample`, of shape (1, channels, height, width), as torch counts them.

    Matrix products, convolutions and attention count; a multiplication and an addition count as two. Elementwise
    operations, norms and pooling do not count. The count uses a copy of the model on the CPU, in float32, with
    recurrent layers split into their matrix products. So it does not depend on the device.

    Raises:
        Unmeasurable: torch has no formula for an operation of the model, or the model can't be copied or run there.
    """
    # Without Triton, which only torch.compile needs, torch says so at this import: in the log of each trial.
    logging.getLogger("torch.utils.flop_counter").setLevel(logging.ERROR)
    from torch.utils.flop_counter import FlopCounterMode

    counter, seen = FlopCounterMode(display=False), _Operations()
    try:
        probe = copy.deepcopy(model).cpu().float().eval()
        with torch.no_grad(), _without_onednn(), seen, counter:
            probe(sample.cpu().float())
    # Your own model may be tied to its device, or contain tensors with a gradient history, or uncopyable parts.
    except Exception as error:
        raise Unmeasurable(
            f"a copy of the model does not run on the CPU: {type(error).__name__}: {words(error)[:200]}"
        ) from error
    if seen.uncounted:
        raise Unmeasurable(f"torch can't count the operations of {', '.join(sorted(seen.uncounted))}")
    return int(counter.get_total_flops())


@contextmanager
def _without_onednn() -> Iterator[None]:
    """With oneDNN a recurrent layer would be one operation, which the counter counts as 0.

    `torch.backends.mkldnn.flags` would do the same, but it also sets TF32 and warns about that.
    """
    mkldnn = torch.backends.mkldnn
    (enabled, *_) = mkldnn.set_flags(_enabled=False, _fp32_precision=None)
    try:
        yield
    finally:
        mkldnn.set_flags(_enabled=enabled, _fp32_precision=None)


class _Operations(TorchDispatchMode):
    """Notes the operations that a FLOP counter should know but does not."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.uncounted: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        namespace, _, name = func._schema.name.partition("::")  # noqa: SLF001 - the mode's own protocol
        if namespace not in ("aten", "prim", "prims") or name in _UNCOUNTED:
            self.uncounted.add(f"{namespace}::{name}")
        return func(*args, **(kwargs or {}))

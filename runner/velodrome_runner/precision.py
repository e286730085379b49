"""The precision of a trial: float32, TF32, or mixed precision if the hardware supports it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from velodrome.errors import ConfigurationError
from velodrome.vocabulary import Precision

# Makes a new context for one forward pass.
Autocast = Callable[[], contextlib.AbstractContextManager[object]]

_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def autocast(precision: Precision, device: torch.device) -> Autocast:
    """The context of forward passes: an empty one for float32 and tf32, else `torch.autocast`.

    Raises:
        ConfigurationError: `PrecisionUnsupported`, with what this device supports.
    """
    able = supported(device)
    if precision not in able:
        raise ConfigurationError(
            f"training.precision is {precision}, which {_name(device)} does not compute in: use {' or '.join(able)}",
            "PrecisionUnsupported",
        )
    if precision not in _DTYPES:
        return contextlib.nullcontext
    return partial(torch.autocast, device.type, dtype=_DTYPES[precision])


def round_products(precision: Precision) -> None:
    """Lets GPUs round the factors of float32's matrix products and convolutions to TF32 if the trial asks for tf32.

    torch alone would let convolutions and recurrent layers do so by default, which is no float32.
    """
    backends = torch.backends
    # torch's exporter and compiler ask by the older names, and refuse an answer that differs from the newer ones.
    backends.cuda.matmul.allow_tf32 = backends.cudnn.allow_tf32 = precision == "tf32"
    # torch's annotations do not know these modules' attributes.
    places: tuple[Any, ...] = (backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn)  # type: ignore[attr-defined]
    for operations in places:
        operations.fp32_precision = "tf32" if precision == "tf32" else "ieee"


def supported(device: torch.device) -> tuple[Precision, ...]:
    """The precisions that the device has instructions for, without those that torch would only emulate.

    float16 on a CPU is left out too: its range needs loss scaling, and few CPUs multiply in it.
    """
    if device.type == "cuda":
        # Ampere brought both.
        has_bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
        return ("float32", "tf32", "bfloat16", "float16") if has_bfloat16 else ("float32", "float16")
    if device.type == "cpu" and torch.backends.mkldnn.is_available() and _mkldnn_has_bfloat16():
        return ("float32", "bfloat16")
    return ("float32",)


def _mkldnn_has_bfloat16() -> bool:
    """Whether oneDNN, torch's CPU backend, has bfloat16 kernels for this processor (AVX-512 or newer)."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001 - torch has no public question for it


def _name(device: torch.device) -> str:
    return "this CPU" if device.type == "cpu" else torch.cuda.get_device_name(device)

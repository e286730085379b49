"""The steps that make a trained model smaller or faster, before it is evaluated."""

from __future__ import annotations

from pydantic import Field

from velodrome.spec.base import Strict
from velodrome.spec.types import Finite
from velodrome.vocabulary import ExportFormat, Quantization


class Prune(Strict):
    """Sets the weights with the smallest absolute values to 0, counted over all layers together."""

    amount: Finite = Field(gt=0, lt=1, description="Share of the weights that become 0, such as 0.5.")


class OptimizeStep(Strict):
    """One step; write exactly one of its fields."""

    prune: Prune | None = Field(default=None, description="Sets the smallest weights to 0.")
    quantize: Quantization | None = Field(
        default=None,
        description="int8-dynamic: whole numbers of 8 bits in linear, LSTM and GRU layers; on CPUs only.",
    )
    compile: bool | None = Field(
        default=None, description="true: what torch.compile makes of the model; it needs a C++ compiler."
    )
    export: ExportFormat | None = Field(
        default=None, description="onnx: predictions by onnxruntime on CPUs; it needs the extra velodrome[onnx]."
    )

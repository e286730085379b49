"""A model as an ONNX graph that onnxruntime runs. Both are of the extra `velodrome[onnx]`."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from velodrome.errors import ConfigurationError
from velodrome_runner.inputs.base import Inputs
from velodrome_runner.log import words

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


def require_onnx() -> None:
    """Imports what exporting needs.

    Raises:
        ConfigurationError: reason ExtraMissing.
    """
    try:
        import onnxruntime  # noqa: F401 - torch and OnnxModel import them where they are used
        import onnxscript  # noqa: F401 - as above
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"export: onnx needs {error.name}, which is not installed: pip install 'velodrome[onnx]', or build it into "
            "the runner's image",
            "ExtraMissing",
        ) from error


class OnnxModel(nn.Module):
    """Answers as the exported model does, on the CPU, with as many threads as torch has. Inputs are as for the model.

    `weight_bytes` are those of the graph's constants. The graph holds everything: the module has no parameters.
    """

    def __init__(self, session: InferenceSession, weight_bytes: int) -> None:
        super().__init__()
        self.weight_bytes = weight_bytes
        self._session = session
        self._names = [each.name for each in session.get_inputs()]

    def forward(self, *inputs: Tensor, **named: Tensor) -> Tensor:
        """The graph's only output."""
        given = named or dict(zip(self._names, inputs, strict=True))
        feeds = {name: given[name].detach().contiguous().numpy() for name in self._names}
        (answer,) = self._session.run(None, feeds)
        return torch.from_numpy(answer)


def exported(model: nn.Module, inputs: Inputs, name: str) -> OnnxModel:
    """The model as onnxruntime runs it, for batches of any size. `inputs` are of two samples or more.

    Raises:
        ConfigurationError: reason OptimizeFailed: torch can't export an operation of it, or onnxruntime can't run it.
    """
    from onnxruntime import InferenceSession, SessionOptions

    named = isinstance(inputs, Mapping)
    options = SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
    options.log_severity_level = 3  # errors
    model.eval()
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            made = torch.onnx.export(
                model,
                () if named else (inputs,),
                kwargs=dict(inputs) if named else None,
                dynamic_shapes=_dynamic(inputs),
                dynamo=True,
                verbose=False,
            )
        assert made is not None
        constants = [each.const_value for each in made.model.graph.initializers.values()]
        session = InferenceSession(
            made.model_proto.SerializeToString(), sess_options=options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        raise ConfigurationError(f"{name} can't be exported to ONNX: {_why(error)}", "OptimizeFailed") from error
    if len(session.get_outputs()) != 1:
        raise ConfigurationError(
            f"{name} can't be raced as ONNX: it answers with {len(session.get_outputs())} tensors instead of one",
            "OptimizeFailed",
        )
    return OnnxModel(session, sum(each.nbytes for each in constants if each is not None))


def _dynamic(inputs: Inputs) -> Any:
    """Which axes may have another length in another batch: the samples, and the steps where lengths differ."""
    free = torch.export.Dim.DYNAMIC
    if isinstance(inputs, Tensor):
        return ({0: free},)
    varies = "lengths" in inputs
    return {
        name: {0: free, tensor.ndim - 1: free} if varies and tensor.ndim > 1 else {0: free}
        for name, tensor in inputs.items()
    }


def _why(error: BaseException) -> str:
    """The error that the others are about: torch's own words name steps of its exporter."""
    while error.__cause__ is not None:
        error = error.__cause__
    first, *others = (line.strip(" -") for line in words(error).splitlines())
    said = f"{first} {others[0]}" if first.endswith(":") and others else first
    return f"{type(error).__name__}: {said[:500]}"

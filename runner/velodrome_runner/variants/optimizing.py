"""An entry's steps, one after another, on its trained model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from velodrome.errors import ConfigurationError, TrialFailed
from velodrome.plan import TrialConfig
from velodrome.spec import OptimizeStep
from velodrome.text import counted
from velodrome_runner.footprint import model_bytes, parameters
from velodrome_runner.inputs.base import Inputs, samples_of
from velodrome_runner.log import first_line
from velodrome_runner.memory import ran_out
from velodrome_runner.precision import Autocast
from velodrome_runner.preprocessing import Prepared
from velodrome_runner.variants import compiling, exporting, pruning, quantizing

# Why a model can't be optimized, in one word.
REASONS = frozenset(
    {"DeviceUnsupported", "ExtraMissing", "CompilerMissing", "NothingToOptimize", "OptimizeFailed", "OutputsDiffer"}
)
# Samples that every variant answers before it is measured. A graph that holds the size of a batch fails at one of them.
_EXAMPLES = (1, 3)
_LENGTHS = 32  # so many test samples of different lengths are compared one by one
_CLOSE = 1e-3  # how far the answers of an exported model may be off, relative to the largest


@dataclass(slots=True)
class Optimized:
    """The model that is evaluated and timed, and what is known of it.

    `parameters` and `nonzero` are of the trained model and of the pruned one. FLOPs are those of `counted`, or
    unavailable for the reason `uncounted`. `seconds` has the time of the steps by metric key.
    """

    model: nn.Module
    context: Autocast
    parameters: int
    nonzero: int
    counted: nn.Module
    uncounted: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        """Bytes of what the model's state holds, in the form in which it predicts."""
        return self.model.weight_bytes if isinstance(self.model, exporting.OnnxModel) else model_bytes(self.counted)


def optimize(
    config: TrialConfig,
    model: nn.Module,
    prepared: Prepared,
    *,
    context: Autocast,
    clock: Callable[[], float],
    rehearsed: bool = False,
) -> Optimized:
    """The entry's trained model after its steps, which change `model`; `model` itself without any.

    Importing the libraries of a step is no part of its time. A rehearsal looks for the compiler, and does not compile.
    Int8 layers and onnxruntime compute in float32 otherwise, whatever the precision of the training was.

    Raises:
        ConfigurationError: reason DeviceUnsupported, ExtraMissing, CompilerMissing, NothingToOptimize or
            OptimizeFailed.
        TrialFailed: reason OutputsDiffer: the exported model answers otherwise than the trained one.
    """
    size = parameters(model)
    found = Optimized(model, context, size, pruning.nonzero(model), counted=model)
    if config.optimize is None:
        return found
    assert config.model is not None
    maker = _Maker(found, config, prepared, clock, rehearsed=rehearsed)
    model.eval()
    for step in config.optimize:
        maker.take(step)
    maker.check()
    return found


class _Maker:
    """Applies steps to what was found so far."""

    def __init__(
        self, found: Optimized, config: TrialConfig, prepared: Prepared, clock: Callable[[], float], *, rehearsed: bool
    ) -> None:
        assert config.model is not None
        self._found, self._prepared, self._clock, self._rehearsed = found, prepared, clock, rehearsed
        self._name = config.model.name
        self._graph: exporting.OnnxModel | None = None
        inference, serving = config.evaluation.inference, config.evaluation.serving
        served = () if serving is None else (serving.max_batch_size,)
        sizes = (*_EXAMPLES, *inference.batch_sizes, *served, max(config.training.batch_size, 64))
        self._sizes = tuple(dict.fromkeys(sizes))

    def take(self, step: OptimizeStep) -> None:
        """Applies one step, and notes its time."""
        if step.prune is not None:
            self._timed("conversion_seconds", self._prune, step.prune.amount)
        elif step.quantize is not None:
            self._on_cpu(f"quantize: {step.quantize}")
            self._timed("conversion_seconds", self._quantize)
        elif step.export is not None:
            self._on_cpu(f"export: {step.export}")
            exporting.require_onnx()
            self._timed("conversion_seconds", self._export)
            self._predict_by_graph()
        else:
            compiling.require_compiler()
            if not self._rehearsed:
                self._timed("compile_seconds", self._compile)

    def check(self) -> None:
        """Lets the model answer a few samples."""
        for size in _EXAMPLES:
            outputs = self._call(self._found.model, size)
            problem = self._prepared.task.unusable(outputs, size, training=False)
            if problem is not None:
                raise ConfigurationError(f"{self._name}, when optimized: {problem}", "OptimizeFailed")

    def _timed(self, key: str, act: Callable[..., None], *given: Any) -> None:
        begun = self._clock()
        act(*given)
        self._found.seconds[key] = self._found.seconds.get(key, 0.0) + self._clock() - begun

    def _prune(self, amount: float) -> None:
        self._found.done.append(pruning.pruned(self._found.model, amount))
        self._found.nonzero = pruning.nonzero(self._found.model)

    def _quantize(self) -> None:
        self._found.model, done = quantizing.quantized(self._found.model, self._name)
        self._found.counted, self._found.context = self._found.model, nullcontext
        self._found.uncounted = "layers in int8 compute with whole numbers, which are no floating-point operations"
        self._found.done.append(done)

    def _compile(self) -> None:
        self._found.model, done = compiling.compiled(self._found.model, self._both_ways, self._sizes, self._name)
        self._found.done.append(done)

    def _export(self) -> None:
        self._found.context = nullcontext
        self._graph = exporting.exported(self._found.model, self._prepared.example(_EXAMPLES[-1]), self._name)

    def _predict_by_graph(self) -> None:
        """Puts the graph in the model's place if it answers alike, whatever the size of a batch and its lengths are.

        A model may decide by sizes in code of its own. The graph then has the branch of its example alone.
        """
        assert self._graph is not None
        most = 0.0
        for inputs in self._compared():
            wanted, got = (self._answers(model, inputs) for model in (self._found.model, self._graph))
            off = _distance(wanted, got)
            if not off <= _CLOSE:
                raise TrialFailed(
                    "OutputsDiffer",
                    f"{self._name} as ONNX has other answers for {_described(inputs)}: they differ by {off:.2g} of the "
                    "largest. Its code may decide by such sizes, or by values; else leave the step out",
                )
            most = max(most, off)
        self._found.model = self._graph
        self._found.uncounted = "onnxruntime's operations are not counted"
        self._found.done.append(f"export onnx: answers differ by at most {most:.1g} of the largest")

    def _compared(self) -> Iterator[Inputs]:
        """Batches of each size, and one test sample of each length, or of some from the shortest to the longest."""
        yield from map(self._prepared.example, self._sizes)
        order = self._prepared.by_length("test")
        if order is not None:
            some = torch.linspace(0, len(order) - 1, min(len(order), _LENGTHS)).long()
            yield from (batch.inputs for batch in self._prepared.batches(1, split="test", order=order[some]))

    def _call(self, model: nn.Module, size: int) -> Any:
        """As `_raw_call`; what the model raises is the reason of the trial."""
        try:
            return self._raw_call(model, size)
        except Exception as error:
            if ran_out(error):
                raise
            raise ConfigurationError(
                f"{self._name}, when optimized, does not take {counted(size, 'sample')}: {type(error).__name__}: "
                f"{first_line(error)}",
                "OptimizeFailed",
            ) from error

    def _raw_call(self, model: nn.Module, size: int) -> Any:
        """The answers to so many samples, in the way in which the model is timed."""
        return self._answers(model, self._prepared.example(size))

    def _answers(self, model: nn.Module, inputs: Inputs) -> Any:
        with torch.inference_mode(), self._found.context():
            return self._prepared.task.call(model.eval(), inputs)

    def _both_ways(self, model: nn.Module, size: int) -> None:
        """Calls the model as when it is timed, and as when it is evaluated, in two kinds of tensors.

        torch compiles a model for each of the two.
        """
        self._raw_call(model, size)
        with torch.inference_mode():
            self._raw_call(model, size)

    def _on_cpu(self, step: str) -> None:
        if self._prepared.device.type != "cpu":
            raise ConfigurationError(
                f"{step} works on CPUs only, and this trial has a GPU: race it in a job without GPUs",
                "DeviceUnsupported",
            )


def _described(inputs: Inputs) -> str:
    """A batch, in words."""
    many = counted(samples_of(inputs), "sample")
    if isinstance(inputs, Tensor) or "lengths" not in inputs:
        return f"a batch of {many}"
    return f"a batch of {many} with {counted(int(inputs['lengths'].max()), 'step')} at most"


def _distance(wanted: Tensor, got: Tensor) -> float:
    """The largest difference of two answers, relative to the largest value of the first."""
    return float((wanted - got).abs().max() / wanted.abs().max().clamp(min=1e-6))

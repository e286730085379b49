"""Checks a model against its data before it trains: in evaluation mode, and with one real step in training mode."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from velodrome.errors import ConfigurationError
from velodrome.text import counted
from velodrome_runner.inputs.base import Inputs, repeated
from velodrome_runner.log import words
from velodrome_runner.precision import Autocast
from velodrome_runner.preprocessing import Prepared
from velodrome_runner.ranks import ALONE, Ranks
from velodrome_runner.tasks.base import Task

# A batch of one sample is timed, and may be the last one of a split: a model must not drop its axis.
_SAMPLES = (2, 1)
_IMAGES = 4  # axes of a batch of images
# torch's words for a layer that shrinks an image to nothing, or to a single value.
_TOO_SMALL = ("Output size is too small", "can't be greater than actual input size", "more than 1 value per channel")


def check_model(
    model: nn.Module,
    prepared: Prepared,
    *,
    name: str,
    batch_size: int,
    seed: int,
    ranks: Ranks = ALONE,
    context: Autocast = nullcontext,
) -> None:
    """Sends a few samples through the model in evaluation mode, then makes one training step of the real batch size.

    Leaves the model as it was, in training mode: its parameters, its running statistics and torch's random state.

    Raises:
        ConfigurationError: `ModelForwardFailed`, `ModelOutputShape`, `ModelSeesAhead`, `NothingToTrain` or
            `BatchTooSmall`.
    """
    task = prepared.task
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ConfigurationError(
            f"{name} has no trainable parameter: leave requires_grad on for those that should learn", "NothingToTrain"
        )
    with _unchanged(model, prepared.device):
        model.eval()
        example = prepared.example(max(_SAMPLES))
        for samples in _SAMPLES:
            with torch.no_grad(), context():
                shown = repeated(example, samples)
                outputs = _outputs(partial(task.call, model, shown), shown, name, "evaluation")
            _check(task, outputs, samples, name, "evaluation")
        with torch.no_grad():
            leak = task.leak(model, example)
        if leak is not None:
            raise ConfigurationError(f"{name} can't be judged: {leak}", "ModelSeesAhead")
        generator = torch.Generator(prepared.device).manual_seed(seed)
        batch = next(prepared.batches(batch_size, generator, ranks=ranks))
        model.train()
        with context():
            outputs = _outputs(partial(task.call_in_training, model, batch), batch.inputs, name, "training")
            _check(task, outputs, len(batch.targets), name, "training")
            loss, _ = task.loss(outputs, batch.targets)
        if not loss.requires_grad:
            raise ConfigurationError(
                f"{name} answers without a gradient in training mode: leave out no_grad, detach and the like",
                "NothingToTrain",
            )
        try:
            loss.backward()
        # Whatever the backward pass of a model raises is the reason of its trial.
        except Exception as error:
            if _of_the_machine(error):
                raise
            raise ConfigurationError(
                f"{name} can't be trained: its backward pass raised {type(error).__name__}: {words(error)}",
                "ModelForwardFailed",
            ) from error
        _check_gradients(model, name)
    model.train()


def _check_gradients(model: nn.Module, name: str) -> None:
    for path, parameter in model.named_parameters():
        if parameter.is_complex() or (parameter.grad is not None and parameter.grad.is_sparse):
            kind = "complex" if parameter.is_complex() else "a sparse gradient"
            fix = "real parameters" if parameter.is_complex() else "sparse=False"
            raise ConfigurationError(
                f"{name} can't be trained: {path} {'is' if parameter.is_complex() else 'has'} {kind}, which the "
                f"optimizers do not take: use {fix}",
                "ModelForwardFailed",
            )


def _outputs(call: Callable[[], Any], inputs: Inputs, name: str, mode: str) -> Any:
    try:
        return call()
    except (Exception, SystemExit) as error:  # any exception of a model is the reason of its trial
        if _of_the_machine(error):
            raise
        said = words(error)
        if mode == "training" and "more than 1 value per channel" in said:
            raise ConfigurationError(
                f"{name} has batch normalisation, which can't learn from a batch of one sample: write a "
                "training.batchSize of 2 or more, and have as many training samples",
                "BatchTooSmall",
            ) from error
        hint = _hint(said, inputs)
        raise ConfigurationError(
            f"{name} does not take batches of {_shapes(inputs)} in {mode} mode: {type(error).__name__}: {said}{hint}",
            "ModelForwardFailed",
        ) from error


def _hint(said: str, inputs: Inputs) -> str:
    """What to do about an error of a model, where its words tell that; with the full stop before it."""
    if isinstance(inputs, Tensor) and inputs.ndim == _IMAGES and any(words_ in said for words_ in _TOO_SMALL):
        return ". Its images are too small for it: write a larger spec.dataset.imageSize, or another model"
    return ". Batches are in channels-last memory: use reshape where view fails" if "view" in said else ""


def _check(task: Task, outputs: Any, samples: int, name: str, mode: str) -> None:
    problem = task.unusable(outputs, samples, training=mode == "training")
    if problem is not None:
        found = f"the shape {tuple(outputs.shape)}" if isinstance(outputs, Tensor) else f"a {type(outputs).__name__}"
        raise ConfigurationError(
            f"{name} answers {counted(samples, 'sample')} with {found} in {mode} mode: {problem}", "ModelOutputShape"
        )


def _shapes(inputs: Inputs) -> str:
    if isinstance(inputs, Tensor):
        return f"shape {tuple(inputs.shape)}"
    return " and ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in inputs.items())


def _of_the_machine(error: BaseException) -> bool:
    """Whether the error is no fault of the model: memory ran out, or determinism was asked for."""
    said = words(error)
    return (
        isinstance(error, MemoryError | torch.OutOfMemoryError | ConfigurationError)
        or "can't allocate memory" in said
        or "deterministic" in said
    )


@contextmanager
def _unchanged(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Gives the model its buffers back, takes its gradients away, and gives torch its random state back."""
    buffers = {id(buffer): (buffer, buffer.detach().clone()) for buffer in model.buffers()}
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else ()):
            yield
    finally:
        with torch.no_grad():
            for buffer, before in buffers.values():
                buffer.copy_(before)
        model.zero_grad(set_to_none=True)

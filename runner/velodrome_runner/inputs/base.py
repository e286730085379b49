"""What makes a model's inputs of raw samples: the protocol that each kind of data has one module for."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from velodrome.vocabulary import DataKind
from velodrome_runner.augmentation import Mixing
from velodrome_runner.data import Held, Memory, Part, Samples, SampleSource
from velodrome_runner.data.ragged import Ragged

# One tensor, which is the model's only argument, or tensors by the names of its parameters.
Inputs = Tensor | Mapping[str, Tensor]
View = Callable[[Inputs], Inputs]


def _unchanged(inputs: Inputs) -> Inputs:
    return inputs


@dataclass(frozen=True, slots=True)
class PackedInputs:
    """The inputs of samples of unequal lengths on the device, without padding. `view` is what a model gets of them."""

    field: str
    rows: Ragged
    view: View = _unchanged

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def lengths(self) -> Tensor | None:
        """The length of each sample, if the model takes lengths."""
        shown = self.view(dict.fromkeys((self.field, "lengths"), self.rows.lengths))
        return None if isinstance(shown, Tensor) else shown.get("lengths")

    def shown(self, view: View) -> PackedInputs:
        """The same inputs for a model with this view."""
        return replace(self, view=view)

    def taken(self, indices: Tensor) -> Inputs:
        """The samples at those indices, in that order, padded as the model needs it."""
        values, lengths = self.rows.padded(indices)
        return self.view({self.field: values, "lengths": lengths})


# Number of samples to convert at once, so that reading a large data set needs little more memory than the result.
CHUNK = 4096
# Statistics of a set that does not fit in memory come from this many samples, evenly spaced. To read all of a large set
# takes as long as an epoch, and more than all else before its training. The record says that it was so.
FITTED = 16_384


class Transform(ABC):
    """Preprocessing that was fitted on the training split alone, for any samples of the same kind.

    `shape` is that of one sample as models get it: images (channels, height, width); sequences (channels, longest), and
    None as the length where sequences differ; tables (features,); texts (window,); documents
    (longest,) or (None,). `told` is what else a factory is
    told.
    """

    kind: ClassVar[DataKind]
    device: torch.device
    shape: tuple[Any, ...]
    told: Mapping[str, Any]
    # How many samples `whole` converts at once.
    at_once: int = CHUNK
    # Whether training samples are changed at random, by `augment`.
    augments: bool = False
    # How many training samples it was fitted on, where those are not all.
    fitted: int | None = None
    # How the samples of a training batch are mixed with each other, and their labels with them.
    mixing: Mixing | None = None

    @abstractmethod
    def __call__(self, samples: Samples, *, training: bool = False) -> Inputs:
        """The samples as inputs on the device. `training`: without what `augment` does later."""

    @abstractmethod
    def nbytes(self, source: SampleSource) -> int:
        """Bytes of the whole source as inputs."""

    def augment(self, inputs: Inputs, generator: torch.Generator) -> Inputs:
        """The inputs with random changes."""
        raise NotImplementedError

    def view(self, model: nn.Module) -> View:  # noqa: ARG002 - kinds with several tensors look at it
        """What turns inputs into those that this model's forward takes."""
        return _unchanged

    def whole(self, source: SampleSource, *, training: bool = False) -> Inputs | PackedInputs:
        """The inputs of all samples of a source, which fit on the device."""
        parts = [self(samples, training=training) for samples in chunks(source, self.at_once)]
        if isinstance(parts[0], Tensor):
            return torch.cat(parts)  # type: ignore[arg-type]  # all are tensors, as the first is
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}  # type: ignore[index]


def chunks(source: SampleSource, size: int = CHUNK) -> Iterator[Samples]:
    """All samples of a source in their order, some at a time; without a copy of those in memory."""
    for start in range(0, len(source), size):
        if isinstance(source, Memory):
            samples = source.samples
            inputs = {name: tensor[start : start + size] for name, tensor in samples.inputs.items()}
            yield Samples(inputs, samples.targets[start : start + size])
        else:
            yield source.take(torch.arange(start, min(start + size, len(source))))


def few_of(train: SampleSource) -> SampleSource:
    """The samples that statistics come from: all of those in memory."""
    if isinstance(train, Held) or len(train) <= FITTED:
        return train
    return Part(train, torch.arange(FITTED) * len(train) // FITTED)


def taken(inputs: Inputs | PackedInputs, indices: Tensor) -> Inputs:
    """The samples at those indices, in that order."""
    if isinstance(inputs, PackedInputs):
        return inputs.taken(indices)
    if isinstance(inputs, Tensor):
        return _rows(inputs, indices)
    if "lengths" in inputs:
        inputs = trimmed(inputs, inputs["lengths"].index_select(0, indices))
    return {name: _rows(tensor, indices) for name, tensor in inputs.items()}


def trimmed(inputs: Mapping[str, Tensor], lengths: Tensor) -> Mapping[str, Tensor]:
    """Sequences without the padding after the longest of these lengths."""
    longest = int(lengths.max())
    return {name: tensor if name == "lengths" else tensor[..., :longest] for name, tensor in inputs.items()}


def _rows(tensor: Tensor, indices: Tensor) -> Tensor:
    if tensor.ndim != 4:
        return tensor.index_select(0, indices)
    # In a view with the channels last, each image is one contiguous piece of memory.
    return tensor.permute(0, 2, 3, 1).index_select(0, indices).permute(0, 3, 1, 2)


def split(inputs: Inputs, size: int) -> Iterator[Inputs]:
    """The inputs in batches of this size; the last may be smaller."""
    if isinstance(inputs, Tensor):
        yield from inputs.split(size)
        return
    names = list(inputs)
    for tensors in zip(*(inputs[name].split(size) for name in names), strict=True):
        batch = dict(zip(names, tensors, strict=True))
        yield trimmed(batch, batch["lengths"]) if "lengths" in batch else batch


def copied(inputs: Inputs) -> Inputs:
    """The same inputs in memory of their own, in the same memory format."""
    return inputs.clone() if isinstance(inputs, Tensor) else {name: each.clone() for name, each in inputs.items()}


def repeated(inputs: Inputs, size: int) -> Inputs:
    """A batch of this size from the first samples, repeated if there are too few; images in channels-last memory."""
    if isinstance(inputs, Tensor):
        batch = inputs[torch.arange(size, device=inputs.device) % len(inputs)]
        return batch.contiguous(memory_format=torch.channels_last) if batch.ndim == 4 else batch
    return {name: repeated(tensor, size) for name, tensor in inputs.items()}  # type: ignore[misc]


def samples_of(inputs: Inputs) -> int:
    """The number of samples."""
    return len(inputs if isinstance(inputs, Tensor) else next(iter(inputs.values())))


def window(inputs: Inputs, first: int, last: int) -> Inputs:
    """The samples from `first` to before `last`, without a copy where memory allows it."""
    if isinstance(inputs, Tensor):
        return inputs[first:last]
    found = {name: tensor[first:last] for name, tensor in inputs.items()}
    return trimmed(found, found["lengths"]) if "lengths" in found else found


def apply(model: nn.Module, inputs: Inputs) -> Any:
    """The model's outputs: for its only argument, or for arguments by name."""
    return model(inputs) if isinstance(inputs, Tensor) else model(**inputs)


def parameters(model: nn.Module) -> tuple[str, ...]:
    """The names of the parameters of a model's forward."""
    return tuple(inspect.signature(model.forward).parameters)


def with_lengths(model: nn.Module, values: str, longest: int) -> View:
    """Of inputs with those names and `lengths`, what a forward takes: both, or the values as its only argument.

    The only argument is padded to `longest`, because nothing else tells such a model where a sample ends.
    """
    names = parameters(model)
    if "lengths" not in names:
        return lambda inputs: _as_long(inputs[values], longest)  # type: ignore[index]  # these inputs have names
    first = next(name for name in names if name != "lengths")
    return lambda inputs: {first: inputs[values], "lengths": inputs["lengths"]}  # type: ignore[index]  # as above


def _as_long(values: Tensor, longest: int) -> Tensor:
    short = longest - values.shape[-1]
    return functional.pad(values, (0, short)) if short > 0 else values

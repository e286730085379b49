"""What every format gives: samples, the sources that are read by index, and the contents of a data set. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional

from velodrome.vocabulary import DataKind
from velodrome_runner.data.ragged import Ragged
from velodrome_runner.data.windows import IGNORED, cut

Kind = DataKind
# A name, the shape of a tensor, and the tensor in pieces along its first axis.
Named = tuple[str, tuple[int, ...], Iterator[Tensor]]

_DIGESTED = 2**20  # values that are padded at a time for a digest
_PADDED = 2**28  # values that a digest covers as if they were padded
_GATHERED = 2**22  # values that are read at a time, to be kept


@dataclass(frozen=True, slots=True)
class Samples:
    """A batch, or a whole split in memory, on the CPU and before preprocessing.

    `inputs` has, by kind:

    - images: `images` (n, channels, height, width) uint8;
    - sequences: `values` (n, channels, length of the longest of them, or more) float32, 0 after each sequence's end,
      and `lengths` (n,) int64;
    - table: `numeric` (n, p) float64 with NaN for a missing value, and `categorical` (n, q) int64, which are positions
      in the column's categories, -1 for a missing value;
    - text: `tokens` (n, window) int64, which are positions in the vocabulary;
    - scenes and masks: `images` (n, channels, height, width) uint8;
    - documents: `tokens` (n, length of the longest of them) int32, which are positions among all words, 0 after a
      text's end, and `lengths` (n,) int64.

    `targets` are labels (n,) int64, values (n,) float64, the next tokens (n, window) int64, boxes (n, most, 8)
    float64 (`velodrome_runner.data.scenes`), or the label of each pixel (n, height, width) uint8.
    """

    inputs: Mapping[str, Tensor]
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def nbytes(self) -> int:
        """Bytes that the samples take in memory."""
        return sum(tensor.nbytes for tensor in (*self.inputs.values(), self.targets))

    def take(self, indices: Tensor) -> Samples:
        """The samples at those indices, in that order."""
        return Samples({name: tensor[indices] for name, tensor in self.inputs.items()}, self.targets[indices])


@runtime_checkable
class SampleSource(Protocol):
    """A split that is read by index, and never as a whole unless `nbytes` says that it fits.

    `targets` and `lengths` are known without reading any input; masks are read when `targets` is asked for. A source
    can be pickled, so that a worker process can read it.
    """

    @property
    def targets(self) -> Tensor:
        """The targets of all samples, as in `Samples`."""

    @property
    def lengths(self) -> Tensor | None:
        """The length of each sequence, (n,) int64; None for images and tables."""

    @property
    def nbytes(self) -> int:
        """Bytes that all samples would take in memory."""

    def __len__(self) -> int: ...

    def take(self, indices: Tensor) -> Samples:
        """The samples at those indices, in that order.

        Raises:
            ConfigurationError: a sample can't be read; the message names its file.
        """


@dataclass(frozen=True, slots=True)
class Memory:
    """A source whose samples are all in memory."""

    samples: Samples

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def targets(self) -> Tensor:
        """The targets of all samples."""
        return self.samples.targets

    @property
    def lengths(self) -> Tensor | None:
        """The length of each sequence."""
        return self.samples.inputs.get("lengths")

    @property
    def nbytes(self) -> int:
        """Bytes that the samples take."""
        return self.samples.nbytes

    def take(self, indices: Tensor) -> Samples:
        """The samples at those indices, in that order."""
        return self.samples.take(indices)

    def tensors(self) -> Iterator[Named]:
        """All tensors by the order of their names, the targets last."""
        for name, tensor in (*sorted(self.samples.inputs.items()), ("targets", self.targets)):
            yield name, tuple(tensor.shape), iter((tensor,))


@dataclass(frozen=True, slots=True)
class Unpadded:
    """A source of sequences or documents of unequal lengths, all in memory, which keeps no padding.

    `rows` has the steps of each sample, with its channels if there are some, and `field` is what `Samples` calls them.
    `longest` is the length of the longest sample of the whole data set.
    """

    field: str
    rows: Ragged
    targets: Tensor
    longest: int

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def lengths(self) -> Tensor:
        """The length of each sample."""
        return self.rows.lengths

    @property
    def nbytes(self) -> int:
        """Bytes that the samples take."""
        return self.rows.nbytes + self.targets.nbytes

    def take(self, indices: Tensor) -> Samples:
        """The samples at those indices, in that order, padded to the longest of them."""
        values, lengths = self.rows.padded(indices)
        return Samples({self.field: values, "lengths": lengths}, self.targets[indices])

    def tensors(self) -> Iterator[Named]:
        """As `Memory.tensors`, and as if each sample were padded to the longest of the data set.

        Where that would be too many values, the steps of all samples are one behind the other, (steps, *).
        """
        one = self.rows.flat.shape[1:]
        yield "lengths", (len(self),), iter((self.lengths,))
        if len(self) * one.numel() * self.longest <= _PADDED:
            yield self.field, (len(self), *one, self.longest), self._padded()
        else:
            yield self.field, (self.rows.steps, *one), self.rows.pieces(max(1, _DIGESTED // one.numel()))
        yield "targets", tuple(self.targets.shape), iter((self.targets,))

    def _padded(self) -> Iterator[Tensor]:
        size = self.longest * self.rows.flat[0].numel()
        for indices in torch.arange(len(self)).split(max(1, _DIGESTED // max(size, 1))):
            values, _ = self.rows.padded(indices)
            yield functional.pad(values, (0, self.longest - values.shape[-1]))


@dataclass(frozen=True, slots=True)
class TokenWindows:
    """A source of windows of a stream (n,) of tokens, n > `size`, and, one place further on, of their targets.

    `once`: targets that an earlier window has are `IGNORED`, so that each token but the first is predicted exactly
    once. `mapped`: the stream is a file that is read when it is needed.
    """

    stream: Tensor
    size: int
    once: bool
    mapped: bool = False

    def __len__(self) -> int:
        return -(-self._last // self.size) + 1

    @property
    def _last(self) -> int:
        """Where the last window begins."""
        return len(self.stream) - 1 - self.size

    @property
    def targets(self) -> Tensor:
        """The targets of all windows, cut now: they take many times the memory of the stream."""
        return self.take(torch.arange(len(self))).targets

    @property
    def lengths(self) -> None:
        """All windows are equally long."""
        return

    @property
    def nbytes(self) -> int:
        """Bytes that the stream takes."""
        return self.stream.nbytes

    def on(self, device: torch.device) -> TokenWindows:
        """The same windows of a stream on that device, which is copied only if it is elsewhere."""
        return replace(self, stream=self.stream.to(device))

    def take(self, indices: Tensor) -> Samples:
        """The windows at those indices, in that order."""
        tokens, following = cut(self.stream, (indices * self.size).clamp_(max=self._last), self.size)
        overlap = -self._last % self.size  # of the last window with the one before
        if self.once and overlap:
            passed = torch.arange(self.size, device=self.stream.device) < overlap
            following.masked_fill_((indices == len(self) - 1)[:, None] & passed, IGNORED)
        return Samples({"tokens": tokens}, following)


# What is in memory as tensors of all samples, and what is in memory at all.
Tensors = Memory | Unpadded
Held = Tensors | TokenWindows


@dataclass(frozen=True, slots=True)
class Part:
    """The samples of another source at `indices`, in that order."""

    source: SampleSource
    indices: Tensor

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def targets(self) -> Tensor:
        """The targets of these samples."""
        return self.source.targets[self.indices]

    @property
    def lengths(self) -> Tensor | None:
        """The length of each of these sequences."""
        return None if self.source.lengths is None else self.source.lengths[self.indices]

    @property
    def nbytes(self) -> int:
        """Bytes that these samples would take, if all samples of the source take the same."""
        return self.source.nbytes * len(self) // max(len(self.source), 1)

    def take(self, indices: Tensor) -> Samples:
        """The samples at those indices of this part, in that order."""
        return self.source.take(self.indices[indices])


def part(source: SampleSource, indices: Tensor) -> SampleSource:
    """The samples of a source at those indices, in that order; copied only if they are in memory."""
    if isinstance(source, Memory):
        return Memory(source.take(indices))
    if isinstance(source, Unpadded):
        return replace(source, rows=source.rows.chosen(indices), targets=source.targets[indices])
    return Part(source, indices)


def whole(source: SampleSource) -> Samples:
    """All samples of a source. The caller has made sure that they fit in memory."""
    return source.samples if isinstance(source, Memory) else source.take(torch.arange(len(source)))


def kept(source: SampleSource, longest: int) -> Tensors:
    """All samples of a source in memory, read now. `longest` is the length of the longest of all splits."""
    lengths = source.lengths
    if lengths is None or bool((lengths == longest).all()):
        return Memory(whole(source))
    size = max(1, _GATHERED // longest)
    return Unpadded("values", Ragged.joined(steps(source, "values", size), lengths), source.targets, longest)


def steps(source: SampleSource, field_: str, size: int, most: int | None = None) -> Iterator[Tensor]:
    """The steps of all samples, or the first `most` of each: (steps, *) of `size` samples at a time."""
    for indices in torch.arange(len(source)).split(size):
        samples = source.take(indices)
        values = samples.inputs[field_][..., :most].movedim(-1, 1)
        yield values[torch.arange(values.shape[1]) < samples.inputs["lengths"][:, None]]


@dataclass(frozen=True, slots=True)
class Schema:
    """What a data set's samples are.

    `shape` is (channels, height, width) of an image, with or without boxes or a mask, (channels, longest length) of a
    sequence, (columns,) of a table, (window,) of a text, (longest length,) of documents.
    `classes` are in the order of the labels, and None where the target is a number. `numeric` and `categorical` name a
    table's columns in the order of the tensors, the latter with the categories, in the order of their positions. Those
    are of all splits: what a model may learn of them comes from the training split alone. `numeric` also names the
    channels of sequences, where they have names. `target` names what is predicted, and may be empty. `peak` is the raw
    value of full intensity of an image: 255 for 8-bit images, 16 for scikit-learn's digits. `equal` says whether all
    sequences have the same length. `tokens` has each token of texts in words, by its number: those of a running
    text's training split, or all words of documents. `rate` is how many samples a second has, if sequences are sounds.
    """

    shape: tuple[int, ...]
    classes: tuple[str, ...] | None
    numeric: tuple[str, ...] = ()
    categorical: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    target: str = ""
    peak: int = 255
    equal: bool = True
    tokens: tuple[str, ...] = ()
    rate: int | None = None


@dataclass(frozen=True, slots=True)
class Contents:
    """A data set as it was read: its splits by name, what its samples are, and the digest of all of it.

    It has the splits `train` and `test`, and `validation` where the data declare one. `groups` has an int64 number for
    each training sample (n,), equal for samples that must stay in one split; None where nothing is grouped.
    `test_groups` has the same for the test samples.
    """

    kind: Kind
    splits: Mapping[str, SampleSource]
    schema: Schema
    digest: str
    groups: Tensor | None = None
    test_groups: Tensor | None = None

    def with_splits(self, **splits: SampleSource) -> Contents:
        """The same data with some splits replaced."""
        return replace(self, splits={**self.splits, **splits})


def in_memory(contents: Contents) -> bool:
    """Whether all samples of all splits are in memory."""
    return all(isinstance(source, Held) for source in contents.splits.values())


def mapped(contents: Contents) -> bool:
    """Whether the data are a file on the disk, which the system reads a page at a time."""
    return any(isinstance(source, TokenWindows) and source.mapped for source in contents.splits.values())


def images(pixels: Tensor, labels: Tensor) -> Memory:
    """A source of images (n, channels, height, width) uint8 with their labels (n,) int64, in memory."""
    return Memory(Samples({"images": pixels}, labels))


def sequences(pieces: Iterable[Tensor], lengths: Tensor, targets: Tensor) -> Tensors:
    """A source in memory of sequences of these lengths (n,), whose steps come in pieces (steps, channels) float32."""
    rows, longest = Ragged.joined(pieces, lengths), int(lengths.max())
    if bool((lengths < longest).any()):
        return Unpadded("values", rows, targets, longest)
    values = rows.flat[: rows.steps].unflatten(0, (len(lengths), longest)).transpose(1, 2).contiguous()
    return Memory(Samples({"values": values, "lengths": lengths}, targets))

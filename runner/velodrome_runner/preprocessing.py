"""A trial's data as batches: in memory on the device where they fit, else read when needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor, nn

from velodrome.errors import ConfigurationError
from velodrome_runner.data import Contents, Samples, SampleSource, TokenWindows
from velodrome_runner.data.stream import Stream, way
from velodrome_runner.inputs.base import Inputs, PackedInputs, View, copied, repeated, split, taken, trimmed
from velodrome_runner.memory import fits
from velodrome_runner.ranks import ALONE, Ranks
from velodrome_runner.tasks.base import Batch, Task

SplitName = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class ReadySplit:
    """A split as a model takes it, on the device: training images before their augmentation."""

    inputs: Inputs | PackedInputs
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def batch(self, indices: Tensor) -> Batch:
        """The samples at those indices, in that order."""
        return Batch(taken(self.inputs, indices), self.targets.index_select(0, indices))


@dataclass(frozen=True)
class ReadyWindows:
    """A running text on the device, from which a batch's windows are cut."""

    windows: TokenWindows

    def __len__(self) -> int:
        return len(self.windows)

    def batch(self, indices: Tensor) -> Batch:
        """The windows at those indices, in that order, and their targets."""
        samples = self.windows.take(indices)
        return Batch(samples.inputs["tokens"], samples.targets)


Ready = ReadySplit | ReadyWindows


def _as_it_is(inputs: Inputs) -> Inputs:
    return inputs


@dataclass(frozen=True)
class Prepared:
    """A trial's data, ready to iterate.

    If `in_memory`, the splits are `Ready`. Else they are sources of raw samples, which up to `cpus` processes
    read, and batches are converted when needed. `batches` yields the same in both cases. `view` makes of a batch's
    inputs those that the model takes. `streams` are those that are open, by split.
    """

    task: Task
    train: Ready | SampleSource
    validation: Ready | SampleSource | None
    test: Ready | SampleSource
    device: torch.device
    view: View = field(default=_as_it_is)
    cpus: int = 1
    streams: dict[str, Stream] = field(default_factory=dict)

    @property
    def in_memory(self) -> bool:
        """Whether the splits are on the device."""
        return isinstance(self.train, Ready)

    def shown_to(self, model: nn.Module) -> Prepared:
        """The same data with only those inputs that this model's forward takes."""
        view = self.task.transform.view(model)
        if not self.in_memory:
            return replace(self, view=view)
        validation = None if self.validation is None else _viewed(self.validation, view)
        return replace(self, train=_viewed(self.train, view), validation=validation, test=_viewed(self.test, view))

    def batches(
        self,
        batch_size: int,
        generator: torch.Generator | None = None,
        *,
        split: SplitName = "train",
        order: Tensor | None = None,
        ranks: Ranks = ALONE,
        own: torch.Generator | None = None,
        start: int = 0,
    ) -> Iterator[Batch]:
        """One pass over a split: inputs and targets on the device (images float32, channels-last).

        The training split requires a `generator`, which shuffles and augments it (on the CPU or on the device; the same
        state gives the same batches). Its batches have the sizes `lengths(batch_size)`. The other splits keep their
        order, or have that of the indices `order` (n,), and are not augmented. A batch may be modified. The last
        batch may be smaller: no sample is left out.

        If several `ranks` have generators of the same state, each gets its share of every batch, which may be empty.
        The generators keep equal states: each rank augments its share by a generator of its own, which is `own` if that
        is given, and is seeded here.

        The first `start` batches of the training split are left out: they are neither read nor augmented, so the
        generator that augments is not where they would have left it.

        Raises:
            ValueError: the training split has no generator.
        """
        if split != "train":
            samples = self.validation if split == "validation" else self.test
            return self._in_order(samples, batch_size, split, order) if samples is not None else iter(())
        if generator is None:
            raise ValueError("the training split is shuffled: pass a generator")
        order = torch.randperm(len(self.train), generator=generator, device=generator.device)
        whole = order.split(self.lengths(batch_size, ranks.size))
        lengths = self._sequence_lengths(self.train)
        if lengths is not None:
            whole = bucketed(whole, lengths.to(order.device), generator)
        if ranks.size > 1:
            whole = tuple(ranks.share(batch) for batch in whole)
            generator = _seeded(own or torch.Generator(generator.device), generator, ranks.rank)
        return self._augmented(whole, start, generator)

    def lengths(self, batch_size: int, ranks: int = 1) -> list[int]:
        """The number of samples of each batch in one pass over the training split.

        A last batch that would leave a rank a single sample joins the previous batch, because batch normalisation can't
        learn from one sample.

        Raises:
            ConfigurationError: the batch is too small for this many ranks.
        """
        if ranks > 1 and min(batch_size, len(self.train)) < 2 * ranks:
            raise ConfigurationError(
                f"training.batchSize is {batch_size}, shared by the {ranks} pods of spec.runner.nodes: each needs 2 "
                f"samples or more, so write {2 * ranks} or more (there are {len(self.train)})"
            )
        whole, rest = divmod(len(self.train), batch_size)
        if rest >= 2 * ranks or whole == 0:
            return [batch_size] * whole + [rest]
        return [batch_size] * (whole - 1) + [batch_size + rest]

    def example(self, size: int) -> Inputs:
        """A batch of this size of the first test samples, repeated if there are too few."""
        batch = next(iter(self.batches(size, split="test")))
        return repeated(batch.inputs, size)

    def reading(self, batch_size: int) -> str | None:
        """How training reads what does not fit in memory, in words; None if it fits."""
        if isinstance(self.train, Ready):
            return None
        found = way(self.train, batch_size, cpus=self.cpus)
        return str(found) if found.workers else None

    def batching(self) -> str | None:
        """How training batches are made, in words, where samples of one batch are no random ones."""
        return (
            None
            if self._sequence_lengths(self.train) is None
            else f"by length, within {_POOL} batches of random sequences"
        )

    def close(self) -> None:
        """Ends the workers that read data."""
        for stream in self.streams.values():
            stream.close()
        self.streams.clear()

    def by_length(self, split: Literal["validation", "test"]) -> Tensor | None:
        """The split's samples from short to long (n,), if the model takes lengths: so batches have little padding."""
        samples = self.validation if split == "validation" else self.test
        lengths = None if samples is None else self._sequence_lengths(samples)
        return None if lengths is None else lengths.argsort(stable=True).cpu()

    def _sequence_lengths(self, samples: Ready | SampleSource) -> Tensor | None:
        """The lengths of these sequences, if the model takes lengths: then short batches need less time."""
        inputs: Inputs
        if isinstance(samples, ReadyWindows):
            return None
        if isinstance(samples, ReadySplit):
            if isinstance(samples.inputs, PackedInputs):
                return samples.inputs.lengths
            inputs = samples.inputs
        elif samples.lengths is None:
            return None
        else:
            inputs = self.view(dict.fromkeys(("values", "tokens", "lengths"), samples.lengths))
        return None if isinstance(inputs, Tensor) else inputs.get("lengths")

    def _in_order(
        self, samples: Ready | SampleSource, batch_size: int, name: str, order: Tensor | None
    ) -> Iterator[Batch]:
        if isinstance(samples, Ready):
            if order is not None or isinstance(samples, ReadyWindows) or isinstance(samples.inputs, PackedInputs):
                order = torch.arange(len(samples)) if order is None else order
                yield from self._taken(samples, order.split(batch_size))
                return
            pairs = zip(split(samples.inputs, batch_size), samples.targets.split(batch_size), strict=True)
            # A copy of each batch: a model may change its inputs in place, and the next epoch needs them as they were.
            yield from (Batch(copied(inputs), targets) for inputs, targets in pairs)
            return
        order = torch.arange(len(samples)) if order is None else order
        yield from self._loaded(samples, order.split(batch_size), name)

    def _augmented(self, order: Sequence[Tensor], start: int, generator: torch.Generator) -> Iterator[Batch]:
        if isinstance(self.train, Ready):
            batches = self._taken(self.train, order[start:])
        else:
            batches = self._loaded(self.train, order, "train", start)
        for batch in batches:
            yield self.task.augment(batch, generator)

    def _taken(self, samples: Ready, order: Sequence[Tensor]) -> Iterator[Batch]:
        yield from (samples.batch(indices.to(self.device)) for indices in order)

    def _loaded(self, samples: SampleSource, order: Sequence[Tensor], name: str, start: int = 0) -> Iterator[Batch]:
        """The batches from number `start` on. The largest of all decides how they are read, now and later."""
        if name not in self.streams:
            found = way(samples, max(map(len, order)), cpus=self.cpus)
            self.streams[name] = Stream(samples, found, pin=self.device.type == "cuda")
        try:
            yield from self._collated(self.streams[name].batches(order[start:]), training=name == "train")
        finally:
            if name != "train":  # its workers would read ahead while inference is timed
                self.streams.pop(name).close()

    def _collated(self, samples: Iterator[Samples], *, training: bool) -> Iterator[Batch]:
        for raw in samples:
            batch = self.task.collate(raw, training=training)
            shown = self.view(batch.inputs)
            if isinstance(shown, dict) and "lengths" in shown:
                shown = trimmed(shown, shown["lengths"])
            yield Batch(shown, batch.targets)


# How many batches are sorted by length together: enough that a batch needs little padding, and few enough that batches
# differ from epoch to epoch.
_POOL = 16


def bucketed(batches: Sequence[Tensor], lengths: Tensor, generator: torch.Generator) -> tuple[Tensor, ...]:
    """The same samples in batches of the same sizes, with samples of similar length together.

    `batches` are indices in a random order, all of one size but the last; `lengths` (n,) are those of all samples.
    Pools of batches are sorted by length, and then the order of all batches but the last is random again.
    """
    *full, last = batches
    found: list[Tensor] = []
    for start in range(0, len(full), _POOL):
        pool = torch.cat(full[start : start + _POOL])
        found += pool[lengths[pool].argsort(stable=True)].split(len(full[0]))
    order = torch.randperm(len(found), generator=generator, device=generator.device).tolist()
    return (*(found[place] for place in order), last)


def _viewed(part: Ready | SampleSource, view: View) -> Ready | SampleSource:
    if not isinstance(part, ReadySplit):
        return part
    inputs = part.inputs
    return replace(part, inputs=inputs.shown(view) if isinstance(inputs, PackedInputs) else view(inputs))


def _seeded(own: torch.Generator, generator: torch.Generator, rank: int) -> torch.Generator:
    """The generator of this rank's augmentations, seeded from the one that all ranks share, which does not change."""
    copy = torch.Generator(generator.device)
    copy.set_state(generator.get_state())
    drawn = torch.randint(2**62, (1,), generator=copy, device=generator.device)
    return own.manual_seed(int(drawn) + rank)


def prepare(contents: Contents, task: Task, *, in_memory: bool | None = None, cpus: int = 1) -> Prepared:
    """The splits of a data set as batches for the task.

    Data stay on the device if they take at most half of its free memory, unless `in_memory` decides. Else up to `cpus`
    processes read them, where they are not in memory already.
    """
    train, validation, test = contents.splits["train"], contents.splits.get("validation"), contents.splits["test"]
    transform = task.transform
    if in_memory is None:
        in_memory = fits(sum(map(transform.nbytes, contents.splits.values())), transform.device)
    if not in_memory:
        return Prepared(task, train, validation, test, transform.device, cpus=cpus)

    def ready(source: SampleSource, *, training: bool = False) -> Ready:
        if isinstance(source, TokenWindows):
            return ReadyWindows(source.on(transform.device))
        return ReadySplit(transform.whole(source, training=training), source.targets.to(transform.device))

    validated = None if validation is None else ready(validation)
    return Prepared(task, ready(train, training=True), validated, ready(test), transform.device)

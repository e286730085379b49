from __future__ import annotations

import pickle
from pathlib import Path

import torch

from velodrome.spec import Dataset
from velodrome_runner.data import Memory, Part, Samples, SampleSource, open_contents, part, whole


def table() -> Samples:
    return Samples(
        {"numeric": torch.arange(10, dtype=torch.float64).view(5, 2), "categorical": torch.arange(5).view(5, 1)},
        torch.arange(5) % 2,
    )


class Counting:
    """A source that is no tensor in memory, and counts what is read."""

    def __init__(self, samples: Samples) -> None:
        self.samples, self.read = samples, 0

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def targets(self) -> torch.Tensor:
        return self.samples.targets

    lengths = None

    @property
    def nbytes(self) -> int:
        return self.samples.nbytes

    def take(self, indices: torch.Tensor) -> Samples:
        self.read += len(indices)
        return self.samples.take(indices)


def test_samples_are_taken_in_the_order_that_is_asked_for() -> None:
    taken = table().take(torch.tensor([3, 0, 3]))
    assert taken.inputs["numeric"].tolist() == [[6, 7], [0, 1], [6, 7]]
    assert taken.inputs["categorical"].tolist() == [[3], [0], [3]]
    assert taken.targets.tolist() == [1, 0, 1]
    assert taken.nbytes == 3 * (2 * 8 + 8 + 8)


def test_a_part_of_a_source_in_memory_is_in_memory_and_any_other_reads_only_what_is_asked_for() -> None:
    memory = part(Memory(table()), torch.tensor([4, 2]))
    assert isinstance(memory, Memory)
    counting = Counting(table())
    lazy = part(part(counting, torch.tensor([4, 2, 0])), torch.tensor([2, 1]))
    assert isinstance(lazy, Part)
    assert lazy.targets.tolist() == [0, 0]
    assert (len(lazy), lazy.nbytes, counting.read) == (2, 64, 0)
    assert lazy.take(torch.tensor([1])).inputs["numeric"].tolist() == [[4, 5]]
    assert counting.read == 1
    assert whole(lazy).inputs["numeric"].tolist() == [[0, 1], [4, 5]]
    assert all(isinstance(each, SampleSource) for each in (memory, lazy, counting))
    assert torch.equal(whole(pickle.loads(pickle.dumps(lazy))).targets, lazy.targets)  # noqa: S301 - made here


def test_digits_are_contents_of_images() -> None:
    opened = open_contents(Dataset.model_validate({"name": "digits"}), folder=Path("/nonexistent"), seed=0)
    contents = opened.contents
    assert (contents.kind, contents.schema.shape, contents.schema.peak) == ("images", (1, 8, 8), 16)
    assert {name: len(source) for name, source in contents.splits.items()} == {
        "train": 1297, "validation": 145, "test": 355
    }  # fmt: skip
    first = contents.splits["test"].take(torch.tensor([0]))
    assert first.inputs["images"].shape == (1, 1, 8, 8)
    assert first.inputs["images"].dtype == torch.uint8
    assert opened.facts.digest == contents.digest

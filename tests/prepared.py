"""Data that are ready for a task, for tests of what comes after their preprocessing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from velodrome.results.records import DatasetFacts
from velodrome.spec import Dataset, Preprocessing, Training
from velodrome_runner import tasks
from velodrome_runner.data import Contents, Samples, SampleSource, Schema, Split, open_contents, whole
from velodrome_runner.data.contents import images
from velodrome_runner.inputs.base import Inputs, Transform
from velodrome_runner.preprocessing import Prepared, prepare


@dataclass(frozen=True, slots=True)
class Splits:
    """A data set for one trial. Its validation samples come from the training split, and not from the test split."""

    train: Split
    validation: Split
    test: Split
    facts: DatasetFacts
    peak: int = 255


def load(dataset: Dataset, *, folder: Path, seed: int) -> Splits:
    """A data set of images in memory, for one trial. Raises as `open_contents` does."""
    opened = open_contents(dataset, folder=folder, seed=seed)
    train, validation, test = (
        Split(samples.inputs["images"], samples.targets)
        for samples in (whole(opened.contents.splits[name]) for name in ("train", "validation", "test"))
    )
    return Splits(train, validation, test, opened.facts, opened.contents.schema.peak)


class _Untouched(Transform):
    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.told = {}
        self.device = torch.device("cpu")

    def __call__(self, samples: Samples, *, training: bool = False) -> Inputs:
        return next(iter(samples.inputs.values()))

    def nbytes(self, source: SampleSource) -> int:
        return source.nbytes


def untouched(shape: tuple[int, ...] = (1,)) -> Transform:
    """A transform for samples of this shape that gives their first tensor as it is."""
    return _Untouched(shape)


def prepared_images(
    data: Splits, preprocessing: Preprocessing, *, seed: int = 0, in_memory: bool | None = None
) -> Prepared:
    """Images ready to train a classifier, with everything fitted on their training split."""
    parts = (images(part.images, part.labels) for part in (data.train, data.validation, data.test))
    splits = dict(zip(("train", "validation", "test"), parts, strict=True))
    schema = Schema(data.train.shape, data.facts.classes, peak=data.peak)
    contents = Contents("images", splits, schema, data.facts.digest)
    task = tasks.fit("classification", contents, preprocessing, Training(), device=torch.device("cpu"), seed=seed)
    return prepare(contents, task, in_memory=in_memory)

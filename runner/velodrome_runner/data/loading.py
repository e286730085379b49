"""From a BenchmarkJob's `dataset` to the splits of one trial."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from velodrome.errors import ConfigurationError
from velodrome.results.records import DatasetFacts
from velodrome.spec import Dataset, Source
from velodrome_runner.data.contents import Contents, Schema, images, part, whole
from velodrome_runner.data.contents import Source as Samples
from velodrome_runner.data.digits import read_digits
from velodrome_runner.data.samples import Raw, Split, Splits, content_digest


@dataclass(frozen=True, slots=True)
class Opened:
    """A data set for one trial: with the splits train and test, validation if there is one, and the facts to record."""

    contents: Contents
    facts: DatasetFacts


def open_contents(dataset: Dataset, *, folder: Path, seed: int) -> Opened:
    """Reads the data set, checks it, digests it, and takes the validation split out of the training split.

    The files are in the source's folder below `folder`. The validation split is stratified and drawn by `seed`. The
    test split never depends on the seed (docs/decisions/0003-validation-split.md).

    Raises:
        ConfigurationError: with reason DatasetMissing, DatasetCorrupt, DatasetDigestMismatch or DatasetTooSmall.
        TrialFailed: with reason DatasetDownloadFailed, if a requested download failed.
    """
    contents = read(dataset, folder)
    if dataset.digest is not None and dataset.digest != contents.digest:
        raise ConfigurationError(
            f"{dataset.name} has the digest {contents.digest}, but spec.dataset.digest pins {dataset.digest}: use the "
            "data that were pinned, or write the new digest if the change is meant",
            "DatasetDigestMismatch",
        )
    train, validation = split_validation(contents.splits["train"], dataset.validation_fraction, seed)
    contents = contents.with_splits(train=train, validation=validation)
    facts = DatasetFacts(
        name=dataset.name,
        digest=contents.digest,
        train_samples=len(train),
        validation_samples=len(validation),
        test_samples=len(contents.splits["test"]),
        shape=contents.schema.shape,
        classes=contents.schema.classes or (),
    )
    return Opened(contents, facts)


def load(dataset: Dataset, *, folder: Path, seed: int) -> Splits:
    """A data set of images in memory, for one trial. Raises as `open_contents` does."""
    opened = open_contents(dataset, folder=folder, seed=seed)
    train, validation, test = (
        Split(samples.inputs["images"], samples.targets)
        for samples in (whole(opened.contents.splits[name]) for name in ("train", "validation", "test"))
    )
    return Splits(train, validation, test, opened.facts, opened.contents.schema.peak)


def read(dataset: Dataset, folder: Path) -> Contents:
    """The data set as it was published, independent of any seed. Raises as `open_contents` does."""
    raw = _read(dataset, folder)
    return Contents(
        "images",
        {"train": images(raw.train.images, raw.train.labels), "test": images(raw.test.images, raw.test.labels)},
        Schema(raw.train.shape, raw.classes, peak=raw.peak),
        content_digest(raw),
    )


def _read(dataset: Dataset, folder: Path) -> Raw:
    if dataset.name == "digits":
        return read_digits()
    from velodrome_runner.data.files import read_files

    if dataset.source is None:
        raise ConfigurationError(
            f"{dataset.name} needs files: write spec.dataset.source, for example {{path: DIR}}", "DatasetMissing"
        )
    return read_files(dataset.name, source_folder(dataset.source, folder), download=dataset.source.download)


def source_folder(source: Source, folder: Path) -> Path:
    """The folder of a source's files: below `folder`, unless `path` is absolute.

    Raises:
        ConfigurationError: the path leads out of its volume.
    """
    claim = source.persistent_volume_claim
    if claim is None:
        return folder / (source.path or "")
    inside = Path(claim.path.lstrip("/"))
    if ".." in inside.parts:
        raise ConfigurationError(
            f"spec.dataset.source.persistentVolumeClaim.path is {claim.path!r}, which leads out of the volume: write a "
            "path below its root, without .."
        )
    return folder / inside


def split_validation(train: Samples, fraction: float, seed: int) -> tuple[Samples, Samples]:
    """The training split without a stratified share of it, and that share; both in their original order.

    Raises:
        ConfigurationError: reason DatasetTooSmall, if a class has too few samples for that.
    """
    from sklearn.model_selection import train_test_split

    try:
        kept, held_out = train_test_split(
            torch.arange(len(train)).numpy(), test_size=fraction, stratify=train.targets.numpy(), random_state=seed
        )
    except ValueError as error:
        raise ConfigurationError(
            f"no stratified validation split of {fraction:g} can be drawn from {len(train)} samples ({error}): "
            "change spec.dataset.validationFraction or use more data",
            "DatasetTooSmall",
        ) from error
    return _sorted(train, kept), _sorted(train, held_out)


def _sorted(source: Samples, indices: object) -> Samples:
    return part(source, torch.as_tensor(indices).sort().values)

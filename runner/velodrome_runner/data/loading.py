"""From a BenchmarkJob's `dataset` to the splits of one trial."""

from __future__ import annotations

from pathlib import Path

import torch

from velodrome.errors import ConfigurationError
from velodrome.results.records import DatasetFacts
from velodrome.spec import Dataset, Source
from velodrome_runner.data.digits import read_digits
from velodrome_runner.data.samples import Raw, Split, Splits, content_digest


def load(dataset: Dataset, *, folder: Path, seed: int) -> Splits:
    """Reads the data set, checks it, digests it, and takes the validation split out of the training split.

    The files are in the source's folder below `folder`. The validation split is stratified and drawn by `seed`. The
    test split never depends on the seed (docs/decisions/0003-validation-split.md).

    Raises:
        ConfigurationError: with reason DatasetMissing, DatasetCorrupt, DatasetDigestMismatch or DatasetTooSmall.
        TrialFailed: with reason DatasetDownloadFailed, if a requested download failed.
    """
    raw = read(dataset, folder)
    found = content_digest(raw)
    if dataset.digest is not None and dataset.digest != found:
        raise ConfigurationError(
            f"{dataset.name} has the digest {found}, but spec.dataset.digest pins {dataset.digest}: use the data that "
            "were pinned, or write the new digest if the change is meant",
            "DatasetDigestMismatch",
        )
    train, validation = split_validation(raw.train, dataset.validation_fraction, seed)
    facts = DatasetFacts(
        name=dataset.name,
        digest=found,
        train_samples=len(train),
        validation_samples=len(validation),
        test_samples=len(raw.test),
        shape=raw.train.shape,
        classes=raw.classes,
    )
    return Splits(train, validation, raw.test, facts, raw.peak)


def read(dataset: Dataset, folder: Path) -> Raw:
    """The data set as it was published, independent of any seed. Raises as `load` does."""
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


def split_validation(train: Split, fraction: float, seed: int) -> tuple[Split, Split]:
    """The training split without a stratified share of it, and that share; both in their original order.

    Raises:
        ConfigurationError: reason DatasetTooSmall, if a class has too few samples for that.
    """
    from sklearn.model_selection import train_test_split

    try:
        kept, held_out = train_test_split(
            torch.arange(len(train)).numpy(), test_size=fraction, stratify=train.labels.numpy(), random_state=seed
        )
    except ValueError as error:
        raise ConfigurationError(
            f"no stratified validation split of {fraction:g} can be drawn from {len(train)} samples ({error}): "
            "change spec.dataset.validationFraction or use more data",
            "DatasetTooSmall",
        ) from error
    return _sorted(train, kept), _sorted(train, held_out)


def _sorted(split: Split, indices: object) -> Split:
    return split.take(torch.as_tensor(indices).sort().values)

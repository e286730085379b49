"""From a BenchmarkJob's `dataset` to the splits of one trial."""

from __future__ import annotations

from pathlib import Path

import torch

from velodrome.errors import ConfigurationError
from velodrome.results import DatasetFacts
from velodrome.spec import Dataset
from velodrome_runner.data.digits import read_digits
from velodrome_runner.data.samples import Raw, Split, Splits, content_digest


def load(dataset: Dataset, *, folder: Path, seed: int) -> Splits:
    """Reads the data set, checks it, digests it, and takes the validation split out of the training split.

    Files are looked for in the source's folder below `folder`. The validation split is stratified and drawn by `seed`;
    the test split never depends on it (docs/decisions/0003-validation-split.md).

    Raises:
        ConfigurationError: with reason DatasetMissing, DatasetCorrupt, DatasetDigestMismatch or DatasetTooSmall.
        TrialFailed: with reason DatasetDownloadFailed, where a download was asked for and did not succeed.
    """
    raw = _read(dataset, folder)
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


def split_validation(train: Split, fraction: float, seed: int) -> tuple[Split, Split]:
    """The training split less a stratified share of it, and that share; both in their original order.

    Raises:
        ConfigurationError: reason DatasetTooSmall, where a class has too few samples for that.
    """
    from sklearn.model_selection import train_test_split

    try:
        kept, held_out = train_test_split(
            torch.arange(len(train)).numpy(), test_size=fraction, stratify=train.labels.numpy(), random_state=seed
        )
    except ValueError as error:
        raise ConfigurationError(
            f"no stratified validation split of {fraction:g} can be drawn from {len(train)} training samples: {error}; "
            "change spec.dataset.validationFraction or use more data",
            "DatasetTooSmall",
        ) from error
    return tuple(train.take(torch.from_numpy(part).sort().values) for part in (kept, held_out))  # type: ignore[return-value]


def _read(dataset: Dataset, folder: Path) -> Raw:
    if dataset.name == "digits":
        return read_digits()
    raise NotImplementedError(dataset.name)

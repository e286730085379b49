"""From a BenchmarkJob's `dataset` to the splits of one trial."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path

import torch

from velodrome.errors import ConfigurationError
from velodrome.results.records import DatasetFacts
from velodrome.spec import Dataset, Source
from velodrome.text import line
from velodrome.vocabulary import BUNDLED, FORMATS
from velodrome_runner.data.checks import check
from velodrome_runner.data.contents import Contents, Memory, Schema, images, in_memory, kept, mapped, whole
from velodrome_runner.data.digits import read_digits
from velodrome_runner.data.fetching import FULL
from velodrome_runner.data.format import Format, contents_of, corrupt
from velodrome_runner.data.overlap import refuse_shared_files, shared_samples
from velodrome_runner.data.samples import Raw, content_digest
from velodrome_runner.data.splitting import split_validation
from velodrome_runner.memory import fits

_SHOWN = 300  # characters of a path in a reason
# Memory that images take as bytes and as float32, in bytes for each byte.
_BYTES_AND_FLOATS = 5


@dataclass(frozen=True, slots=True)
class OpenedData:
    """A data set for one trial: with the splits train and test, validation if there is one, and the facts to record."""

    contents: Contents
    facts: DatasetFacts


def open_contents(dataset: Dataset, *, folder: Path, seed: int, task: str | None = None) -> OpenedData:
    """Reads the data set, checks it, digests it, and takes the validation split out of the training split.

    The files are in the source's folder below `folder`. The validation split is the one that the data declare, or it is
    stratified and drawn by `seed`, and there is none if `validationFraction` is 0. The test split never depends on the
    seed (docs/decisions/0003-validation-split.md). `task` is `spec.task`: a table's whole numbers may be labels or
    amounts.

    Raises:
        ConfigurationError: with reason DatasetMissing, DatasetCorrupt, DatasetInvalid, DatasetDigestMismatch or
            DatasetTooSmall.
        TrialFailed: with reason DatasetDownloadFailed, if a requested download failed.
    """
    return opened(read(dataset, folder, task=task), dataset, seed)


def opened(contents: Contents, dataset: Dataset, seed: int) -> OpenedData:
    """A data set for one trial, of what `read` gave. Raises as `open_contents` does."""
    if dataset.digest is not None and dataset.digest != contents.digest:
        raise ConfigurationError(
            f"{dataset.name} has the digest {contents.digest}, but spec.dataset.digest pins {dataset.digest}: use the "
            "data that were pinned, or write the new digest if the change is meant",
            "DatasetDigestMismatch",
        )
    shared = shared_samples(contents)
    if "validation" not in contents.splits and dataset.validation_fraction:
        train, validation = split_validation(
            contents.splits["train"],
            dataset.validation_fraction,
            seed,
            groups=contents.groups,
            classes=None if contents.kind in ("scenes", "masks") else contents.schema.classes,
        )
        contents = contents.with_splits(train=train, validation=validation)
    facts = DatasetFacts(
        name=dataset.name,
        digest=contents.digest,
        train_samples=len(contents.splits["train"]),
        validation_samples=len(contents.splits["validation"]) if "validation" in contents.splits else 0,
        test_samples=len(contents.splits["test"]),
        shape=contents.schema.shape,
        classes=contents.schema.classes or (),
        shared_samples=shared,
        reading=None if in_memory(contents) and not mapped(contents) else "from files, when it is needed",
    )
    return OpenedData(contents, facts)


def read(dataset: Dataset, folder: Path, *, task: str | None = None) -> Contents:
    """The data set as it was published, independent of any seed. Raises as `open_contents` does."""
    try:
        return _read(dataset, folder, task)
    except OSError as error:  # a name that is too long, a folder that is closed to the runner, a disk that fails
        if error.filename is None or error.errno in FULL:
            raise
        place = line(error.filename, _SHOWN)
        raise corrupt(
            f"{place} can't be read ({error.strerror}): correct its name or its permissions, or get it again"
        ) from error


def _read(dataset: Dataset, folder: Path, task: str | None) -> Contents:
    kind = dataset.format or dataset.name
    if dataset.format is None and kind in _PUBLISHED:
        return _published(dataset, folder)
    contents = contents_of(open_format(dataset, folder, task=task))
    check(contents, dataset.name)
    return _held(contents, dataset)


def _held(contents: Contents, dataset: Dataset) -> Contents:
    """The same data, in memory if they fit there as bytes and once more as numbers."""
    if in_memory(contents):
        return contents
    size = sum(source.nbytes for source in contents.splits.values())
    if not fits(_BYTES_AND_FLOATS * size, torch.device("cpu")):
        return contents
    if contents.kind == "sequences":
        longest = contents.schema.shape[-1]
        return contents.with_splits(**{name: kept(source, longest) for name, source in contents.splits.items()})
    read = whole
    if (dataset.format or dataset.name) in IMAGE_FOLDERS:
        from velodrome_runner.data.image_files import decoded_whole as read
    return contents.with_splits(**{name: Memory(read(source)) for name, source in contents.splits.items()})


# The formats whose images are files in folders.
IMAGE_FOLDERS = ("ImageFolder", "ImageNet", "COCO", "VOC", "VOCSegmentation")
# All formats whose samples are files in folders.
FILE_FOLDERS = (*IMAGE_FOLDERS, "SpeechCommands")

# What each format needs beside torch. A format that is not here needs torchvision's datasets.
_LIBRARIES = {
    **dict.fromkeys(BUNDLED, ("sklearn.datasets",)),
    **dict.fromkeys(("CSV", "SequenceCSV", "Documents"), ("pyarrow.compute", "pyarrow.csv")),
    "Parquet": ("pyarrow.compute", "pyarrow.parquet"),
    **dict.fromkeys(("ImageFolder", "COCO", "VOCSegmentation"), ("PIL.Image",)),
    "VOC": ("PIL.Image", "torchvision.datasets"),
    "ImageNet": ("PIL.Image", "scipy.io"),
    "SVHN": ("scipy.io",),
    "SpeechCommands": ("wave",),
    **dict.fromkeys(("TimeSeries", "IDX", "Text", "pydoc"), ()),
}


def libraries(dataset: Dataset) -> list[str]:
    """The modules that reading this data set imports at their first use."""
    kind = dataset.format or dataset.name
    names = () if ":" in kind else _LIBRARIES.get(kind, ("torchvision.datasets",))
    return [*(["sklearn.model_selection"] if dataset.validation_fraction else []), *names]


def open_format(dataset: Dataset, folder: Path, *, task: str | None = None) -> Format:
    """The data set in its format, without any of the checks of `read`. Raises as `open_contents` does."""
    kind = dataset.format or dataset.name
    if kind in BUNDLED or ":" in kind:
        return _without_files(dataset, kind, folder)
    place = place_of(dataset, folder)
    refuse_shared_files(dataset, place)
    if kind in _READERS:
        module, _, reader = _READERS[kind].partition(":")
        found: Format = getattr(importlib.import_module(f"velodrome_runner.data.{module}"), reader)(dataset, place)
        return found
    match kind:
        case "CSV" | "Parquet":
            from velodrome_runner.data.tables import read_table

            return read_table(dataset, place, task=task)
        case "SequenceCSV":
            from velodrome_runner.data.sequence_csv import read_sequence_csv

            return read_sequence_csv(dataset, place, task=task)
        case "IDX":
            from velodrome_runner.data.own_files import read_own_idx

            return read_own_idx(place)
    raise ConfigurationError(f"{kind} is no format that this runner reads: use one of {', '.join(FORMATS)}")


# Where the formats are read, each by its own module, which is imported when it is needed.
_READERS = {
    "TimeSeries": "time_series:read_time_series",
    "SpeechCommands": "speech_commands:read_speech_commands",
    "ImageFolder": "folders:read_image_folder",
    "ImageNet": "imagenet:read_imagenet",
    "SVHN": "own_files:read_svhn",
    "Text": "texts:read_text",
    "Documents": "documents:read_documents",
    "COCO": "coco:read_coco",
    "VOC": "voc:read_voc",
    "VOCSegmentation": "voc_masks:read_voc_masks",
}


def _without_files(dataset: Dataset, kind: str, folder: Path) -> Format:
    """What a team's own code gives, or what ships with Python or with a library."""
    if ":" in kind:
        from velodrome_runner.data.factory import read_factory

        return read_factory(dataset, None if dataset.source is None else source_folder(dataset.source, folder))
    if kind == "pydoc":
        from velodrome_runner.data.texts import read_pydoc

        return read_pydoc(dataset)
    from velodrome_runner.data.bundled import read_bundled

    return read_bundled(kind)


# Data sets of images that are small enough for memory, and whose digests are older than the formats.
_PUBLISHED = ("digits", "MNIST", "FashionMNIST", "CIFAR10", "CIFAR100")


def _published(dataset: Dataset, folder: Path) -> Contents:
    raw = _raw(dataset, folder)
    return Contents(
        "images",
        {"train": images(raw.train.images, raw.train.labels), "test": images(raw.test.images, raw.test.labels)},
        Schema(raw.train.shape, raw.classes, peak=raw.peak),
        content_digest(raw),
    )


def _raw(dataset: Dataset, folder: Path) -> Raw:
    if dataset.name == "digits":
        return read_digits()
    from velodrome_runner.data.files import read_files

    download = dataset.source is not None and dataset.source.download
    return read_files(dataset.name, place_of(dataset, folder), download=download)


def place_of(dataset: Dataset, folder: Path) -> Path:
    """The folder or file of a data set. Raises ConfigurationError: DatasetMissing, the job names none."""
    if dataset.source is None:
        raise ConfigurationError(
            f"{dataset.name} needs files: write spec.dataset.source, for example {{path: DIR}}", "DatasetMissing"
        )
    return source_folder(dataset.source, folder)


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

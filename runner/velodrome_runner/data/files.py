"""MNIST, FashionMNIST, CIFAR10 and CIFAR100 in torchvision's folder layout.

The layout, the addresses, the checksums and the reading of CIFAR are torchvision's. This module adds three things that
torchvision lacks. Each message names the file with the problem. MNIST's files are checked on every reading, whereas
torchvision checks them only while it downloads them. And a file gets its name only when it is whole, and a download
that was broken off goes on (`fetching`).

CIFAR's files are pickles, and unpickling a file can run any program. So a file is opened only after its MD5 agreed with
the one that torchvision publishes. Only the official files are unpickled: your own data in CIFAR's format are refused
as corrupt.
"""

from __future__ import annotations

import fcntl
import gzip
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from velodrome.errors import ConfigurationError, TrialFailed
from velodrome_runner.data.fetching import FULL, fetch
from velodrome_runner.data.idx import read_idx
from velodrome_runner.data.samples import Raw, Split


def read_files(name: str, root: Path, *, download: bool) -> Raw:
    """Reads the data set of that name from `root` (torchvision's name for the folder). Downloads it if allowed.

    Raises:
        ConfigurationError: reason DatasetMissing or DatasetCorrupt; the message names the file and the fix.
        TrialFailed: reason DatasetDownloadFailed.
    """
    from torchvision import datasets

    kind = getattr(datasets, name)
    layout = _Idx(kind, root) if issubclass(kind, datasets.MNIST) else _Pickles(kind, root)
    if download and layout.missing():
        download_alone(name, root, layout.download, layout.missing)
    missing = layout.missing()
    if missing:
        raise ConfigurationError(
            f"{name} is not whole in {root}, without {_listed(missing)}: put torchvision's files there, or write "
            f"spec.dataset.source.download: true{_nearby(root)}",
            "DatasetMissing",
        )
    raw = layout.read()
    for part, split in (("training", raw.train), ("test", raw.test)):
        _check(f"the {part} split of {name} in {root}", split, raw)
    return raw


class _Idx:
    """MNIST's layout: four IDX files in ROOT/NAME/raw, as they are or compressed with gzip."""

    def __init__(self, kind: Any, root: Path) -> None:
        self.kind = kind
        self.folder = root / kind.__name__ / "raw"
        # torchvision lists training images, training labels, test images and test labels, with the suffix .gz.
        self.files = [self.folder / name.removesuffix(".gz") for name, _ in kind.resources]

    def missing(self) -> list[Path]:
        return [file for file in self.files if idx_file(file) is None]

    def download(self) -> None:
        """Fetches what is missing, compressed as it is published, and unpacks it: reading it then takes less time."""
        lacking = {file.name for file in self.missing()}
        for name, md5 in self.kind.resources:
            if name.removesuffix(".gz") not in lacking:
                continue
            packed = self.folder / name
            fetch([f"{mirror}{name}" for mirror in self.kind.mirrors], packed, md5)
            part = packed.with_name(f"{name}.unpacked")
            with gzip.open(packed) as source, part.open("wb") as file:
                shutil.copyfileobj(source, file)
            part.replace(packed.with_suffix(""))

    def read(self) -> Raw:
        train_images, train_labels, test_images, test_labels = (
            read_idx(idx_file(file) or file, dimensions=1 if "labels" in file.name else 3) for file in self.files
        )
        return Raw(
            Split(train_images.unsqueeze(1), train_labels.to(torch.int64)),
            Split(test_images.unsqueeze(1), test_labels.to(torch.int64)),
            tuple(self.kind.classes),
        )


class _Pickles:
    """CIFAR's layout: pickled batches and their metadata, in ROOT/cifar-10-batches-py for example."""

    def __init__(self, kind: Any, root: Path) -> None:
        self.kind = kind
        self.root = root
        folder = root / kind.base_folder
        listed = [*kind.train_list, *kind.test_list, (kind.meta["filename"], kind.meta["md5"])]
        self.files = {folder / name: md5 for name, md5 in listed}

    def missing(self) -> list[Path]:
        return [file for file in self.files if not file.is_file()]

    def download(self) -> None:
        """Fetches the archive, unpacks it beside the folder, and moves each file to its place."""
        from torchvision.datasets.utils import extract_archive

        archive = self.root / self.kind.filename
        fetch([self.kind.url], archive, self.kind.tgz_md5)
        beside = self.root / ".velodrome-unpacked"
        shutil.rmtree(beside, ignore_errors=True)
        try:
            extract_archive(str(archive), str(beside))
            for file in self.files:
                file.parent.mkdir(exist_ok=True)
                (beside / file.relative_to(self.root)).replace(file)
        finally:
            shutil.rmtree(beside, ignore_errors=True)

    def read(self) -> Raw:
        from torchvision.datasets.utils import check_integrity

        for file, md5 in self.files.items():
            if not check_integrity(file, md5):
                raise ConfigurationError(
                    f"{file} is not the official file of {self.kind.__name__} (its MD5 is not {md5}): delete it and "
                    "get it again, by spec.dataset.source.download: true for example",
                    "DatasetCorrupt",
                )
        # torchvision would compute every checksum twice more, once for each split.
        checked = type(self.kind.__name__, (self.kind,), {"_check_integrity": lambda _: True})
        parts: list[Any] = [checked(self.root, train=train) for train in (True, False)]
        train, test = (
            # torchvision returns a view with channels last. The memory behind it has the images as they were stored.
            Split(torch.from_numpy(part.data.transpose(0, 3, 1, 2)), torch.tensor(part.targets, dtype=torch.int64))
            for part in parts
        )
        return Raw(train, test, tuple(parts[0].classes))


def idx_file(file: Path) -> Path | None:
    """The file as it is or compressed with gzip; None if there is neither."""
    packed = file.with_name(file.name + ".gz")
    return file if file.is_file() else packed if packed.is_file() else None


def _check(what: str, split: Split, raw: Raw) -> None:
    """Refuses splits that are readable but invalid."""
    problem = None
    if len(split.images) != len(split.labels):
        problem = f"it has {len(split.images)} images and {len(split.labels)} labels"
    elif len(split) == 0:
        problem = "it has no samples"
    elif split.shape != raw.train.shape:
        problem = f"its images have the shape {split.shape}, the training images {raw.train.shape}"
    elif int(split.labels.max()) >= len(raw.classes) or int(split.labels.min()) < 0:
        problem = f"its labels go from {split.labels.min()} to {split.labels.max()}, for {len(raw.classes)} classes"
    if problem:
        raise ConfigurationError(f"{what} can't be used: {problem}; get its files again", "DatasetCorrupt")


def download_alone(name: str, root: Path, download: Callable[[], object], lacking: Callable[[], list[Path]]) -> None:
    """Downloads what is lacking of a data set to `root`, one process at a time.

    Raises:
        TrialFailed: reason DatasetDownloadFailed.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _alone(root):
            if lacking():  # another trial may have finished the download meanwhile
                download()
    # What is fetched has its checksum; unpacking it fails only as the disk does.
    except (OSError, RuntimeError) as error:
        full = isinstance(error, OSError) and error.errno in FULL
        hint = (
            "make room there, or put the files there yourself"
            if full
            else "check the network and the folder's permissions, or put the files there yourself"
        )
        raise TrialFailed(
            "DatasetDownloadFailed",
            f"{name} could not be downloaded to {root} ({error}): {hint}. The next attempt goes on with what has come",
        ) from error


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Lets only one process download to the folder, so that no other reads a half-written file."""
    descriptor = os.open(folder / ".velodrome-download.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _listed(files: list[Path]) -> str:
    return ", ".join(str(file) for file in files)


def _nearby(root: Path) -> str:
    if not root.is_dir():
        return f" ({root} is no folder)"
    names = sorted(entry.name for entry in root.iterdir())[:8]
    return f" ({root} holds {', '.join(names) or 'nothing'})"

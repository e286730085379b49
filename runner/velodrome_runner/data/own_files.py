"""Own images in the files of published sets: IDX as MNIST has them, and SVHN's files for MATLAB."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from velodrome.spec import Dataset
from velodrome_runner.data.contents import Memory, Samples, Schema
from velodrome_runner.data.fetching import fetch
from velodrome_runner.data.files import download_alone, idx_file
from velodrome_runner.data.format import Description, InMemory, corrupt, invalid, missing
from velodrome_runner.data.idx import read_idx

# By split: the names of the files of images and labels.
_IDX = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def read_own_idx(place: Path) -> InMemory:
    """Images (n, 1, height, width) and labels in MNIST's four files, in the folder or in its folder `raw`.

    There are as many classes as the largest training label says, and their names are the labels.

    Raises:
        ConfigurationError: DatasetMissing, DatasetCorrupt or DatasetInvalid; the message names the file.
    """
    folder = place / "raw" if (place / "raw").is_dir() else place
    parts = {}
    for split, names in _IDX.items():
        tensors = []
        for name, dimensions in zip(names, (3, 1), strict=True):
            file = idx_file(folder / name)
            if file is None:
                raise missing(f"there is no {folder / name}, nor {name}.gz: put MNIST's four files there")
            tensors.append(read_idx(file, dimensions=dimensions))
        parts[split] = _memory(f"the {split} files of {folder}", tensors[0].unsqueeze(1), tensors[1].to(torch.int64))
    return _in_memory(parts, place, None)


def read_svhn(dataset: Dataset, place: Path) -> InMemory:
    """Images (n, 3, height, width) and labels in train_32x32.mat and test_32x32.mat; the label 10 stands for 0.

    Raises:
        ConfigurationError: DatasetMissing, DatasetCorrupt or DatasetInvalid; the message names the file.
        TrialFailed: DatasetDownloadFailed, if a requested download failed.
    """
    files = {split: place / f"{split}_32x32.mat" for split in ("train", "test")}

    def lacking() -> list[Path]:
        return [file for file in files.values() if not file.is_file()]

    if lacking() and dataset.source is not None and dataset.source.download:
        download_alone("SVHN", place, lambda: _download_svhn(place), lacking)
    if lacking():
        raise missing(
            f"there is no {lacking()[0]}: put SVHN's files there, or, for SVHN itself, write "
            "spec.dataset.source.download: true"
        )
    parts = {split: _mat(file) for split, file in files.items()}
    digits = tuple(map(str, range(10))) if dataset.format is None else None
    return _in_memory(parts, place, digits)


def _download_svhn(root: Path) -> None:
    from torchvision.datasets import SVHN

    for split in ("train", "test"):
        url, name, md5 = SVHN.split_list[split]
        fetch([url], root / name, md5)


def _mat(file: Path) -> Memory:
    from scipy.io import loadmat

    try:
        found: Any = loadmat(file)
        pixels, labels = torch.from_numpy(found["X"]), torch.from_numpy(found["y"]).flatten().to(torch.int64)
    except Exception as error:  # the reader stumbles in many ways, by where a file is cut or damaged
        raise corrupt(f"{file} is no file with SVHN's X and y ({error}): get it again") from error
    if pixels.dtype != torch.uint8 or pixels.ndim != 4:
        raise invalid(
            f"X in {file} is {pixels.dtype} of {pixels.ndim} dimensions: it must be uint8 (h, w, channels, n)"
        )
    return _memory(str(file), pixels.permute(3, 2, 0, 1).contiguous(), labels % 10)


def _memory(what: str, images: Tensor, labels: Tensor) -> Memory:
    if len(images) != len(labels):
        raise invalid(f"{what} have {len(images)} images and {len(labels)} labels: give each image one label")
    if len(images) == 0:
        raise invalid(f"{what} have no images: add some")
    return Memory(Samples({"images": images}, labels))


def _in_memory(parts: dict[str, Memory], place: Path, classes: tuple[str, ...] | None) -> InMemory:
    shape = tuple(parts["train"].samples.inputs["images"].shape[1:])
    for split, memory in parts.items():
        other = tuple(memory.samples.inputs["images"].shape[1:])
        if other != shape:
            raise invalid(f"the {split} images of {place} have the shape {other}, the training images {shape}")
    count = int(parts["train"].targets.max()) + 1
    schema = Schema(shape, classes if classes is not None else tuple(map(str, range(count))))
    return InMemory(Description("images", schema), parts)

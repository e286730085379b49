"""ILSVRC2012 as torchvision lays it out: the folders train and val, and the devkit with the names of the classes."""

from __future__ import annotations

import io
import tarfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from velodrome.spec import Dataset
from velodrome_runner.data.class_folders import classes_below
from velodrome_runner.data.class_names import alike
from velodrome_runner.data.contents import Schema
from velodrome_runner.data.folders import IMAGES, SUFFIXES
from velodrome_runner.data.format import corrupt, invalid, missing
from velodrome_runner.data.image_files import opened
from velodrome_runner.data.listed import Folders

_DEVKIT = "ILSVRC2012_devkit_t12"
_TRUTH = "ILSVRC2012_validation_ground_truth.txt"


def read_imagenet(dataset: Dataset, place: Path) -> Folders:
    """ILSVRC2012: the folders train and val, whose images may be in a folder a class or (val) in one folder.

    The class names are those of the devkit, if it is there, in the order of torchvision's labels. The official
    validation images are the test split, because the official test images have no labels.

    Raises:
        ConfigurationError: as `read_image_folder`.
    """
    train = place / "train"
    if not train.is_dir():
        raise missing(
            f"there is no folder {train}: unpack ILSVRC2012_img_train.tar there, a folder a class, as "
            "torchvision.datasets.ImageNet does"
        )
    listed = {"train": [(f"train/{name}", label) for name, label in classes_below(train, IMAGES)]}
    words = _devkit(place)
    listed["test"] = [(f"val/{name}", label) for name, label in _validation(place, words)]
    folders = tuple(sorted({label for files in listed.values() for _, label in files}))
    found = opened(place, listed, folders, scale=dataset.image_size, convert=True)
    named = tuple(words.names.get(folder, folder) for folder in folders)
    # Crane and maillot each name two classes, and a Cardigan is a dog.
    repeated = {name for name, count in Counter(map(alike, named)).items() if count > 1}
    classes = tuple(
        f"{name} ({folder})" if alike(name) in repeated else name for name, folder in zip(named, folders, strict=True)
    )
    return Folders(Schema(found.schema.shape, classes), found.parts, found.root, found.entries)


@dataclass(frozen=True)
class _Words:
    """What the devkit says: the name of each class by its folder, and the folder of each validation image in order."""

    names: Mapping[str, str]
    validation: Sequence[str]


def _devkit(place: Path) -> _Words:
    """The devkit, unpacked or as the official archive; without it, classes are named by their folders."""
    try:
        if (place / _DEVKIT).is_dir():
            data = place / _DEVKIT / "data"
            return _words((data / "meta.mat").read_bytes(), (data / _TRUTH).read_text("ascii"))
        archive = place / f"{_DEVKIT}.tar.gz"
        if not archive.is_file():
            return _Words({}, ())
        with tarfile.open(archive) as tar:
            meta, truth = (tar.extractfile(f"{_DEVKIT}/data/{name}") for name in ("meta.mat", _TRUTH))
            assert meta is not None
            assert truth is not None
            return _words(meta.read(), truth.read().decode("ascii"))
    except Exception as error:  # the readers stumble in many ways, by where a file is cut or damaged
        raise corrupt(f"the devkit {_DEVKIT} in {place} can't be read ({error}): get it again") from error


def _words(meta: bytes, truth: str) -> _Words:
    from scipy.io import loadmat

    file: Any = io.BytesIO(meta)  # the stubs know names of files alone
    synsets = loadmat(file, squeeze_me=True)["synsets"]
    leaves = [synset for synset in np.atleast_1d(synsets) if int(synset["num_children"]) == 0]
    folder = {int(synset["ILSVRC2012_ID"]): str(synset["WNID"]) for synset in leaves}
    names = {str(synset["WNID"]): str(synset["words"]).split(",")[0] for synset in leaves}
    return _Words(names, [folder[int(line)] for line in truth.split()])


def _validation(place: Path, words: _Words) -> list[tuple[str, str]]:
    """The images below val and their classes: by the folders, or by the devkit where all are in one folder."""
    folder = place / "val"
    if not folder.is_dir():
        raise missing(f"there is no folder {folder}: unpack ILSVRC2012_img_val.tar there")
    flat = sorted(entry.name for entry in folder.iterdir() if entry.name.lower().endswith(SUFFIXES))
    if not flat:
        return classes_below(folder, IMAGES)
    if len(words.validation) != len(flat):
        raise invalid(
            f"{folder} has {len(flat)} images in one folder, and the devkit names the classes of "
            f"{len(words.validation)}: put {_DEVKIT}.tar.gz into {place}, or each image into the folder of its class"
        )
    return list(zip(flat, words.validation, strict=True))

"""ImageFolder: images in a folder for each class, as torchvision reads them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from velodrome.spec import Dataset
from velodrome_runner.data.format import invalid, missing
from velodrome_runner.data.image_files import Folders, opened
from velodrome_runner.data.splitting import shared_out

# The suffixes that torchvision's ImageFolder reads.
SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")

# What people call the folder of a split.
_SPLITS = {"train", "training", "test", "testing", "val", "valid", "validation"}


def read_image_folder(dataset: Dataset, place: Path) -> Folders:
    """A folder a class, in the folders train, test (or val) and maybe val; or split as `spec.dataset.splits` says.

    Raises:
        ConfigurationError: DatasetMissing, DatasetInvalid or DatasetCorrupt; the message names the folder or the file.
    """
    splits = dataset.splits
    if splits is not None and splits.fractions is not None:
        files = classes_below(place)
        if {label for _, label in files} <= _SPLITS:
            raise invalid(
                f"the folders of {place} are splits, and not classes: leave out spec.dataset.splits.fractions, or "
                "write the folder whose folders are classes as spec.dataset.source.path"
            )
        listed = shared_out(files, lambda file: file[0], splits.fractions)
    else:
        folders = _split_folders(dataset, place)
        listed = {
            split: [(f"{folder}/{name}", label) for name, label in classes_below(place / folder)]
            for split, folder in folders.items()
        }
    classes = tuple(sorted({label for files in listed.values() for _, label in files}))
    return opened(place, listed, classes, scale=dataset.image_size, convert=False)


def _split_folders(dataset: Dataset, place: Path) -> dict[str, str]:
    if dataset.splits is not None and dataset.splits.files is not None:
        files = dataset.splits.files
        named = {"train": files.train, "validation": files.validation, "test": files.test}
        return {split: folder for split, folder in named.items() if folder is not None}
    there = {name: (place / name).is_dir() for name in ("train", "test", "val", "valid", "validation")}
    validation = next((name for name in ("val", "valid", "validation") if there[name]), None)
    if there["train"] and there["test"]:
        return {"train": "train", "test": "test"} | ({"validation": validation} if validation else {})
    if there["train"] and validation:
        return {"train": "train", "test": validation}
    held = ", ".join(sorted(entry.name for entry in place.iterdir())[:8]) if place.is_dir() else ""
    raise missing(
        f"{place} has no folders train and test ({f'it has {held}' if held else 'it is no folder, or empty'}): "
        "make them, with a folder a class in each, or write spec.dataset.splits.fractions"
    )


def classes_below(folder: Path) -> list[tuple[str, str]]:
    """Each image's path below the folder and the class whose folder it is in, in the order of the names."""
    if not folder.is_dir():
        raise missing(f"there is no folder {folder}: make it, with a folder a class in it")
    classes = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not classes:
        raise invalid(f"{folder} has no folder of a class: put each image into a folder that is named for its class")
    found = []
    for name in classes:
        images = sorted(_images(folder, name))
        if not images:
            raise invalid(
                f"the folder of the class {name}, {folder / name}, has no image ({', '.join(SUFFIXES)}): "
                "add some, or remove the folder"
            )
        found += [(image, name) for image in images]
    odd = next((image for image, _ in found if not _is_line(image)), None)
    if odd is not None:
        raise invalid(f"the path {str(folder / odd)!a} is no line of UTF-8 text: rename the file or its folder")
    return found


def _is_line(name: str) -> bool:
    """Whether a manifest and a record can hold the name."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return len(name.splitlines()) == 1


def _images(folder: Path, name: str) -> Iterator[str]:
    for directory, folders, files in os.walk(folder / name, followlinks=True):
        # Hidden folders hold copies, and a link to a folder above would give each image forty times.
        above = f"{os.path.realpath(directory)}/"
        folders[:] = [
            each
            for each in folders
            if not each.startswith(".") and not above.startswith(f"{os.path.realpath(f'{directory}/{each}')}/")
        ]
        below = os.path.relpath(directory, folder)
        yield from (f"{below}/{file}" for file in files if file.lower().endswith(SUFFIXES) and not file.startswith("."))

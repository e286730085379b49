"""A folder for each class, in a folder for each split or in one: which files are there. None is opened."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from velodrome.spec import Dataset
from velodrome.text import line
from velodrome_runner.data.class_names import refuse_names
from velodrome_runner.data.format import invalid, missing
from velodrome_runner.data.splitting import shared_out

# What people call the folder of a split.
_SPLITS = {"train", "training", "test", "testing", "val", "valid", "validation"}


class Files(NamedTuple):
    """Which files count: what one is called, how their names end, and folders that are no classes."""

    what: str
    suffixes: tuple[str, ...]
    without: tuple[str, ...] = ()


def files_by_split(
    dataset: Dataset, place: Path, files: Files, identity: Callable[[str], str] = str
) -> dict[str, list[tuple[str, str]]]:
    """The path below `place` and the class of each file, by split: as `spec.dataset.splits` says, or by its folder.

    Where fractions divide the files, those whose paths have one `identity` stay together.

    Raises:
        ConfigurationError: DatasetMissing or DatasetInvalid; the message names the folder.
    """
    if dataset.splits is not None and dataset.splits.fractions is not None:
        return shared_out(_undivided(place, files), lambda file: identity(file[0]), dataset.splits.fractions)
    return {
        split: [(f"{folder}/{name}", label) for name, label in classes_below(place / folder, files)]
        for split, folder in _split_folders(dataset, place).items()
    }


def classes_below(folder: Path, files: Files) -> list[tuple[str, str]]:
    """Each file's path below the folder and the class whose folder it is in, in the order of the names.

    Raises:
        ConfigurationError: DatasetMissing or DatasetInvalid; the message names the folder.
    """
    if not folder.is_dir():
        raise missing(f"there is no folder {folder}: make it, with a folder a class in it")
    folders = (entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    classes = sorted(name for name in folders if name not in files.without)
    if not classes:
        raise invalid(
            f"{folder} has no folder of a class: put each {files.what} into a folder that is named for its class"
        )
    refuse_names(classes, lambda name: line(folder / name))
    found = []
    for name in classes:
        paths = sorted(_below(folder, name, files.suffixes))
        if not paths:
            raise invalid(
                f"the folder of the class {name}, {folder / name}, has no {files.what} ({', '.join(files.suffixes)}): "
                "add some, or remove the folder"
            )
        found += [(path, name) for path in paths]
    odd = next((path for path, _ in found if not _is_line(path)), None)
    if odd is not None:
        raise invalid(f"the path {str(folder / odd)!a} is no line of UTF-8 text: rename the file or its folder")
    return found


def _split_folders(dataset: Dataset, place: Path) -> dict[str, str]:
    """The folder of each split, below `place`, as `spec.dataset.splits.files` or the folders' names say."""
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


def _undivided(folder: Path, files: Files) -> list[tuple[str, str]]:
    """As `classes_below`, where fractions divide the files. Raises also if the folders are called as splits are."""
    found = classes_below(folder, files)
    if {label for _, label in found} <= _SPLITS:
        raise invalid(
            f"the folders of {folder} are splits, and not classes: leave out spec.dataset.splits.fractions, or write "
            "the folder whose folders are classes as spec.dataset.source.path"
        )
    return found


def _is_line(name: str) -> bool:
    """Whether a manifest and a record can hold the name."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return len(name.splitlines()) == 1


def _below(folder: Path, name: str, suffixes: tuple[str, ...]) -> Iterator[str]:
    for directory, folders, files in os.walk(folder / name, followlinks=True):
        # Hidden folders hold copies, and a link to a folder above would give each file forty times.
        above = f"{os.path.realpath(directory)}/"
        folders[:] = [
            each
            for each in folders
            if not each.startswith(".") and not above.startswith(f"{os.path.realpath(f'{directory}/{each}')}/")
        ]
        below = os.path.relpath(directory, folder)
        yield from (f"{below}/{file}" for file in files if file.lower().endswith(suffixes) and not file.startswith("."))

"""The folders of Pascal VOC: where they are, which images each split has, and the file of an image."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from velodrome.spec import DatasetSplits
from velodrome_runner.data.folders import SUFFIXES
from velodrome_runner.data.format import corrupt, invalid, missing
from velodrome_runner.data.splitting import shared_out

_IMAGES = "JPEGImages"
# The folder with the annotations of a format, which tells where all folders are.
PARTS = {"VOC": "Annotations", "VOCSegmentation": "SegmentationClass"}


def root_of(place: Path, part: str) -> Path:
    """The folder that has the folder `part`: this place, or the only VOC2012 or the like below it."""
    if (place / part).is_dir():
        return place
    found = sorted(path.parent for path in (*place.glob(f"VOC*/{part}"), *place.glob(f"*/VOC*/{part}")))
    if len(found) == 1:
        return found[0]
    several = f"{len(found)} folders VOC* with" if found else "no folder"
    raise missing(f"{place} has {several} {part}: write the one with it as spec.dataset.source.path")


def names_of(root: Path, splits: DatasetSplits | None, *, every: str, lists: str) -> dict[str, list[str]]:
    """The names of the images of each split.

    Fractions are of all files of the pattern `every`. Without them, a file in the folder `lists` has the names of a
    split, one a line; val tests where there is no list of test images.

    Raises:
        ConfigurationError: DatasetMissing, DatasetCorrupt or DatasetInvalid; the message names the list.
    """
    splits = splits or DatasetSplits()
    if splits.fractions is not None:
        return shared_out(sorted(path.stem for path in root.glob(every)), str, splits.fractions)
    files = _lists(root, lists) if splits.files is None else splits.files.model_dump(exclude_none=True)
    return {split: list(_listed(root / path, root / every)) for split, path in files.items()}


def image_of(root: Path, name: str, written: str = "") -> str:
    """The path of an image below `root`: by its name without the end, or else as something has it `written`."""
    said = Path(written.replace("\\", "/"))
    names = [said.name] if said.stem == name else []
    names += [f"{name}{end}" for suffix in SUFFIXES for end in (suffix, suffix.upper())]
    names += [said.name] if written else []
    found = next((each for each in names if (root / _IMAGES / each).is_file()), names[-1] if written else names[0])
    return f"{_IMAGES}/{found}"


def _lists(root: Path, folder: str) -> dict[str, str]:
    there = {name for name in ("train", "val", "test") if (root / folder / f"{name}.txt").is_file()}
    if {"train", "test"} <= there:
        found = {"train": "train", "test": "test"} | ({"validation": "val"} if "val" in there else {})
    elif {"train", "val"} <= there:
        found = {"train": "train", "test": "val"}
    else:
        raise missing(
            f"{root / folder} has no train.txt and val.txt or test.txt: add them, an image's name a line, or write "
            "spec.dataset.splits.fractions"
        )
    return {split: f"{folder}/{name}.txt" for split, name in found.items()}


def _listed(path: Path, every: Path) -> Iterator[str]:
    """The names in a list, one a line. They may have spaces, if there is a file of the name and the pattern `every`."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise missing(f"there is no list of images {path}: correct spec.dataset.splits.files") from error
    except UnicodeDecodeError as error:
        raise corrupt(f"{path} is no UTF-8 (byte {error.start + 1}): save it as UTF-8") from error
    for at, line in enumerate(lines, start=1):
        name = line.strip()
        if not name:
            continue
        spaced = len(name.split()) > 1 and not every.with_name(f"{name}{every.suffix}").is_file()
        if spaced or "/" in name:
            raise invalid(f"line {at} of {path} is no name of an image: write one name a line, without a folder")
        yield name

"""ImageFolder: images in a folder for each class, as torchvision reads them."""

from __future__ import annotations

from pathlib import Path

from velodrome.spec import Dataset
from velodrome_runner.data.class_folders import Files, classes_below, split_folders, undivided
from velodrome_runner.data.image_files import opened
from velodrome_runner.data.listed import Folders
from velodrome_runner.data.splitting import shared_out

# The suffixes that torchvision's ImageFolder reads.
SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
IMAGES = Files("image", SUFFIXES)


def read_image_folder(dataset: Dataset, place: Path) -> Folders:
    """A folder a class, in the folders train, test (or val) and maybe val; or split as `spec.dataset.splits` says.

    Raises:
        ConfigurationError: DatasetMissing, DatasetInvalid or DatasetCorrupt; the message names the folder or the file.
    """
    splits = dataset.splits
    if splits is not None and splits.fractions is not None:
        listed = shared_out(undivided(place, IMAGES), lambda file: file[0], splits.fractions)
    else:
        folders = split_folders(dataset, place)
        listed = {
            split: [(f"{folder}/{name}", label) for name, label in classes_below(place / folder, IMAGES)]
            for split, folder in folders.items()
        }
    classes = tuple(sorted({label for files in listed.values() for _, label in files}))
    return opened(place, listed, classes, scale=dataset.image_size, convert=False)

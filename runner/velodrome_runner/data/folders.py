"""ImageFolder: images in a folder for each class, as torchvision reads them."""

from __future__ import annotations

from pathlib import Path

from velodrome.spec import Dataset
from velodrome_runner.data.class_folders import Files, files_by_split
from velodrome_runner.data.image_files import opened
from velodrome_runner.data.listed import Folders

# The suffixes that torchvision's ImageFolder reads.
SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
IMAGES = Files("image", SUFFIXES)


def read_image_folder(dataset: Dataset, place: Path) -> Folders:
    """A folder a class, in the folders train, test (or val) and maybe val; or split as `spec.dataset.splits` says.

    Raises:
        ConfigurationError: DatasetMissing, DatasetInvalid or DatasetCorrupt; the message names the folder or the file.
    """
    listed = files_by_split(dataset, place, IMAGES)
    classes = tuple(sorted({label for files in listed.values() for _, label in files}))
    return opened(place, listed, classes, scale=dataset.image_size, convert=False)

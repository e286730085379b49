"""Pascal VOC's masks: a PNG for each image in SegmentationClass, and the images in JPEGImages.

A pixel of a mask is the number of its class, whatever colour the palette gives it. 255 is void: VOC draws the borders
of objects with it, and they do not count.
"""

from __future__ import annotations

from pathlib import Path

from velodrome.spec import Dataset
from velodrome.vocabulary import VOC_CLASSES
from velodrome_runner.data.class_names import refuse_names
from velodrome_runner.data.masks import MaskedFolders, MaskedImage, opened_masks
from velodrome_runner.data.voc_folders import PARTS, image_of, names_of, root_of

_MASKS, _LISTS = PARTS["VOCSegmentation"], "ImageSets/Segmentation"


def read_voc_masks(dataset: Dataset, place: Path) -> MaskedFolders:
    """The images with masks of a job at `place`, the folder of SegmentationClass and JPEGImages, or one above VOC2012.

    Raises:
        ConfigurationError: DatasetMissing, DatasetCorrupt or DatasetInvalid; the message names the file.
    """
    refuse_names(dataset.classes or (), lambda _: "spec.dataset.classes")
    root = root_of(place, _MASKS)
    names = names_of(root, dataset.splits, every=f"{_MASKS}/*.png", lists=_LISTS)
    listed = {
        split: [MaskedImage(image_of(root, name), f"{_MASKS}/{name}.png") for name in each]
        for split, each in names.items()
    }
    return opened_masks(root, listed, dataset.classes or VOC_CLASSES, scale=dataset.image_size)

"""Makes a small data set of coloured shapes on a blurred background: with boxes as COCO has them, or masks as VOC has.

    python deploy/examples/shapes/make.py DIR            # writes DIR/shapes
    python deploy/examples/shapes/make.py DIR --masks    # writes DIR/shape-masks, of the same pictures

Needs NumPy and Pillow, which the runner has. The same seed makes the same pixels, boxes and masks.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

CLASSES = ("circle", "square", "triangle")
SIDE = 96
VOID = 255  # the label of the borders of shapes, as Pascal VOC draws them
PALETTE = [0, 0, 0, 200, 60, 60, 60, 200, 60, 60, 60, 200]  # for people: black, red, green and blue


def main() -> None:
    """Writes the three splits."""
    parser = argparse.ArgumentParser(description="Make a small data set of shapes with boxes or masks.")
    parser.add_argument("folder", type=Path, help="where to make the folder shapes, or shape-masks")
    parser.add_argument("--masks", action="store_true", help="masks in VOC's format, and no boxes")
    parser.add_argument("--train", type=int, default=800, help="number of training images")
    parser.add_argument("--val", type=int, default=100, help="number of validation images")
    parser.add_argument("--test", type=int, default=200, help="number of test images")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    noise = np.random.default_rng(given.seed)
    root = given.folder / ("shape-masks" if given.masks else "shapes")
    for split in ("train", "val", "test"):
        (write_masks if given.masks else write)(root, split, getattr(given, split), noise)


def write(root: Path, split: str, count: int, noise: np.random.Generator) -> None:
    """The images of a split, and its file of annotations, as COCO has them."""
    for folder in (split, "annotations"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for number in range(1, count + 1):
        picture, boxes, _ = scene(noise)
        name = f"{number:05}.png"
        picture.save(root / split / name)
        images.append({"id": number, "file_name": name, "width": SIDE, "height": SIDE})
        for label, (left, top, side), area in boxes:
            annotations.append(
                {
                    "id": len(annotations) + 1, "image_id": number, "category_id": label + 1,
                    "bbox": [left, top, side, side], "area": area, "iscrowd": 0,
                }
            )  # fmt: skip
    categories = [{"id": label + 1, "name": name} for label, name in enumerate(CLASSES)]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(document))


def write_masks(root: Path, split: str, count: int, noise: np.random.Generator) -> None:
    """The images of a split, their masks and the list of their names, as VOC has them."""
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    names = [f"{split}{number:05}" for number in range(1, count + 1)]
    for name in names:
        picture, _, labels = scene(noise)
        picture.save(root / "JPEGImages" / f"{name}.jpg", quality=95)
        labels.save(root / "SegmentationClass" / f"{name}.png")
    (root / "ImageSets/Segmentation" / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))


Boxes = list[tuple[int, tuple[int, int, int], int]]


def scene(noise: np.random.Generator) -> tuple[Image.Image, Boxes, Image.Image]:
    """An image with up to four shapes that do not touch: the class, the box (left, top, side) and the area of each.

    Last its mask: 0 for the background, then 1 + the class, and `VOID` at the borders.
    """
    dark = noise.integers(0, 100, (12, 12, 3)).astype(np.uint8)
    picture = Image.fromarray(dark).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    boxes: Boxes = []
    labels = Image.new("P", (SIDE, SIDE))
    labels.putpalette(PALETTE + [255] * (3 * 256 - len(PALETTE)))  # Pillow cuts labels to the bits of a shorter one
    for _ in range(int(noise.integers(0, 5))):
        side = int(noise.integers(10, 44))
        left, top = noise.integers(0, SIDE - side, 2).tolist()
        label, colour = int(noise.integers(len(CLASSES))), tuple(noise.integers(110, 256, 3).tolist())
        if any(touch((left, top, side), box) for _, box, _ in boxes):
            continue
        mask = Image.new("L", (SIDE, SIDE))
        draw(ImageDraw.Draw(mask), label, left, top, side)
        picture.paste(colour, mask=mask)
        inside, outside = mask.filter(ImageFilter.MinFilter(3)), mask.filter(ImageFilter.MaxFilter(3))
        labels.paste(label + 1, mask=mask)
        labels.paste(VOID, mask=ImageChops.difference(outside, inside))
        boxes.append((label, (left, top, side), int(np.count_nonzero(mask))))
    return picture, boxes, labels


def draw(canvas: ImageDraw.ImageDraw, label: int, left: int, top: int, side: int) -> None:
    """Fills the shape; its last pixels are inside the box."""
    right, bottom = left + side - 1, top + side - 1
    if CLASSES[label] == "circle":
        canvas.ellipse((left, top, right, bottom), fill=255)
    elif CLASSES[label] == "square":
        canvas.rectangle((left, top, right, bottom), fill=255)
    else:
        canvas.polygon([(left + side // 2, top), (left, bottom), (right, bottom)], fill=255)


def touch(one: tuple[int, int, int], other: tuple[int, int, int]) -> bool:
    """Whether two squares (left, top, side) have a point in common."""
    return all(one[axis] <= other[axis] + other[2] and other[axis] <= one[axis] + one[2] for axis in (0, 1))


if __name__ == "__main__":
    main()

"""The EXIF orientation that a camera noted: tools show an image turned by it, and programs read the pixels as they are.

So boxes and masks may be of either. The size of what was annotated tells which, unless both have the same size.
"""

from __future__ import annotations

from pathlib import Path

from PIL import ExifTags, Image

from velodrome_runner.data.format import invalid
from velodrome_runner.data.image_files import BROKEN

_AS_IT_IS, _ACROSS = 1, 5  # from 5 to 8 the width and the height change places


def is_turned(image: Image.Image, size: tuple[int, int], path: Path) -> bool:
    """Whether what has this width and height was drawn on the image as its EXIF orientation turns it.

    Raises:
        ConfigurationError: DatasetInvalid: the size does not tell.
    """
    noted = _noted(image)
    if noted == _AS_IT_IS or size not in (image.size, image.size[::-1]):
        return False
    if noted < _ACROSS or image.width == image.height:
        raise invalid(
            f"{path} has the EXIF orientation {noted}, by which tools turn or mirror it and programs don't, and its "
            "size does not tell on which of both it was annotated: save the image without the orientation, turned by "
            "Pillow's ImageOps.exif_transpose if its boxes or its mask were drawn so"
        )
    return size != image.size


def _noted(image: Image.Image) -> int:
    """The orientation in the image's header. Pillow itself turns a TIFF."""
    if image.format == "TIFF" or (image.format == "PNG" and "exif" not in image.info):
        return _AS_IT_IS
    try:
        noted = image.getexif().get(ExifTags.Base.Orientation, _AS_IT_IS)
    except BROKEN:
        return _AS_IT_IS
    return noted if noted in range(_AS_IT_IS, 9) else _AS_IT_IS

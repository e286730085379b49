"""The area that COCO's annotations give to an object: the metrics of small, medium and large objects go by it."""

from __future__ import annotations

from itertools import pairwise
from math import isfinite
from typing import Any

_PAIR = 2  # numbers of a point


def mask_area(segmentation: Any) -> float | None:
    """The square pixels of what an annotation has as `segmentation`; None if there is none that can be read.

    Polygons count their areas together. A mask by runs (RLE) is a mapping with `counts`, numbers or COCO's short form.
    Boxes need no mask, so a broken one is no error.
    """
    try:
        area = _area(segmentation)
    except (TypeError, ValueError, LookupError, AttributeError, OverflowError, RuntimeError):  # the last: of a bad RLE
        return None
    return area if area > 0 and isfinite(area) else None


def _area(segmentation: Any) -> float:
    if isinstance(segmentation, list):
        return sum(map(_polygon, segmentation))
    counts = segmentation["counts"]
    if isinstance(counts, list):
        return float(sum(counts[1::2]))
    from faster_coco_eval.core import mask

    return float(mask.area({"size": segmentation["size"], "counts": counts.encode()}))


def _polygon(points: list[float]) -> float:
    """The area inside a polygon x, y, x, y, …: the shoelace formula."""
    corners = list(zip(points[::_PAIR], points[1::_PAIR], strict=True))
    return abs(sum(x * below - right * y for (x, y), (right, below) in pairwise([*corners, corners[0]]))) / 2


def area_problem(area: float, width: float, height: float, mask: float | None) -> str | None:
    """What is wrong with the area of an object, whose box has this width and height; None if nothing is.

    Tools write the area of the mask, or that of the box, so it may be anything between. It is rounded at the border of
    the object, and the parts of a mask may overlap.
    """
    border = width + height + 1
    if area <= 0:
        return f"{area:g} is none"
    if area > width * height + border:
        return f"{area:g} is more than its box of {width:g} x {height:g} pixels has"
    if mask is not None and mask > 2 * area + border:
        return f"{area:g} is less than half of the {mask:g} pixels that its segmentation has"
    return None

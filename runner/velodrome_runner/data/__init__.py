"""Data sets as tensors: read, checked, digested and split. See `load`."""

from __future__ import annotations

from velodrome_runner.data.contents import (
    Contents,
    Held,
    Kind,
    Memory,
    Part,
    Samples,
    SampleSource,
    Schema,
    TokenWindows,
    Unpadded,
    images,
    part,
    steps,
    whole,
)
from velodrome_runner.data.loading import OpenedData, libraries, open_contents
from velodrome_runner.data.samples import Raw, Split, content_digest

__all__ = [
    "Contents",
    "Held",
    "Kind",
    "Memory",
    "OpenedData",
    "Part",
    "Raw",
    "SampleSource",
    "Samples",
    "Schema",
    "Split",
    "TokenWindows",
    "Unpadded",
    "content_digest",
    "images",
    "libraries",
    "open_contents",
    "part",
    "steps",
    "whole",
]

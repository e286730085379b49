"""Data sets as tensors: read, checked, digested and split. See `load`."""

from __future__ import annotations

from velodrome_runner.data.loading import load
from velodrome_runner.data.samples import Raw, Split, Splits, content_digest

__all__ = ["Raw", "Split", "Splits", "content_digest", "load"]

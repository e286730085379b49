"""Models by name. See `build`."""

from __future__ import annotations

from velodrome_runner.models.building import build

__all__ = ["build"]

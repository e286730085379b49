"""Models by name. See `build`."""

from __future__ import annotations

from velodrome_runner.models.building import build
from velodrome_runner.models.custom import find

__all__ = ["build", "find"]

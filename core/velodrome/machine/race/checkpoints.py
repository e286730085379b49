"""The checkpoints of trials on this machine, as far as an executor looks at them."""

from __future__ import annotations

import json
from pathlib import Path

from velodrome import keys


def steps_saved(folder: Path) -> int:
    """The step of the optimizer of a trial's last checkpoint; 0 where there is none that can be read."""
    try:
        steps = json.loads((folder / keys.CHECKPOINT_FILE).read_bytes())[keys.CHECKPOINT_STEPS]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return 0
    return steps if isinstance(steps, int) else 0

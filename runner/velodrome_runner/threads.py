"""How many threads a trial computes with, settled before torch starts.

A container that may use 2 CPUs of a 64-core machine still sees 64 of them, and a torch that starts 64 threads there
loses several times its speed. So the count comes from what the process may really use. This module imports no torch.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from velodrome import keys
from velodrome.errors import ConfigurationError
from velodrome.kernel import cpu_limit

# The libraries below torch and scikit-learn read these when they are loaded.
_COUNTS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_WAITING = "OMP_WAIT_POLICY"


def thread_count(environ: Mapping[str, str], root: Path = Path("/")) -> int:
    """Threads that this trial may compute with, 1 or more: `cpu_limit`, or VELODROME_CPUS where that is less.

    Raises:
        ConfigurationError: VELODROME_CPUS is not a number above 0.
    """
    limit, asked = cpu_limit(root), environ.get(keys.ENV_CPUS)
    return max(1, math.floor(min(limit, _asked(asked)))) if asked else limit


def use(threads: int) -> None:
    """Makes every library that is loaded from now on, and torch if it is loaded already, compute with that many.

    Threads that wait for each other sleep, unless OMP_WAIT_POLICY says otherwise. OpenMP has them spin, which is a
    little faster while each has a CPU to itself, and slower by ten times and more as soon as anything else wants one:
    the thread that all wait for is the one that has no CPU.
    """
    os.environ.update(dict.fromkeys(_COUNTS, str(threads)))
    os.environ.setdefault(_WAITING, "PASSIVE")
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(threads)


def _asked(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise ConfigurationError(f"{keys.ENV_CPUS} is {text!r}: set it to a number of CPUs above 0, such as 2")
    return number

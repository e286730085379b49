"""Sets the number of threads of a trial before torch starts.

A container that may use 2 CPUs of a 64-core machine still sees 64 CPUs. If torch starts 64 threads there, it becomes
several times slower. So the number comes from the CPUs that the process may really use. Does not import torch.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from velodrome import keys
from velodrome.errors import ConfigurationError
from velodrome.kernel.limits import cpu_limit

# The libraries that torch and scikit-learn use read these when they are loaded.
_COUNTS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_WAITING = "OMP_WAIT_POLICY"


def thread_count(environ: Mapping[str, str], root: Path = Path("/")) -> int:
    """The number of threads for this trial, 1 or more: `cpu_limit`, or VELODROME_CPUS if that is smaller.

    Raises:
        ConfigurationError: VELODROME_CPUS is not a number above 0.
    """
    limit, asked = cpu_limit(root), environ.get(keys.ENV_CPUS)
    return max(1, math.floor(min(limit, _asked(asked)))) if asked else limit


def use(threads: int) -> None:
    """Sets the number of threads for all libraries that are loaded later, and for torch if it is already loaded.

    Threads that wait for each other sleep, unless OMP_WAIT_POLICY says otherwise. By default OpenMP lets them spin.
    That is a little faster while each thread has a CPU to itself. But it is slower by ten times and more as soon as
    another program needs a CPU, because then all threads wait for the one without a CPU.
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

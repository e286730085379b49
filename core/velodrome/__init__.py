"""Velodrome: what a BenchmarkJob is, which trials it makes, what their results mean, and the Python API to all that.

    import velodrome

    (job,) = velodrome.read_jobs("race.yaml")
    velodrome.run(job)
    with velodrome.open_results() as results:
        print(results.ranking(job.board, "accuracy"))

Importing this package is free: every module is imported by its own name, and the functions of the API when they are
first asked for. So the command line stays quick, and no component pays for what it doesn't use.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# The types of these are in __init__.pyi.
_API = {
    "VelodromeError": "velodrome.errors",
    "open_results": "velodrome.api.results",
    "read_jobs": "velodrome.api.jobs",
    "run": "velodrome.api.racing",
}


def __getattr__(name: str) -> Any:
    if name not in _API:
        raise AttributeError(f"module 'velodrome' has no attribute {name!r}")
    return getattr(import_module(_API[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_API])

"""Reads BenchmarkJobs from a file or from a text."""

from __future__ import annotations

import os
from pathlib import Path

from velodrome import spec
from velodrome.spec import BenchmarkJob


def read_jobs(source: str | os.PathLike[str]) -> tuple[BenchmarkJob, ...]:
    """Every BenchmarkJob of a file or of a text, in YAML or JSON.

    A text is a `str` of more than one line, or one that begins with `{`. Every other `source` is a path.

    Raises:
        SpecError: the file can't be read, or anything in it is wrong. It has every problem, with its field and line.
    """
    if isinstance(source, str) and ("\n" in source or source.lstrip().startswith("{")):
        return spec.parse_jobs(source, "the text")
    return spec.read_jobs(Path(source))

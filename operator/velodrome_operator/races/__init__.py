"""All BenchmarkJobs that the operator knows: for each, its object, its Jobs and pods, and the notes about it.

Nothing here outlives the process. All of it can be read again from the API server and Redis.
"""

from __future__ import annotations

from velodrome_operator.races.race import Race, may_share
from velodrome_operator.races.races import Races

__all__ = ["Race", "Races", "may_share"]

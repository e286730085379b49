"""All BenchmarkJobs that the operator knows: each one's object, its Jobs and pods, and what is noted of it.

All of it can be had again from the API server and Redis: nothing here outlives the process.
"""

from __future__ import annotations

from velodrome_operator.races.race import Race, may_share
from velodrome_operator.races.races import Races

__all__ = ["Race", "Races", "may_share"]

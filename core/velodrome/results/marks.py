"""What people say about results: which one to compare with, and that a change is accepted."""

from __future__ import annotations

from pydantic import AwareDatetime, Field

from velodrome.keys import SCHEMA_VERSION
from velodrome.results.records import Data

_NAME = r"^[^\n]*$"  # the parts of a Redis field stand on lines of their own


class Baseline(Data):
    """A job's values of an entry, pinned as what later values are compared with.

    `metric_key` is empty where it holds for all of the entry's metrics; a pin for one metric goes before it.
    """

    schema_version: int = SCHEMA_VERSION
    board: str
    entry: str = Field(pattern=_NAME)
    metric_key: str = Field(default="", pattern=_NAME)
    job_uid: str
    at: AwareDatetime
    note: str = ""

    @property
    def field(self) -> str:
        """Where the board's hash keeps it: one for each entry and metric."""
        return f"{self.entry}\n{self.metric_key}"


class Acknowledgement(Data):
    """The change that a job's values show is accepted: no alarm, and later values are compared with these."""

    schema_version: int = SCHEMA_VERSION
    board: str
    entry: str = Field(pattern=_NAME)
    metric_key: str = Field(pattern=_NAME)
    job_uid: str = Field(pattern=_NAME)
    at: AwareDatetime
    note: str = ""

    @property
    def field(self) -> str:
        """Where the board's hash keeps it: one for each entry, metric and job."""
        return f"{self.entry}\n{self.metric_key}\n{self.job_uid}"

"""Marks: what people say about results. A pin names a baseline, and an acceptance accepts a change."""

from __future__ import annotations

from pydantic import AwareDatetime, Field

from velodrome.keys import SCHEMA_VERSION
from velodrome.results.base import Data

_NAME = r"^[^\n]*$"  # each part of a Redis field is one line


class Baseline(Data):
    """A pin: later values of an entry are compared with this job's values.

    An empty `metric_key` means all of the entry's metrics. A pin for one metric takes precedence over it.
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
        """The field of the board's hash: one for each entry and metric."""
        return f"{self.entry}\n{self.metric_key}"


class Acknowledgement(Data):
    """An acceptance of the change that a job's values show: no alarm, and later values are compared with these."""

    schema_version: int = SCHEMA_VERSION
    board: str
    entry: str = Field(pattern=_NAME)
    metric_key: str = Field(pattern=_NAME)
    job_uid: str = Field(pattern=_NAME)
    at: AwareDatetime
    note: str = ""

    @property
    def field(self) -> str:
        """The field of the board's hash: one for each entry, metric and job."""
        return f"{self.entry}\n{self.metric_key}\n{self.job_uid}"

"""Marks: what people say of results. A pin names a baseline, an acceptance accepts a change, a hiding hides a run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import AwareDatetime, Field

from velodrome.keys import SCHEMA_VERSION
from velodrome.results.base import Data
from velodrome.text import line

_NAME = r"^[^\n]*$"  # each part of a Redis field is one line


def _unsaid(value: object) -> bool:
    """Whether to leave the field out. So marks of older versions are written as they were read."""
    return value == ""


class Baseline(Data):
    """A pin: later values of an entry are compared with this job's values.

    An empty `metric_key` means all of the entry's metrics. A pin for one metric takes precedence over it. `by` says who
    set the mark, as far as that is known.
    """

    schema_version: int = SCHEMA_VERSION
    board: str
    entry: str = Field(pattern=_NAME)
    metric_key: str = Field(default="", pattern=_NAME)
    job_uid: str
    at: AwareDatetime
    note: str = ""
    by: str = Field(default="", exclude_if=_unsaid)

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
    by: str = Field(default="", exclude_if=_unsaid)

    @property
    def field(self) -> str:
        """The field of the board's hash: one for each entry, metric and job."""
        return f"{self.entry}\n{self.metric_key}\n{self.job_uid}"


class Hiding(Data):
    """A run counts as missing: its values rank nowhere, and its entry is unranked with the reason, which is `note`."""

    schema_version: int = SCHEMA_VERSION
    board: str
    entry: str = Field(pattern=_NAME)
    job_uid: str = Field(pattern=_NAME)
    index: int = Field(ge=0)
    seed: int
    at: AwareDatetime
    note: str = Field(min_length=1)
    by: str = Field(default="", exclude_if=_unsaid)

    @property
    def field(self) -> str:
        """The field of the job's hash: one for each trial."""
        return str(self.index)


Mark = Baseline | Acknowledgement | Hiding
Did = Literal["pinned", "unpinned", "accepted", "no longer accepted", "hid", "showed again"]


class Deed(Data):
    """What a person did to a mark, for the board's log."""

    schema_version: int = SCHEMA_VERSION
    board: str
    at: AwareDatetime
    by: str = ""
    did: Did
    entry: str = Field(pattern=_NAME)
    metric_key: str = Field(default="", pattern=_NAME)
    job_uid: str = Field(pattern=_NAME)
    index: int | None = None
    note: str = ""

    @property
    def field(self) -> str:
        """The field of the log's hash. Fields sort by time, and the same deed has the same field."""
        index = "" if self.index is None else self.index
        return "\n".join(
            (f"{self.at.timestamp():020.6f}", self.job_uid, self.entry, self.metric_key, str(index), self.did)
        )


_DOING: dict[type[Data], tuple[Did, Did]] = {
    Baseline: ("pinned", "unpinned"),
    Acknowledgement: ("accepted", "no longer accepted"),
    Hiding: ("hid", "showed again"),
}


def deed_of(mark: Mark, *, undone: bool = False) -> Deed:
    """What the person of the mark did, at the mark's time: set it, or removed it if it is `undone`."""
    index = mark.index if isinstance(mark, Hiding) else None
    key = "" if isinstance(mark, Hiding) else mark.metric_key
    return Deed(
        board=mark.board,
        at=mark.at,
        by=mark.by,
        did=_DOING[type(mark)][undone],
        entry=mark.entry,
        metric_key=key,
        job_uid=mark.job_uid,
        index=index,
        note="" if undone else mark.note,
    )


def hidden_words(hidings: Iterable[Hiding]) -> dict[str, str]:
    """By entry, which of its runs are hidden, and why: the reason that stands wherever the entry has no rank."""
    found: dict[str, list[Hiding]] = {}
    for one in sorted(hidings, key=lambda one: one.index):
        found.setdefault(one.entry, []).append(one)
    return {entry: _words(several) for entry, several in found.items()}


def _words(hidings: list[Hiding]) -> str:
    seeds = ", ".join(str(one.seed) for one in hidings)
    many = f"the run of seed {seeds} is" if len(hidings) == 1 else f"the runs of seeds {seeds} are"
    notes = dict.fromkeys(line(one.note) for one in hidings)
    return f"{many} hidden: {'; '.join(notes)}"

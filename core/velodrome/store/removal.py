"""Makes the commands that remove something from a board. Pure: no I/O here.

Commands that only delete come first, because a full Redis still accepts them. After one of them was done, Redis lets
the same script write too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from velodrome import keys
from velodrome.results.marks import Acknowledgement, Baseline, Deed

if TYPE_CHECKING:
    from velodrome.results.records import JobInfo
    from velodrome.store.access import Argument

    Command = tuple[Argument, ...]

SaidOfResults = Baseline | Acknowledgement

_FIELDS_AT_ONCE = 1000  # Lua passes fewer than 8000 arguments
_SAMPLE_BYTES = 16
_STAMP = 16


@dataclass(frozen=True, slots=True)
class KeptRow:
    """A ranking row as Redis has it: its bytes, and the parts that a removal reads."""

    text: bytes

    @property
    def age(self) -> bytes:
        return self.text.split(b"\n", 1)[0]

    @property
    def stamp(self) -> bytes:
        return self.text.split(b"\n", 2)[2][:_STAMP]

    @property
    def values(self) -> int:
        """How many values it has."""
        return (len(self.text.split(b"\n", 2)[2]) - _STAMP) // _SAMPLE_BYTES


@dataclass(frozen=True, slots=True)
class CohortChange:
    """The rows of one metric key in one cohort after the removal, and the entries whose rows change."""

    metric_key: str
    cohort_id: str
    rows: Mapping[bytes, KeptRow]
    changed: frozenset[bytes]


@dataclass(frozen=True, slots=True)
class Removal:
    """What one step removes from a board.

    `fields` are the fields to delete from the job's hashes, by key. If it is empty, the whole job is removed. `heirs`
    has an item for each entry that the board's list of entries has from this job: the new value, or None to remove the
    entry. `last` says that the board has no other job.
    """

    job: JobInfo
    cohorts: Sequence[CohortChange]
    heirs: Mapping[str, bytes | None]
    marks: Sequence[SaidOfResults | Deed]
    last: bool = False
    fields: Mapping[str, Sequence[Argument]] = field(default_factory=dict)


def commands(removal: Removal) -> Iterator[Command]:
    """All commands of the removal, in order."""
    yield from _deleting(removal)
    yield from _writing(removal)


def _deleting(removal: Removal) -> Iterator[Command]:
    job, board = removal.job, removal.job.board
    if removal.fields:
        for key, fields in removal.fields.items():
            yield from _chunks("HDEL", key, fields)
    else:
        yield "UNLINK", *keys.of_job(job.uid)
        yield "ZREM", keys.JOBS, job.uid
        yield "ZREM", keys.board_jobs(board), job.uid
    for one in removal.cohorts:
        gone = [entry for entry in one.changed if entry not in one.rows]
        yield from _chunks("HDEL", keys.board_rows(board, one.metric_key, one.cohort_id), gone)
        if one.changed and not one.rows:
            known = keys.board_cohorts(board, one.metric_key)
            yield "HDEL", known, f"samples:{one.cohort_id}", f"last:{one.cohort_id}", f"order:{one.cohort_id}"
    without = [entry for entry, heir in removal.heirs.items() if heir is None]
    yield from _chunks("HDEL", keys.board_entries(board), without)
    for mark in removal.marks:
        yield "HDEL", marks_key(mark), mark.field
    if removal.last:
        yield from board_leftovers(board)


def board_leftovers(board: str) -> Iterator[Command]:
    """Commands that delete what may be left of a board without jobs. Its counters stay and go up, so that everyone who
    watches them sees that the board was deleted.
    """
    yield "ZREM", keys.BOARDS, board
    yield "HDEL", keys.BOARD_TIMES, board
    yield "HDEL", keys.BOARD_OWNERS, board
    yield (
        "UNLINK",
        keys.board_jobs(board),
        keys.board_entries(board),
        keys.board_baselines(board),
        keys.board_acknowledgements(board),
        keys.board_log(board),
        keys.board_reading(board),
    )


def _writing(removal: Removal) -> Iterator[Command]:
    board = removal.job.board
    for one in removal.cohorts:
        set_: list[Argument] = []
        for entry in one.changed & one.rows.keys():
            set_ += (entry, one.rows[entry].text)
        yield from _chunks("HSET", keys.board_rows(board, one.metric_key, one.cohort_id), set_)
        if one.changed and one.rows:
            values = sum(row.values for row in one.rows.values())
            last = max(row.stamp for row in one.rows.values())
            order = max(row.age for row in one.rows.values())[:_STAMP]
            known = keys.board_cohorts(board, one.metric_key)
            kept: tuple[Argument, ...] = (f"last:{one.cohort_id}", last, f"order:{one.cohort_id}", order)
            yield "HSET", known, f"samples:{one.cohort_id}", values, *kept
    for name, heir in removal.heirs.items():
        if heir is not None:
            yield "HSET", keys.board_entries(board), name, heir
    yield "HINCRBY", keys.CHANGES, f"results:{board}", 1
    if removal.marks:
        yield "HINCRBY", keys.CHANGES, f"marks:{board}", 1


def _chunks(command: str, key: str, arguments: Sequence[Argument]) -> Iterator[Command]:
    for start in range(0, len(arguments), _FIELDS_AT_ONCE):
        yield command, key, *arguments[start : start + _FIELDS_AT_ONCE]


def flat(found: Iterable[Command]) -> Iterator[Argument]:
    """The commands as arguments of `remove.lua`: the number of its words before each command."""
    for command in found:
        yield len(command)
        yield from command


def fields_of_entry(
    job: JobInfo, entry: str, hashes: Mapping[keys.JobPart, Iterable[bytes]]
) -> dict[str, list[Argument]]:
    """The fields of one entry in a job's hashes, by key.

    `hashes` has the fields of failures, conflicts, entries and samples. Their names show to which entry they belong.
    """
    indices = range(job.entries.index(entry), job.trials, len(job.entries))  # trials interleave entries
    found: dict[str, list[Argument]] = {}
    by_index: tuple[keys.JobPart, ...] = ("trials", "records", "curves", "scores", "hidden", "progress", "live")
    for part in by_index:
        found[keys.job(job.uid, part)] = list(indices)
    own = {str(index).encode() for index in indices}
    for part, names in hashes.items():
        found[keys.job(job.uid, part)] = [name for name in names if _is_of(part, name, own, entry.encode())]
    return {key: fields for key, fields in found.items() if fields}


def _is_of(part: keys.JobPart, name: bytes, indices: set[bytes], entry: bytes) -> bool:
    """Whether a field of that part belongs to the entry, or to one of its trials."""
    if part == "entries":
        return _counts(name) == entry
    if part == "samples":
        return name.split(b"\n", 2)[2:] == [entry]
    return name.partition(b":")[0] in indices


def marks_key(mark: SaidOfResults | Deed) -> str:
    """The key of the board's marks of this kind, or of its log."""
    if isinstance(mark, Deed):
        return keys.board_log(mark.board)
    return keys.board_baselines(mark.board) if isinstance(mark, Baseline) else keys.board_acknowledgements(mark.board)


def _counts(name: bytes) -> bytes:
    """The entry of a counter."""
    kind, _, rest = name.partition(b":")
    return rest.partition(b":")[2] if kind == b"reason" else rest

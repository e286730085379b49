"""Sequences in a CSV file of the long format: one row a step, and a column that names the sequence that a row is of.

The column `spec.dataset.target` and the columns of `spec.dataset.splits` have one value in all rows of a sequence.
Every other column is a channel. Lengths may differ. The rows of a sequence are in the order of its steps, as the column
`columns.step` shows. Without one they are next to each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from velodrome.spec import Columns, Dataset, DatasetSplits
from velodrome.text import counted
from velodrome_runner.data.columns import flat, is_numeric, numbers, pointed, targets_of, text_of
from velodrome_runner.data.contents import Schema, Tensors, sequences
from velodrome_runner.data.format import Description, InMemory, divided, invalid
from velodrome_runner.data.splitting import by_column, by_fractions, numbered_groups
from velodrome_runner.data.table_files import Rows, named, read_csv, read_rows

_SHORTEST = 2  # steps: a sequence of one value has no course
_FIX = "mend it, or list the column under spec.dataset.columns.ignore"
_TIMES = (pa.timestamp("ns"), pa.timestamp("ns", "UTC"))
Indices = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class _Cut:
    """Which rows are which sequence's; sequences count from 0, in the order of their first rows.

    `of` (rows,) has the sequence of each row, `order` (rows,) the rows sequence by sequence, each in the order of the
    file. `first` (n,) has the first row of each sequence, `lengths` (n,) the number of its rows.
    """

    rows: Rows
    names: list[str]
    of: Indices
    order: Indices
    first: Indices
    lengths: Indices

    def where(self, row: int) -> str:
        """Words for a row: its line and its sequence."""
        return f"{self.rows.where(row)} (sequence {self.names[self.of[row]]!r})"


def read_sequence_csv(dataset: Dataset, place: Path, *, task: str | None = None) -> InMemory:
    """The sequences of a job at `place`, a file or (with `splits.files`) a folder; `task` is `spec.task`.

    With `splits.files`, sequences of one name in two files are two sequences.

    Raises:
        ConfigurationError: DatasetMissing, DatasetCorrupt or DatasetInvalid; the message names the column, or the line
            and the sequence.
    """
    columns, splits = dataset.columns or Columns(), dataset.splits or DatasetSplits()
    sequence, target = columns.sequence or "", dataset.target or ""
    rows = read_rows(read_csv, place, splits, "CSV")
    roles = [name for name in (sequence, columns.step, target, splits.column, splits.group) if name]
    named(rows.table, [*roles, *columns.numeric, *columns.ignore], place)
    cut = _cut(rows, sequence)
    _check_order(cut, sequence, columns.step)
    _check_lengths(cut)
    channels = _channels(rows.table.column_names, columns, roles)
    values = _values(cut, channels)
    labels = _constant(cut, target, "target")
    targets, classes = targets_of(pa.chunked_array([labels]), target, task, lambda at: cut.where(int(cut.first[at])))
    values = values[cut.order]
    pool = sequences([torch.from_numpy(values)], torch.from_numpy(cut.lengths), targets)
    groups = None if splits.group is None else _constant(cut, splits.group, "group").to_pylist()
    names = [rows.names[row] for row in cut.first] if rows.names else []
    if splits.column is not None:
        given = _constant(cut, splits.column, "split").to_pylist()
        names = by_column(given, splits.column, lambda at: cut.where(int(cut.first[at])))
    if splits.fractions is not None:
        each = np.split(values, np.cumsum(cut.lengths)[:-1])
        names = by_fractions(_identities(groups, each, labels.to_pylist()), splits.fractions)
    numbered: tuple[torch.Tensor | None, torch.Tensor | None] = (None, None)
    if groups is not None and splits.group is not None:
        numbered = numbered_groups(groups, names, splits.group)
    shape = (len(channels), int(cut.lengths.max()))
    schema = Schema(shape, classes, numeric=tuple(channels), target=target, equal=bool((cut.lengths == shape[1]).all()))
    parts = {name: source for name, source in divided(pool, names).items() if isinstance(source, Tensors)}
    return InMemory(Description("sequences", schema, *numbered), parts)


def _identities(groups: list[str] | None, each: list[Any], labels: list[str]) -> list[bytes]:
    """What decides on the split of each sequence: its group, or else its values and its target, whatever its name."""
    if groups is not None:
        return [group.encode() for group in groups]
    return [part.astype("<f4").tobytes() + label.encode() for part, label in zip(each, labels, strict=True)]


def _cut(rows: Rows, sequence: str) -> _Cut:
    column = text_of(flat(rows.table[sequence], sequence))
    encoded = column.combine_chunks().dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    if (codes < 0).any():
        row = int((codes < 0).argmax())
        raise invalid(f"{rows.where(row)} has no value in the column {sequence}, which names its sequence: fill it in")
    keys = codes * len(rows.files) + np.repeat(np.arange(len(rows.files)), [count for _, count in rows.files])
    _, first, found = np.unique(keys, return_index=True, return_inverse=True)
    place = np.argsort(np.argsort(first))  # of each key, by its first row
    of = place[found]
    ids = encoded.dictionary.to_pylist()
    starts = np.sort(first)
    return _Cut(rows, [ids[codes[row]] for row in starts], of, np.argsort(of, kind="stable"), starts, np.bincount(of))


def _check_order(cut: _Cut, sequence: str, step: str | None) -> None:
    if step is None:
        begins = np.flatnonzero(np.diff(cut.of, prepend=-1))
        again = begins[cut.first[cut.of[begins]] != begins]
        if len(again):
            raise invalid(
                f"{cut.where(int(again[0]))} is apart from the other rows of its sequence: put them side by side, "
                f"give each sequence a name of its own in the column {sequence}, or write spec.dataset.columns.step, "
                "the column that counts the steps"
            )
        return
    column = flat(cut.rows.table[step], step)
    steps = _steps(cut, column, step)[cut.order]
    of = cut.of[cut.order]
    wrong = np.flatnonzero((of[1:] == of[:-1]) & (steps[1:] <= steps[:-1]))
    if len(wrong):
        before, row = (int(cut.order[at]) for at in (wrong[0], wrong[0] + 1))
        value = column[row].as_py()
        if steps[wrong[0]] == steps[wrong[0] + 1]:
            raise invalid(f"{cut.where(row)} has the {step} {value!r} for the second time: keep one row a step")
        raise invalid(
            f"{cut.where(row)} has the {step} {value!r} after {column[before].as_py()!r}: sort the rows of each "
            f"sequence by {step}"
        )


def _steps(cut: _Cut, column: pa.ChunkedArray, step: str) -> Any:
    """The steps (rows,) as numbers that have their order."""
    if column.null_count:
        row = int(np.argmax(column.is_null().to_numpy()))
        raise invalid(f"{cut.where(row)} has no value in the column {step}, which counts the steps: fill it in")
    number = is_numeric(column)
    for kind in (pa.int64(), pa.float64()) if number else _TIMES:
        try:
            return (pointed(column) if number else column).cast(kind).cast(kind if number else pa.int64()).to_numpy()
        except pa.ArrowInvalid:
            continue
    row = next(at for at, value in enumerate(column.to_pylist()) if not _is_step(value, column[0].as_py()))
    raise invalid(
        f"{cut.where(row)} has {column[row].as_py()!r} in the column {step}, which counts the steps: write numbers, or "
        "times such as 2026-01-31T12:00:00, in all rows"
    )


def _is_step(value: str, first: str) -> bool:
    """Whether the value is of the kind that the first one is: a number, or a time."""
    if is_numeric(pa.chunked_array([[first]])):
        return is_numeric(pa.chunked_array([[value]]))
    for kind in _TIMES:
        try:
            pa.array([first, value]).cast(kind)
        except pa.ArrowInvalid:
            continue
        return True
    return False


def _check_lengths(cut: _Cut) -> None:
    short = np.flatnonzero(cut.lengths < _SHORTEST)
    if len(short):
        others = f", and {counted(len(short) - 1, 'other is', 'others are')} too" if len(short) > 1 else ""
        raise invalid(
            f"{cut.where(int(cut.first[short[0]]))} is all of its sequence{others}: remove it, since a sequence has "
            "two steps or more"
        )


def _channels(names: list[str], columns: Columns, roles: list[str]) -> list[str]:
    channels = [name for name in names if name in columns.numeric or name not in {*roles, *columns.ignore}]
    if not channels:
        raise invalid("no column is left for a channel: list fewer columns under spec.dataset.columns.ignore")
    return channels


def _values(cut: _Cut, channels: list[str]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The channels of all rows (rows, channels), all of them finite."""
    found = np.empty((len(cut.of), len(channels)), dtype=np.float32)
    for at, name in enumerate(channels):
        exact = numbers(flat(cut.rows.table[name], name), name, cut.where, _FIX)
        if np.isnan(exact).any():
            row = int(np.isnan(exact).argmax())
            raise invalid(f"{cut.where(row)} has no value in the column {name}: fill it in, or remove the sequence")
        found[:, at] = exact
    return found


def _constant(cut: _Cut, name: str, what: str) -> pa.Array:
    """The value of each sequence (n,), as text, of a column that does not change within one."""
    encoded = text_of(flat(cut.rows.table[name], name)).combine_chunks().dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    if (codes < 0).any():
        raise invalid(f"{cut.where(int((codes < 0).argmax()))} has no value in the {what} column {name}: fill it in")
    changed = codes != codes[cut.first][cut.of]
    if changed.any():
        row = int(changed.argmax())
        value, first = (encoded.dictionary[codes[at]].as_py() for at in (row, cut.first[cut.of[row]]))
        raise invalid(
            f"{cut.where(row)} has {value!r} in the {what} column {name}, and its sequence begins with {first!r}: give "
            "all rows of a sequence one value, or cut it in two"
        )
    return encoded.dictionary.take(pa.array(codes[cut.first]))

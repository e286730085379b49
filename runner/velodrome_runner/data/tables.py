"""Tables: CSV and Parquet files with a target column, read by PyArrow.

Every column is a number or a category. Columns that `spec.dataset.columns` does not list are told by their values: a
column is numeric if each of its values is a number. A missing value stays missing; what becomes of it is the
preprocessing's affair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from velodrome.spec import Columns, Dataset, DatasetSplits
from velodrome_runner.data.columns import (
    CATEGORICAL,
    Floats,
    Where,
    codes_of,
    flat,
    is_numeric,
    mistyped,
    numbers,
    targets_of,
    text_of,
)
from velodrome_runner.data.contents import Memory, Samples, Schema
from velodrome_runner.data.format import Description, InMemory, divided, invalid
from velodrome_runner.data.splitting import by_column, by_fractions, numbered_groups
from velodrome_runner.data.table_files import Rows, named, read_csv, read_parquet, read_rows

# More categories than this in a column that nobody declared: it is an id or free text.
_MOST_INFERRED = 1000


@dataclass(frozen=True)
class _Encoded:
    """All rows as tensors, and the bytes that identify each row."""

    samples: Samples
    schema: Schema
    identities: list[bytes]


def read_table(dataset: Dataset, place: Path, *, task: str | None = None) -> InMemory:
    """The table of a job at `place`, a file or (with `splits.files`) a folder.

    Raises:
        ConfigurationError: DatasetMissing, DatasetCorrupt or DatasetInvalid; the message names the file or the column.
    """
    splits, target = dataset.splits or DatasetSplits(), dataset.target or ""
    reader = read_csv if dataset.format == "CSV" else read_parquet
    rows = read_rows(reader, place, splits, dataset.format or "")
    names, table = rows.names, rows.table
    special = [name for name in (target, splits.column, splits.group) if name]
    named(table, [*special, *_declared(dataset.columns)], place)
    if splits.column is not None:
        names = by_column(text_of(table[splits.column]).to_pylist(), splits.column, rows.where)
    apart = {target, splits.column, *({splits.group} - set(_declared(dataset.columns)))}
    features = [name for name in table.column_names if name not in apart]
    encoded = _encoded(rows, target, features, dataset.columns or Columns(), task)
    groups = None if splits.group is None else text_of(table[splits.group]).to_pylist()
    if splits.fractions is not None:
        identities = encoded.identities if groups is None else [str(group).encode() for group in groups]
        names = by_fractions(identities, splits.fractions)
    parts = divided(Memory(encoded.samples), names)
    numbers: tuple[torch.Tensor | None, torch.Tensor | None] = (None, None)
    if groups is not None and splits.group is not None:
        numbers = numbered_groups(groups, names, splits.group)
    memories = {name: source for name, source in parts.items() if isinstance(source, Memory)}
    return InMemory(Description("table", encoded.schema, *numbers), memories)


def _declared(columns: Columns | None) -> list[str]:
    return [] if columns is None else [*columns.numeric, *columns.categorical, *columns.ignore]


def _encoded(all_: Rows, target: str, features: Sequence[str], columns: Columns, task: str | None) -> _Encoded:
    table = all_.table
    numeric: dict[str, Floats] = {}
    categorical: dict[str, pa.ChunkedArray] = {}
    for name in features:
        if name in columns.ignore:
            continue
        column = flat(table[name], name)
        if name in columns.numeric or (name not in columns.categorical and is_numeric(column)):
            numeric[name] = numbers(column, name, all_.where)
        else:
            categorical[name] = _category_column(column, name, all_.where, declared=name in columns.categorical)
    if not numeric and not categorical:
        raise invalid("no column is left to learn from: list fewer columns under spec.dataset.columns.ignore")
    codes = {name: codes_of(column) for name, column in categorical.items()}
    targets, classes = targets_of(flat(table[target], target), target, task, all_.where)
    rows = len(table)
    values = np.column_stack(list(numeric.values())) if numeric else np.empty((rows, 0))
    coded = np.column_stack([code for code, _ in codes.values()]) if codes else np.empty((rows, 0), dtype=np.int64)
    inputs = {"numeric": torch.from_numpy(values), "categorical": torch.from_numpy(coded)}
    schema = Schema(
        (len(numeric) + len(codes),),
        classes,
        numeric=tuple(numeric),
        categorical={name: categories for name, (_, categories) in codes.items()},
        target=target,
    )
    texts = [*categorical.values(), text_of(table[target])]
    return _Encoded(Samples(inputs, targets), schema, _identities(values, texts))


def _identities(values: Floats, texts: Sequence[pa.ChunkedArray]) -> list[bytes]:
    """For each row the bytes of its numbers and its texts, equal for equal rows whatever file they came from."""
    joined = pc.binary_join_element_wise(*texts, "\x1f", null_handling="replace", null_replacement="\x00")
    numbers = np.where(np.isnan(values), np.nan, values + 0.0).astype("<f8")
    return [row.tobytes() + text.encode() for row, text in zip(numbers, joined.to_pylist(), strict=True)]


def _category_column(column: pa.ChunkedArray, name: str, where: Where, *, declared: bool) -> pa.ChunkedArray:
    text = text_of(column)
    slip = mistyped(text) if not declared else None
    if slip is not None:
        raise invalid(
            f"{where(slip)} has {text[slip].as_py()!r} in the column {name}, whose other values are numbers: "
            f"{CATEGORICAL}"
        )
    count = pc.count_distinct(text).as_py()
    if not declared and count > _MOST_INFERRED:
        raise invalid(
            f"the column {name} is text with {count} different values: list it under spec.dataset.columns.ignore, or "
            "under categorical if that is meant"
        )
    return text

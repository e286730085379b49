"""Tables: CSV and Parquet files with a target column, read by PyArrow.

Every column is a number or a category. Columns that `spec.dataset.columns` does not list are told by their values: a
column is numeric if each of its values is a number. A missing value stays missing; what becomes of it is the
preprocessing's affair.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from velodrome.spec import Columns, Dataset, DatasetSplits
from velodrome.text import counted
from velodrome_runner.data.contents import Memory, Samples, Schema
from velodrome_runner.data.format import Description, InMemory, corrupt, divided, invalid, missing
from velodrome_runner.data.splitting import by_column, by_fractions, numbered_groups

# What stands for a missing value in a CSV file.
MISSING = ("", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "?")
_SEPARATORS = (",", ";", "\t", "|")
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_INFINITE = r"^(?i)[+-]?inf(inity)?$"
# More categories than this in a column that nobody declared: it is an id or free text.
_MOST_INFERRED = 1000
_BLOCK_BYTES = 64 * 2**20  # a row must fit in a block
Floats = np.ndarray[Any, np.dtype[np.float64]]


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
    names, table = _rows(reader, place, splits, dataset.format or "")
    special = [name for name in (target, splits.column, splits.group) if name]
    _named(table, [*special, *_declared(dataset.columns)], place)
    if splits.column is not None:
        names = by_column(_text(table[splits.column]).to_pylist(), splits.column)
    features = [name for name in table.column_names if name not in {target, splits.column}]
    if splits.group is not None and splits.group not in _declared(dataset.columns):
        features.remove(splits.group)
    encoded = _encoded(table, target, features, dataset.columns or Columns(), task)
    groups = None if splits.group is None else _text(table[splits.group]).to_pylist()
    if splits.fractions is not None:
        identities = encoded.identities if groups is None else [str(group).encode() for group in groups]
        names = by_fractions(identities, splits.fractions)
    parts = divided(Memory(encoded.samples), names)
    numbers = None
    if groups is not None and splits.group is not None:
        numbers = numbered_groups(groups, names, splits.group)[torch.tensor([name == "train" for name in names])]
    memories = {name: source for name, source in parts.items() if isinstance(source, Memory)}
    return InMemory(Description("table", encoded.schema, numbers), memories)


def read_csv(path: Path) -> pa.Table:
    """A CSV file, every column as text: UTF-8 or UTF-16, with a header, and with the separator that its header has."""
    from pyarrow import csv as reader

    start = _start(path)
    encoding = "utf-16" if start[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
    header, separator = _header(path, encoding)
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise invalid(f"{path} has several columns of the name {repeated[0]!r}: each column needs a name of its own")
    try:
        return reader.read_csv(
            path,
            read_options=reader.ReadOptions(block_size=_BLOCK_BYTES, encoding=encoding),
            parse_options=reader.ParseOptions(delimiter=separator, newlines_in_values=True),
            convert_options=reader.ConvertOptions(
                column_types=dict.fromkeys(header, pa.string()),
                null_values=list(MISSING),
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )
    except (pa.ArrowInvalid, pa.ArrowKeyError, UnicodeError) as error:
        raise corrupt(f"{path} is no table that can be read ({_short(error)}): mend that line") from error


def read_parquet(path: Path) -> pa.Table:
    """A Parquet file whose columns are flat."""
    from pyarrow import parquet

    try:
        table = parquet.ParquetFile(path).read()
    except (pa.ArrowInvalid, OSError) as error:
        raise corrupt(f"{path} is no Parquet file that can be read ({_short(error)}): write it again") from error
    for field in table.schema:
        if pa.types.is_nested(field.type):
            raise invalid(
                f"the column {field.name} of {path} is nested ({str(field.type)[:80]}): write a flat column for each "
                "of its values"
            )
    return table


def _rows(reader: Any, place: Path, splits: DatasetSplits, kind: str) -> tuple[list[str], pa.Table]:
    """All rows, and the split that the files give to each of them (empty if they give none)."""
    if splits.files is None:
        return [], reader(_file(place, kind))
    named = {"train": splits.files.train, "validation": splits.files.validation, "test": splits.files.test}
    tables: list[Any] = []
    names: list[str] = []
    for split, path in named.items():
        if path is not None:
            table = reader(_file(place / path, kind))
            if tables and set(table.column_names) != set(tables[0].column_names):
                odd = sorted(set(table.column_names) ^ set(tables[0].column_names))
                raise invalid(f"{place / path} and {place / splits.files.train} differ in the column {odd[0]!r}")
            tables.append(table.select(tables[0].column_names) if tables else table)
            names += [split] * len(table)
    try:
        return names, pa.concat_tables(tables, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise invalid(f"the files of {place} differ in the type of a column ({_short(error)})") from error


def _file(path: Path, kind: str) -> Path:
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix.lower() == f".{kind.lower()}")
        if len(files) == 1:
            return files[0]
        held = ", ".join(file.name for file in files[:8]) or "none"
        raise missing(f"{path} is a folder, with these {kind} files: {held}; name one in spec.dataset.source.path")
    if not path.is_file():
        raise missing(f"there is no file {path}: change spec.dataset.source.path, or spec.dataset.splits.files")
    return path


def _start(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise corrupt(f"{path} can't be read ({error.strerror})") from error
    if not start:
        raise corrupt(f"{path} is empty: write a header and rows")
    return start


def _header(path: Path, encoding: str) -> tuple[list[str], str]:
    """The column names and the separator: the one that cuts the header into the most fields."""
    try:
        with path.open(encoding="utf-8-sig" if encoding == "utf-8" else encoding, newline="") as file:
            text = "".join(islice(file, 1))
    except UnicodeError as error:
        raise corrupt(f"{path} is no UTF-8 text ({_short(error)}): save it as UTF-8") from error
    csv.field_size_limit(2**31 - 1)
    found = {separator: next(csv.reader([text], delimiter=separator), []) for separator in _SEPARATORS}
    separator = max(_SEPARATORS, key=lambda each: len(found[each]))
    if len(found[separator]) < 2:
        raise invalid(f"the first line of {path} is one field: write a header whose columns are cut by , ; | or a tab")
    return found[separator], separator


def _declared(columns: Columns | None) -> list[str]:
    return [] if columns is None else [*columns.numeric, *columns.categorical, *columns.ignore]


def _named(table: pa.Table, names: Iterable[str], place: Path) -> None:
    known = set(table.column_names)
    for name in names:
        if name not in known:
            shown = ", ".join(table.column_names[:12]) + (" …" if len(known) > 12 else "")
            raise invalid(f"{place} has no column {name!r}, which spec.dataset names: it has {shown}")
    if len(table) == 0:
        raise invalid(f"{place} has no rows below its header: add some")


def _encoded(table: pa.Table, target: str, features: Sequence[str], columns: Columns, task: str | None) -> _Encoded:
    numeric: dict[str, Floats] = {}
    categorical: dict[str, pa.ChunkedArray] = {}
    for name in features:
        if name in columns.ignore:
            continue
        column = _flat(table[name], name)
        if name in columns.numeric or (name not in columns.categorical and _is_numeric(column)):
            numeric[name] = _numbers(column, name)
        else:
            categorical[name] = _category_column(column, name, declared=name in columns.categorical)
    if not numeric and not categorical:
        raise invalid("no column is left to learn from: list fewer columns under spec.dataset.columns.ignore")
    codes = {name: _codes(column) for name, column in categorical.items()}
    targets, classes = _targets(_flat(table[target], target), target, task)
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
    texts = [*categorical.values(), _text(table[target])]
    return _Encoded(Samples(inputs, targets), schema, _identities(values, texts))


def _identities(values: Floats, texts: Sequence[pa.ChunkedArray]) -> list[bytes]:
    """For each row the bytes of its numbers and its texts, equal for equal rows whatever file they came from."""
    joined = pc.binary_join_element_wise(*texts, "\x1f", null_handling="replace", null_replacement="\x00")
    numbers = np.where(np.isnan(values), np.nan, values + 0.0).astype("<f8")
    return [row.tobytes() + text.encode() for row, text in zip(numbers, joined.to_pylist(), strict=True)]


def _flat(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """The column as text, numbers or booleans, with null for each missing value."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = pc.utf8_trim_whitespace(column.cast(pa.string()))
    elif pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        raise invalid(
            f"the column {name} holds {kind} values, which are neither numbers nor text: write them as one of both, or "
            "list the column under spec.dataset.columns.ignore"
        )
    if column.null_count == len(column):
        raise invalid(f"the column {name} has no values: list it under spec.dataset.columns.ignore")
    return column


def _text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.string())


def _is_numeric(column: pa.ChunkedArray) -> bool:
    if not pa.types.is_string(column.type):
        return not pa.types.is_boolean(column.type)
    return bool(pc.all(pc.match_substring_regex(_pointed(column), _NUMBER)).as_py())


def _pointed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Numbers with a decimal comma, as files cut by semicolons have them, with a decimal point."""
    return pc.replace_substring_regex(column, r"^([+-]?\d+),(\d+)$", r"\1.\2")


def _numbers(column: pa.ChunkedArray, name: str) -> Floats:
    """The values (n,), NaN where one is missing."""
    if pa.types.is_string(column.type):
        pointed = _pointed(column)
        wrong = pc.invert(pc.match_substring_regex(pointed, f"{_NUMBER}|{_INFINITE}"))
        if pc.any(wrong).as_py():
            row = pc.index(wrong, value=True).as_py()
            raise invalid(
                f"row {row + 1} has {column[row].as_py()!r} in the column {name}, which is one of numbers: mend it, or "
                "list the column under spec.dataset.columns.categorical"
            )
        column = pointed
    values = np.asarray(column.cast(pa.float64()).fill_null(float("nan")).to_numpy(), dtype=np.float64)
    infinite = np.isinf(values)
    if infinite.any():
        raise invalid(f"row {int(infinite.argmax()) + 1} is infinite in the column {name}: write a number, or nothing")
    return values


def _category_column(column: pa.ChunkedArray, name: str, *, declared: bool) -> pa.ChunkedArray:
    text = _text(column)
    count = pc.count_distinct(text).as_py()
    if not declared and count > _MOST_INFERRED:
        raise invalid(
            f"the column {name} is text with {count} different values: list it under spec.dataset.columns.ignore, or "
            "under categorical if that is meant"
        )
    return text


def _codes(column: pa.ChunkedArray) -> tuple[Any, tuple[str, ...]]:
    """Each value's position (n,) int64 in the sorted categories, -1 where it is missing; and the categories."""
    encoded = column.combine_chunks().dictionary_encode()
    found = encoded.dictionary.to_pylist()
    categories = in_order(found)
    position = {value: index for index, value in enumerate(categories)}
    table = np.array([position[value] for value in found] or [0], dtype=np.int64)
    indices = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return np.where(indices < 0, -1, table[indices]), categories


def _targets(column: pa.ChunkedArray, name: str, task: str | None) -> tuple[Tensor, tuple[str, ...] | None]:
    if column.null_count:
        row = pc.index(pc.is_null(column), value=True).as_py() + 1
        raise invalid(
            f"row {row} has no value in the target column {name} ({counted(column.null_count, 'row has', 'rows have')} "
            "none): fill them in, or remove these rows"
        )
    if task == "regression":
        return torch.from_numpy(_numbers(column, name).copy()), None
    if task is None and _is_numeric(column):
        values = _numbers(column, name)
        if (values % 1).any():
            return torch.from_numpy(values.copy()), None
        raise invalid(
            f"the target column {name} has whole numbers, which may be classes or amounts: write "
            "spec.task: classification or spec.task: regression"
        )
    codes, classes = _codes(_text(column))
    return torch.from_numpy(codes), classes


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Names in alphabetical order; whole numbers in theirs."""
    found = list(names)
    whole = all(name.lstrip("-").isdecimal() and name.isascii() for name in found)
    return tuple(sorted(found, key=int) if whole else sorted(found))


def _short(error: BaseException) -> str:
    return str(error).splitlines()[0][:300]

"""Columns of a table as numbers, categories or targets. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from velodrome.text import counted
from velodrome_runner.data.class_names import refuse_names
from velodrome_runner.data.format import invalid

_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_INFINITE = r"^(?i)[+-]?inf(inity)?$"
_LARGEST = np.finfo(np.float32).max
_RARE = 20  # one value in so many may be a slip; more of them are meant
CATEGORICAL = "mend it, or list the column under spec.dataset.columns.categorical"
TARGET = "mend it, or write spec.task: classification"
Floats = np.ndarray[Any, np.dtype[np.float64]]
Where = Callable[[int], str]


def row_of(row: int) -> str:
    """Words for a row below the header."""
    return f"row {row + 1}"


def flat(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """The column as text, numbers or booleans, with null for each missing value.

    Raises:
        ConfigurationError: DatasetInvalid, the column has no values, or values of another type.
    """
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
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), None, column)
    if column.null_count == len(column):
        raise invalid(f"the column {name} has no values: fill them in, or list it under spec.dataset.columns.ignore")
    return column


def text_of(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column as text."""
    return column.cast(pa.string())


def is_numeric(column: pa.ChunkedArray) -> bool:
    """Whether each value is a number, or missing; the column is one of `flat`."""
    if not pa.types.is_string(column.type):
        return not pa.types.is_boolean(column.type)
    return bool(pc.all(pc.match_substring_regex(pointed(column), f"{_NUMBER}|{_INFINITE}")).as_py())


def mistyped(column: pa.ChunkedArray) -> int | None:
    """The first row that keeps a text column from being one of numbers, if at most one value in twenty does; or None.

    The column is one of `flat`.
    """
    other = pc.invert(pc.match_substring_regex(pointed(column), f"{_NUMBER}|{_INFINITE}"))
    count = pc.sum(other).as_py() or 0
    if not 0 < count * _RARE <= len(column) - column.null_count:
        return None
    row: int = pc.index(other, value=True).as_py()
    return row


def pointed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Numbers with a decimal comma, as files cut by semicolons have them, with a decimal point."""
    return pc.replace_substring_regex(column, r"^([+-]?\d+),(\d+)$", r"\1.\2")


def numbers(column: pa.ChunkedArray, name: str, where: Where = row_of, fix: str = CATEGORICAL) -> Floats:
    """The values (n,), NaN where one is missing; the column is one of `flat`.

    Raises:
        ConfigurationError: DatasetInvalid, a value is no number (the message ends with `fix`), is infinite, or is
            larger than the float32 that models compute with.
    """
    if pa.types.is_string(column.type):
        written = pointed(column)
        wrong = pc.invert(pc.match_substring_regex(written, f"{_NUMBER}|{_INFINITE}"))
        if pc.any(wrong).as_py():
            row = pc.index(wrong, value=True).as_py()
            raise invalid(
                f"{where(row)} has {column[row].as_py()!r} in the column {name}, which is one of numbers: {fix}"
            )
        column = written
    # Whole numbers beyond 2^53 lose their last digits, as they do in every model.
    values = np.asarray(column.cast(pa.float64(), safe=False).fill_null(float("nan")).to_numpy(), dtype=np.float64)
    infinite = np.isinf(values)
    if infinite.any():
        raise invalid(f"{where(int(infinite.argmax()))} is infinite in the column {name}: write a finite number")
    large = np.abs(values) > _LARGEST
    if large.any():
        row = int(large.argmax())
        raise invalid(f"{where(row)} has {values[row]:g} in the column {name}, too large for float32: scale the column")
    return values


def codes_of(column: pa.ChunkedArray) -> tuple[Any, tuple[str, ...]]:
    """Each value's position (n,) int64 in the sorted categories, -1 where it is missing; and the categories."""
    encoded = column.combine_chunks().dictionary_encode()
    found = encoded.dictionary.to_pylist()
    categories = in_order(found)
    position = {value: index for index, value in enumerate(categories)}
    table = np.array([position[value] for value in found] or [0], dtype=np.int64)
    indices = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return np.where(indices < 0, -1, table[indices]), categories


def targets_of(
    column: pa.ChunkedArray, name: str, task: str | None, where: Where = row_of
) -> tuple[Tensor, tuple[str, ...] | None]:
    """Labels (n,) int64 and their classes, or values (n,) float64 and None; `task` is `spec.task`, if it is written.

    Raises:
        ConfigurationError: DatasetInvalid, a target is missing or no number, or may be a class or an amount.
    """
    if column.null_count:
        row = pc.index(pc.is_null(column), value=True).as_py()
        all_ = counted(column.null_count, "row has", "rows have")
        raise invalid(
            f"{where(row)} has no value in the target column {name} ({all_} none): fill them in, or remove these rows"
        )
    if task == "regression":
        return torch.from_numpy(numbers(column, name, where, TARGET).copy()), None
    if task is None and is_numeric(column):
        values = numbers(column, name, where, TARGET)
        if (values % 1).any():
            return torch.from_numpy(values.copy()), None
        raise invalid(
            f"the target column {name} has whole numbers, which may be classes or amounts: write "
            "spec.task: classification or spec.task: regression"
        )
    texts = text_of(column)
    codes, classes = codes_of(texts)
    refuse_names(classes, lambda each: f"{where(pc.index(texts, value=each).as_py())}, column {name}")
    return torch.from_numpy(codes), classes


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Names in alphabetical order; whole numbers in theirs."""
    found = list(names)
    whole = all(name.lstrip("-").isdecimal() and name.isascii() for name in found)
    return tuple(sorted(found, key=int) if whole else sorted(found))

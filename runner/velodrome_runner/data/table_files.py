"""Files of rows with a header: CSV and Parquet, read by PyArrow, and the split that each file gives to its rows."""

from __future__ import annotations

import csv
import gzip
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from velodrome.spec import DatasetSplits
from velodrome.vocabulary import JSON_LINES
from velodrome_runner.data.format import UNREADABLE, corrupt, invalid, missing, unreadable

# What stands for a missing value in a CSV file: what pandas takes for one, and the archives' question mark.
MISSING = (
    *("", "NA", "N/A", "n/a", "#NA", "#N/A", "#N/A N/A", "<NA>", "NaN", "nan", "-NaN", "-nan"),
    *("1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN", "NULL", "null", "None", "?"),
)
# The row numbers of pandas, which writes them as a column where rows were left out: they are no feature.
_PANDAS_INDEX = re.compile(r"__index_level_\d+__")
# How files begin that are no text, and what to do with them.
_FOREIGN = (
    (b"PK", "a spreadsheet or an archive: save it as CSV"),
    (b"PAR1", "a Parquet file: write format: Parquet"),
    (b"\x1f\x8b", "compressed: unpack it, or call it NAME.csv.gz"),
)
_JSON = ('{"', "[{", "[\n", "{\n")  # how files of JSON begin
_LINES = tuple(f"{suffix}{packed}" for suffix in JSON_LINES for packed in ("", ".gz"))
_SEPARATORS = (",", ";", "\t", "|")
_BLOCK_BYTES = 64 * 2**20  # a row must fit in a block


@dataclass(frozen=True)
class Rows:
    """The rows of all files, one file after the other.

    `names` has the split of each row, or nothing if no file says it. `files` has each path with its number of rows.
    `lines`: a file has a row a line, apart from quoted ones and empty ones.
    """

    table: pa.Table
    names: list[str]
    files: list[tuple[Path, int]]
    lines: bool = True

    def where(self, row: int) -> str:
        """Words for the place of a row: its line in a CSV file, which is read again, or else its number."""
        for path, count in self.files:
            if row < count:
                if not self.lines or is_json_lines(path):
                    return f"row {row + 1} of {path}"
                return f"line {_line(path, row)} of {path}"
            row -= count
        raise IndexError(row)


def is_json_lines(path: Path) -> bool:
    """Whether a file has an object a line, by its name."""
    return path.name.lower().endswith(_LINES)


def read_csv(path: Path) -> pa.Table:
    """A CSV file, every column as text: UTF-8 or UTF-16, with a header, and with the separator that its header has."""
    from pyarrow import csv as reader

    encoding = _encoding(path)
    header, separator = _header(path, encoding)
    names = [name.strip() for name in header]
    if "" in names:
        raise invalid(
            f"column {names.index('') + 1} of {path} has no name: name it, or remove it (pandas writes no index with "
            "index=False)"
        )
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise invalid(f"{path} has several columns of the name {repeated[0]!r}: each column needs a name of its own")
    try:
        table = reader.read_csv(
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
        return table.rename_columns(names)
    except (pa.ArrowInvalid, pa.ArrowKeyError, UnicodeError, OSError) as error:
        raise corrupt(f"{path} is no table that can be read ({_short(error)}): mend that line") from error


def read_parquet(path: Path) -> pa.Table:
    """A Parquet file whose columns are flat."""
    from pyarrow import parquet

    try:
        table = parquet.ParquetFile(path).read()
        table = table.drop_columns([name for name in table.column_names if _PANDAS_INDEX.fullmatch(name)])
    except (pa.ArrowInvalid, OSError) as error:
        raise corrupt(f"{path} is no Parquet file that can be read ({_short(error)}): write it again") from error
    for field in table.schema:
        if pa.types.is_nested(field.type):
            raise invalid(
                f"the column {field.name} of {path} is nested ({str(field.type)[:80]}): write a flat column for each "
                "of its values"
            )
    return table


def read_rows(reader: Any, place: Path, splits: DatasetSplits, kind: str) -> Rows:
    """The rows of the file at `place`, or of the files below it that `splits.files` names.

    `kind` is CSV, Parquet or Documents.

    Raises:
        ConfigurationError: DatasetMissing, DatasetCorrupt or DatasetInvalid; the message names the file.
    """
    if splits.files is None:
        only = _file(place, kind)
        table = reader(only)
        return Rows(table, [], [(only, len(table))], kind != "Parquet")
    named = {"train": splits.files.train, "validation": splits.files.validation, "test": splits.files.test}
    tables: list[Any] = []
    names: list[str] = []
    files: list[tuple[Path, int]] = []
    for split, path in named.items():
        if path is not None:
            file = _file(place / path, kind)
            table = reader(file)
            files.append((file, len(table)))
            if tables and set(table.column_names) != set(tables[0].column_names):
                odd = sorted(set(table.column_names) ^ set(tables[0].column_names))
                raise invalid(f"{place / path} and {place / splits.files.train} differ in the column {odd[0]!r}")
            tables.append(table.select(tables[0].column_names) if tables else table)
            names += [split] * len(table)
    try:
        return Rows(pa.concat_tables(tables, promote_options="permissive"), names, files, kind != "Parquet")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise invalid(f"the files of {place} differ in the type of a column ({_short(error)})") from error


def named(table: pa.Table, names: Iterable[str], place: Path) -> None:
    """Refuses a table without rows, or without a column that the job names.

    Raises:
        ConfigurationError: DatasetInvalid; the message names the column.
    """
    known = set(table.column_names)
    for name in names:
        if name not in known:
            shown = ", ".join(table.column_names[:12]) + (" …" if len(known) > 12 else "")
            raise invalid(f"{place} has no column {name!r}, which spec.dataset names: it has {shown}")
    if len(table) == 0:
        raise invalid(f"{place} has no rows below its header: add some")


def _file(path: Path, kind: str) -> Path:
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.name.lower().endswith(_suffixes(kind)))
        if len(files) == 1:
            return files[0]
        held = ", ".join(file.name for file in files[:8]) or "none"
        raise missing(f"{path} is a folder, with these {kind} files: {held}; name one in spec.dataset.source.path")
    if not path.is_file():
        raise missing(f"there is no file {path}: change spec.dataset.source.path, or spec.dataset.splits.files")
    return path


def _suffixes(kind: str) -> tuple[str, ...]:
    found = {"Parquet": (".parquet",), "Documents": (".csv", ".csv.gz", *_LINES)}
    return found.get(kind, (".csv", ".csv.gz"))


def _encoding(path: Path) -> str:
    try:
        with opened(path, "rb") as file:
            start = file.read(4)
    except UNREADABLE as error:
        raise unreadable(path, error) from error
    if not start:
        raise corrupt(f"{path} is empty: write a header and rows")
    for magic, what in _FOREIGN:
        if start.startswith(magic):
            raise corrupt(f"{path} is {what}")
    return "utf-16" if start[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"


def opened(path: Path, mode: str, encoding: str | None = None) -> Any:
    """The file, unpacked by the suffix .gz; text keeps its line ends."""
    newline = None if "b" in mode else ""
    if path.suffix.lower() == ".gz":
        return gzip.open(path, mode, encoding=encoding, newline=newline)
    return path.open(mode, encoding=encoding, newline=newline)


def _header(path: Path, encoding: str) -> tuple[list[str], str]:
    """The column names and the separator: the one that cuts the header into the most fields."""
    try:
        with opened(path, "rt", "utf-8-sig" if encoding == "utf-8" else encoding) as file:
            text = "".join(islice(file, 1))
    except UnicodeError as error:
        raise corrupt(f"{path} is no UTF-8 text ({_short(error)}): save it as UTF-8") from error
    except UNREADABLE as error:
        raise unreadable(path, error) from error
    if text.lstrip().startswith(_JSON):
        raise corrupt(f"{path} is JSON: save it as CSV, or for Documents as NAME.jsonl, an object a line")
    csv.field_size_limit(2**31 - 1)
    found = {separator: next(csv.reader([text], delimiter=separator), []) for separator in _SEPARATORS}
    separator = max(_SEPARATORS, key=lambda each: len(found[each]))
    if len(found[separator]) < 2:
        raise invalid(f"the first line of {path} is one field: write a header whose columns are cut by , ; | or a tab")
    return found[separator], separator


def _line(path: Path, row: int) -> int:
    """The line on which a row of a CSV file begins, from 1; a quoted field may have several lines."""
    encoding = _encoding(path)
    _, separator = _header(path, encoding)
    with opened(path, "rt", "utf-8-sig" if encoding == "utf-8" else encoding) as file:
        records = csv.reader(file, delimiter=separator)
        begins, count = 1, -1  # the header is no row
        for record in records:
            if record:  # PyArrow leaves out empty lines
                if count == row:
                    break
                count += 1
            begins = records.line_num + 1
    return begins


def _short(error: BaseException) -> str:
    return str(error).splitlines()[0][:300]

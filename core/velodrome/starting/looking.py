"""Looks at a person's data: what kind they are, what their columns and classes are. Reads, and never writes."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from velodrome.errors import NotThere
from velodrome.spec.wording import suggestion
from velodrome.starting.draft import SCALED, FoundData, column_list, data_name, scalar, source_line
from velodrome.text import counted, line
from velodrome.vocabulary import JSON_LINES, Tokens

_ROWS = 20_000
_PIECE = 2**20  # characters
_NUMBERS_THAT_ARE_CLASSES = 20  # more different whole numbers than that are a value to predict
_MISSING = frozenset({"", "NA", "NaN", "null", "None", "?"})


def table(path: Path, target: str | None) -> FoundData:
    """A CSV file with a header.

    Raises:
        NotThere: the file can't be read, or the target is no column.
    """
    columns, rows = _read_csv(path, "--csv")
    _require_column(target, columns, "--target", "the column to predict", path)
    assert target is not None
    values = [row[columns.index(target)] for row in rows]
    task, why = _task_of(values)
    ids = [name for place, name in enumerate(columns) if name != target and _is_id(name, [row[place] for row in rows])]
    return FoundData(
        title=data_name(path.stem),
        kind="table",
        dataset=(
            f"name: {data_name(path.stem)}",
            "format: CSV",
            source_line(path),
            f"target: {scalar(target)}",
            *([f"columns: {{ignore: {column_list(ids)}}}  # no model may see these"] if ids else []),
            "splits: {fractions: {test: 0.2}}   # by a fixed hash of each row",
        ),
        facts=(
            line(f"{path.name}: {_many(rows)}, {counted(len(columns), 'column')}; {target} is predicted: {why}."),
            "Columns of numbers are numeric, all others are categories; `columns` says it where that is wrong.",
        ),
        task=task,
        ranked=task,
        preprocessing=SCALED,
    )


def sequences(path: Path, target: str | None, sequence: str | None) -> FoundData:
    """A .ts file, a folder with NAME_TRAIN.ts and NAME_TEST.ts, or a CSV file with one row a step.

    Raises:
        NotThere: the file can't be read, its pair is missing, or a column does not exist.
    """
    if path.suffix.lower() == ".csv":
        return _sequence_csv(path, target, sequence)
    folder = path if path.is_dir() else path.parent
    named = [path] if path.is_file() else sorted(folder.glob("*_TRAIN.ts"))
    if not named:
        raise NotThere("--series", line(f"{path}: there is no such file, and no NAME_TRAIN.ts in it"))
    stem = named[0].stem.removesuffix("_TRAIN").removesuffix("_TEST")
    missing = [name for name in (f"{stem}_TRAIN.ts", f"{stem}_TEST.ts") if not (folder / name).is_file()]
    if missing:
        raise NotThere("--series", line(f"{folder} has no {' and no '.join(missing)}: a .ts data set is a pair"))
    with _readable(named[0], "--series") as file:
        head = [text.strip() for text in islice(file, 200) if text.startswith("@")]
    told = next((text.split() for text in head if text.lower().startswith(("@classlabel", "@targetlabel"))), [])
    numbers = any(text.lower().startswith("@targetlabel true") for text in head)
    classes = told[2:] if not numbers else []
    what = "a number is predicted" if numbers else f"{counted(len(classes), 'class', 'classes')}"
    return FoundData(
        title=data_name(stem),
        kind="sequences",
        dataset=(
            f"name: {data_name(stem)}",
            "format: TimeSeries",
            source_line(folder),
        ),
        facts=(line(f"{stem}: sequences of the UCR/UEA archive's format, {what}."),),
        task="regression" if numbers else "classification",
        ranked="regression" if numbers else "classification",
    )


def _sequence_csv(path: Path, target: str | None, sequence: str | None) -> FoundData:
    columns, rows = _read_csv(path, "--series")
    _require_column(target, columns, "--target", "the column to predict", path)
    _require_column(sequence, columns, "--sequence", "the column that names the sequence of each row", path)
    assert target is not None
    assert sequence is not None
    task, why = _task_of([row[columns.index(target)] for row in rows])
    count = len({row[columns.index(sequence)] for row in rows})
    others = [name for name in columns if name not in (target, sequence)]
    words = [name for name in others if not all(map(_is_number, (row[columns.index(name)] for row in rows)))]
    ignored = f", ignore: {column_list(words)}" if words else ""
    return FoundData(
        title=data_name(path.stem),
        kind="sequences",
        dataset=(
            f"name: {data_name(path.stem)}",
            "format: SequenceCSV",
            source_line(path),
            f"target: {scalar(target)}",
            f"columns: {{sequence: {scalar(sequence)}{ignored}}}",
            "splits: {fractions: {test: 0.2}}   # by a fixed hash of each sequence",
        ),
        facts=(line(f"{path.name}: {_many(rows)}, {count:,} sequences; {target} is predicted: {why}."),),
        task=task,
        ranked=task,
    )


def text(path: Path) -> FoundData:
    """A file of text, or a folder of such files. A text that is no UTF-8 is predicted byte by byte.

    Raises:
        NotThere: there is no such file, no file in the folder, or a file can't be read.
    """
    inside = (each for each in path.rglob("*") if each.is_file())
    shown = (each for each in inside if not any(part[0] == "." for part in each.relative_to(path).parts))
    files = [path] if path.is_file() else sorted(shown)
    if not files:
        raise NotThere("--text", line(f"{path}: there is no such file, and no folder with files"))
    try:
        count, tokens = _counted(files)
    except OSError as error:
        raise NotThere("--text", line(f"{error.filename} can't be read: {error.strerror}")) from error
    return FoundData(
        title=data_name(path.resolve().stem),
        kind="text",
        dataset=(
            f"name: {data_name(path.resolve().stem)}",
            "format: Text",
            source_line(path),
            f"tokens: {tokens:<12}         # what is predicted one by one: characters or bytes",
            "window: 128                  # so many of them at a time",
            "splits: {fractions: {validation: 0.1, test: 0.1}}   # the end of the text is the test",
        ),
        facts=(line(f"{path.name}: {counted(len(files), 'file')}, {count:,} {tokens}; the next one is predicted."),),
        ranked="language-modelling",
    )


def _counted(files: Sequence[Path]) -> tuple[int, Tokens]:
    """The characters of files, of which a piece is in memory at a time; their bytes, if one is no UTF-8."""
    count = 0
    try:
        for path in files:
            with path.open(encoding="utf-8", newline="") as file:
                count += sum(map(len, iter(lambda: file.read(_PIECE), "")))
    except UnicodeDecodeError:
        return sum(path.stat().st_size for path in files), "bytes"
    return count, "characters"


def is_labelled(path: Path) -> bool:
    """Whether this is a file of texts with labels, by its name."""
    return path.is_file() and path.suffix.lower() in (".csv", *JSON_LINES)


def documents(path: Path, target: str | None) -> FoundData:
    """A CSV file with a header, or JSON Lines, with a column of texts and one of labels.

    Raises:
        NotThere: the file can't be read, the target is no column, or no other column has texts.
    """
    columns, rows = _read_lines(path) if path.suffix.lower() in JSON_LINES else _read_csv(path, "--text")
    _require_column(target, columns, "--target", "the column of the labels", path)
    assert target is not None
    said = {name: sum(len(row[place].split()) for row in rows) for place, name in enumerate(columns) if name != target}
    text = max(said, key=said.__getitem__, default=None)
    if text is None:
        raise NotThere("--text", line(f"{path.name} has no column beside {target}, which is the label"))
    labels = {row[columns.index(target)] for row in rows}
    return FoundData(
        title=data_name(path.stem),
        kind="documents",
        dataset=(
            f"name: {data_name(path.stem)}",
            "format: Documents",
            source_line(path),
            f"text: {scalar(text)}",
            f"target: {scalar(target)}",
            "splits: {fractions: {validation: 0.1, test: 0.2}}   # by a fixed hash of the words and the label",
        ),
        facts=(
            line(f"{path.name}: {_many(rows)}; {target} has {counted(len(labels), 'class', 'classes')}."),
            line(f"The texts are in the column {text}, which has the most words; `text` says it where that is wrong."),
        ),
        preprocessing="{vocabulary: 10000, maxLength: 200}   # the most frequent words, and the beginning of a text",
    )


def _read_lines(path: Path) -> tuple[list[str], list[list[str]]]:
    """The fields and the first rows of JSON Lines, those that are lists or objects aside."""
    with _readable(path, "--text") as file:
        try:
            found = [json.loads(text) for text in islice(file, _ROWS) if text.strip()]
        except ValueError as error:
            raise NotThere("--text", line(f"{path} can't be read as JSON Lines: {error}")) from error
    if not found or not all(isinstance(row, dict) for row in found):
        raise NotThere("--text", line(f'{path} needs an object a line, such as {{"text": "…", "label": "…"}}'))
    names = list(dict.fromkeys(name for row in found for name in row))
    return names, [[str(row.get(name, "")) for name in names] for row in found]


@contextmanager
def _readable(path: Path, option: str) -> Iterator[Iterator[str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield file
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise NotThere(option, line(f"{path} can't be read: {why}")) from error


def _read_csv(path: Path, option: str) -> tuple[list[str], list[list[str]]]:
    """The header and the first rows, without those of another length."""
    with _readable(path, option) as file:
        first = next(file, "")
        separator = max(",;\t|", key=first.count)
        try:
            rows = list(islice(csv.reader([first, *islice(file, _ROWS)], delimiter=separator), _ROWS))
        except csv.Error as error:
            raise NotThere(option, line(f"{path} can't be read as CSV: {error}")) from error
    if len(rows) < 2:
        raise NotThere(option, line(f"{path} needs a header and at least one row"))
    header = [name.strip() for name in rows[0]]
    return header, [row for row in rows[1:] if len(row) == len(header)]


def _require_column(name: str | None, columns: Sequence[str], option: str, what: str, path: Path) -> None:
    if name is None:
        raise NotThere(option, line(f"is missing: name {what}. {path.name} has: {', '.join(columns)}", 400))
    if name not in columns:
        raise NotThere(option, line(f"{path.name} has no column {name!r}: {suggestion(name, columns)}", 400))


def _task_of(values: Sequence[str]) -> tuple[str, str]:
    """The task that a target's values suggest, and why in words."""
    there = {value.strip() for value in values} - _MISSING
    if not all(map(_is_number, there)):
        return "classification", f"{len(there)} classes"
    if any(not float(value).is_integer() for value in there):
        return "regression", "numbers with decimals"
    if len(there) > _NUMBERS_THAT_ARE_CLASSES:
        return "regression", f"{len(there):,} different whole numbers; for classes write task: classification"
    return "classification", f"{len(there)} different whole numbers; to predict a value write task: regression"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return text.strip() in _MISSING
    return True


def _is_id(name: str, values: Sequence[str]) -> bool:
    """Whether a column only names its rows: every value is different, and it is text or is called an id."""
    called = name.lower() in ("id", "uuid", "index") or name.lower().endswith(("_id", " id"))
    return len(values) > 2 and len(set(values)) == len(values) and (called or not all(map(_is_number, values)))


def _many(rows: Sequence[object]) -> str:
    return f"{_ROWS - 1:,} rows or more" if len(rows) >= _ROWS - 1 else counted(len(rows), "row")

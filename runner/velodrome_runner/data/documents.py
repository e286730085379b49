"""Texts with labels: a CSV file with a header, or JSON Lines, one text a row.

A text is cut into words: letters and digits in lower case, and each other character that is no space by itself. All
words of all splits are known here by their numbers; which of them a model knows is learned from the training split
alone (`velodrome_runner.inputs.documents`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from velodrome.spec import Dataset, DatasetSplits
from velodrome.vocabulary import MOST_WORDS
from velodrome_runner.data.columns import flat, targets_of, text_of
from velodrome_runner.data.contents import Memory, Samples, Schema
from velodrome_runner.data.format import Description, InMemory, corrupt, divided, invalid, samples_digest
from velodrome_runner.data.splitting import by_column, by_fractions, numbered_groups
from velodrome_runner.data.table_files import Rows, named, read_csv, read_rows

_WORD = re.compile(r"\w+|[^\w\s]")
_LINES = ".jsonl"
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")  # an escape of JSON for one of the two halves of a character


@dataclass(frozen=True)
class LabelledTexts(InMemory):
    """Texts that have been read. Their digest is of the words, the splits and the labels."""

    def digest(self) -> str:
        """The digest of all samples, with the words themselves."""
        schema = self.description.schema
        named_ = replace(schema, categorical={"words": schema.tokens}, tokens=())
        return samples_digest("documents", named_, {name: part.samples for name, part in self.parts.items()})


def read_documents(dataset: Dataset, place: Path) -> LabelledTexts:
    """The texts of a job at `place`, a file or (with `splits.files`) a folder.

    Raises:
        ConfigurationError: DatasetMissing, DatasetCorrupt or DatasetInvalid; the message names the column, or the row.
    """
    splits, target, text = dataset.splits or DatasetSplits(), dataset.target or "", dataset.text or ""
    rows = read_rows(_read, place, splits, "Documents")
    named(rows.table, [name for name in (text, target, splits.column, splits.group) if name], place)
    where = _where(rows)
    column = text_of(flat(rows.table[text], text)).to_pylist()
    words = [_words(given, at, text, where) for at, given in enumerate(column)]
    labels = text_of(flat(rows.table[target], target))
    targets, classes = targets_of(labels, target, "classification", where)
    groups = None if splits.group is None else text_of(rows.table[splits.group]).to_pylist()
    names = rows.names
    if splits.column is not None:
        names = by_column(text_of(rows.table[splits.column]).to_pylist(), splits.column, where)
    if splits.fractions is not None:
        pairs = zip(words, labels.to_pylist(), strict=True)
        own = [f"{' '.join(each)}\x1f{label}".encode() for each, label in pairs]
        names = by_fractions(own if groups is None else [str(group).encode() for group in groups], splits.fractions)
    numbered: tuple[torch.Tensor | None, torch.Tensor | None] = (None, None)
    if groups is not None and splits.group is not None:
        numbered = numbered_groups(groups, names, splits.group)
    inputs, known = _coded(words)
    shape = (inputs["tokens"].shape[1],)
    equal = bool((inputs["lengths"] == shape[0]).all())
    schema = Schema(shape, classes, target=target, equal=equal, tokens=known)
    parts = divided(Memory(Samples(inputs, targets)), names)
    memories = {name: source for name, source in parts.items() if isinstance(source, Memory)}
    return LabelledTexts(Description("documents", schema, *numbered), memories)


def words_of(text: str) -> list[str]:
    """The words of a text."""
    return _WORD.findall(text.lower())


def _words(text: str | None, row: int, column: str, where: Callable[[int], str]) -> list[str]:
    found = [] if text is None else words_of(text)
    if not found:
        raise invalid(f"{where(row)} has no word in the column {column}: write a text, or remove the row")
    return found[:MOST_WORDS]


def _coded(words: list[list[str]]) -> tuple[dict[str, torch.Tensor], tuple[str, ...]]:
    """The words by their numbers (n, longest), 0 behind a text's end, and the lengths (n,); and all words, sorted."""
    known = tuple(sorted({word for each in words for word in each}))
    numbers = {word: number for number, word in enumerate(known)}
    lengths = torch.tensor([len(each) for each in words])
    tokens = torch.zeros(len(words), int(lengths.max()), dtype=torch.int32)
    for row, each in enumerate(words):
        tokens[row, : len(each)] = torch.tensor([numbers[word] for word in each], dtype=torch.int32)
    return {"tokens": tokens, "lengths": lengths}, known


def _read(path: Path) -> pa.Table:
    return _read_lines(path) if path.suffix.lower() == _LINES else read_csv(path)


def _read_lines(path: Path) -> pa.Table:
    """JSON Lines: an object a line, whose fields are columns of text. A field that a line lacks is missing."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise corrupt(f"{path} can't be read ({error.strerror}): get it again") from error
    rows = [_object(path, at, line) for at, line in enumerate(content.split(b"\n"), start=1) if line.strip()]
    if not rows:
        raise corrupt(f'{path} is empty: write an object a line, such as {{"text": …, "label": …}}')
    names = dict.fromkeys(name for row in rows for name in row)
    return pa.table({name: pa.array([row.get(name) for row in rows], pa.string()) for name in names})


def _object(path: Path, line: int, content: bytes) -> dict[str, str | None]:
    try:
        found: Any = json.loads(content.decode("utf-8-sig" if line == 1 else "utf-8"))
    except UnicodeDecodeError as error:
        raise corrupt(f"line {line} of {path} is no UTF-8 (byte {error.start + 1}): save the file as UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise corrupt(f"line {line} of {path} is no JSON ({error}): write one object a line") from error
    if _HALF.search(content) is not None and not _whole(found):
        raise corrupt(f"line {line} of {path} has half of a character (\\ud800 to \\udfff): correct that text")
    if not isinstance(found, dict):
        raise corrupt(f'line {line} of {path} is no object: write {{"text": …, "label": …}}')
    return {name: _plain(value) for name, value in found.items()}


def _whole(value: Any) -> bool:
    """Whether all texts of a JSON value have both halves of each character."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _plain(value: Any) -> str | None:
    """A value as text; None for null, and as in CSV for an empty text. Lists and objects are kept as JSON."""
    if value is None or isinstance(value, str):
        return value if value and not value.isspace() else None
    return json.dumps(value)


def _where(rows: Rows) -> Callable[[int], str]:
    """Words for the place of a row: its line in CSV, its number in JSON Lines, which may have empty lines."""

    def where(row: int) -> str:
        rest = row
        for path, count in rows.files:
            if rest < count:
                return f"row {rest + 1} of {path}" if path.suffix.lower() == _LINES else rows.where(row)
            rest -= count
        raise IndexError(row)

    return where

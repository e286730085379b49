"""Texts with labels: a CSV file with a header, or JSON Lines, one text a row.

A text is cut into words: letters and digits in lower case, and each other character that is no space by itself. All
words of all splits are known here by their numbers; which of them a model knows is learned from the training split
alone (`velodrome_runner.inputs.documents`).
"""

from __future__ import annotations

import json
import re
from array import array
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from velodrome.spec import Dataset, DatasetSplits
from velodrome.vocabulary import MOST_WORDS
from velodrome_runner.data.columns import flat, targets_of, text_of
from velodrome_runner.data.contents import Schema, Tensors, Unpadded
from velodrome_runner.data.format import UNREADABLE, Description, InMemory, corrupt, divided, invalid, samples_digest
from velodrome_runner.data.ragged import Ragged
from velodrome_runner.data.splitting import by_column, by_fractions, numbered_groups
from velodrome_runner.data.table_files import is_json_lines, named, opened, read_csv, read_rows

_WORD = re.compile(r"\w+|[^\w\s]")
_PACKED = b"\x1f\x8b"  # how a file of gzip begins
_ROWS_AT_ONCE = 2**14  # rows that are Python's objects at a time
_WORDS_AT_ONCE = 2**20  # words whose numbers are replaced at a time
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")  # an escape of JSON for one of the two halves of a character


@dataclass(frozen=True)
class LabelledTexts(InMemory):
    """Texts that have been read. Their digest is of the words, the splits and the labels."""

    def digest(self) -> str:
        """The digest of all samples, with the words themselves."""
        schema = self.description.schema
        named_ = replace(schema, categorical={"words": schema.tokens}, tokens=())
        return samples_digest("documents", named_, self.parts)


def read_documents(dataset: Dataset, place: Path) -> LabelledTexts:
    """The texts of a job at `place`, a file or (with `splits.files`) a folder.

    Raises:
        ConfigurationError: DatasetMissing, DatasetCorrupt or DatasetInvalid; the message names the column, or the row.
    """
    splits, target, text = dataset.splits or DatasetSplits(), dataset.target or "", dataset.text or ""
    rows = read_rows(_read, place, splits, "Documents")
    named(rows.table, [name for name in (text, target, splits.column, splits.group) if name], place)
    where = rows.where
    texts, labels = text_of(flat(rows.table[text], text)), text_of(flat(rows.table[target], target))
    groups = None if splits.group is None else text_of(rows.table[splits.group]).to_pylist()
    coder, names = _Coder(), rows.names
    identities = _coded(coder, (_words(given, at, text, where) for at, given in enumerate(_each(texts))), labels)
    if splits.fractions is not None and groups is None:
        names = by_fractions(identities, splits.fractions)
    deque(identities, maxlen=0)  # the words are counted as they go by
    targets, classes = targets_of(labels, target, "classification", where)
    if splits.column is not None:
        names = by_column(text_of(rows.table[splits.column]).to_pylist(), splits.column, where)
    if splits.fractions is not None and groups is not None:
        names = by_fractions([str(group).encode() for group in groups], splits.fractions)
    numbered: tuple[torch.Tensor | None, torch.Tensor | None] = (None, None)
    if groups is not None and splits.group is not None:
        numbered = numbered_groups(groups, names, splits.group)
    coded, known = coder.coded()
    longest = int(coded.lengths.max())
    equal = bool((coded.lengths == longest).all())
    schema = Schema((longest,), classes, target=target, equal=equal, tokens=known)
    pool = Unpadded("tokens", coded, targets, longest)
    parts = {name: source for name, source in divided(pool, names).items() if isinstance(source, Tensors)}
    return LabelledTexts(Description("documents", schema, *numbered), parts)


def words_of(text: str, most: int | None = None) -> list[str]:
    """The words of a text, or the first `most` of them."""
    return [found.group() for found in islice(_WORD.finditer(text.lower()), most)]


def _words(text: str | None, row: int, column: str, where: Callable[[int], str]) -> list[str]:
    found = [] if text is None else words_of(text, MOST_WORDS)
    if not found:
        raise invalid(f"{where(row)} has no word in the column {column}: write a text, or remove the row")
    return found


class _Coder:
    """The words of texts by their numbers, of 4 bytes each, in the order in which the words first came."""

    def __init__(self) -> None:
        self.numbers: defaultdict[str, int] = defaultdict()
        self.numbers.default_factory = self.numbers.__len__
        self.codes, self.lengths = array("i"), array("q")

    def add(self, words: list[str]) -> None:
        """Takes in one more text."""
        self.codes.extend(map(self.numbers.__getitem__, words))
        self.lengths.append(len(words))

    def coded(self) -> tuple[Ragged, tuple[str, ...]]:
        """All texts, whose words have the numbers of their places among all words, sorted; and these words."""
        known = tuple(sorted(self.numbers))
        places = np.empty(len(known), dtype=np.int32)
        places[[self.numbers[word] for word in known]] = np.arange(len(known), dtype=np.int32)
        codes, lengths = np.frombuffer(self.codes, dtype=np.int32), torch.tensor(self.lengths)
        pieces = (codes[at : at + _WORDS_AT_ONCE] for at in range(0, len(codes), _WORDS_AT_ONCE))
        return Ragged.joined((torch.from_numpy(places[piece]) for piece in pieces), lengths), known


def _coded(coder: _Coder, words: Iterable[list[str]], labels: pa.ChunkedArray) -> Iterator[bytes]:
    """Takes the words of each text in, and gives what makes the text and its label one sample."""
    for each, label in zip(words, _each(labels), strict=True):
        coder.add(each)
        yield f"{' '.join(each)}\x1f{label}".encode()


def _each(column: pa.ChunkedArray) -> Iterator[str | None]:
    """The values of a column as Python's strings, of which few are in memory at a time."""
    for at in range(0, len(column), _ROWS_AT_ONCE):
        yield from column.slice(at, _ROWS_AT_ONCE).to_pylist()


def _read(path: Path) -> pa.Table:
    return _read_lines(path) if is_json_lines(path) else read_csv(path)


def _read_lines(path: Path) -> pa.Table:
    """JSON Lines: an object a line, whose fields are columns of text. A field that a line lacks is missing."""
    try:
        with opened(path, "rb") as file:
            lines = ((at, line) for at, line in enumerate(file, start=1) if line.strip())
            tables = [_table(path, block) for block in iter(lambda: list(islice(lines, _ROWS_AT_ONCE)), [])]
    except UNREADABLE as error:
        raise corrupt(f"{path} can't be read ({error}): get it again") from error
    if not tables:
        raise corrupt(f'{path} is empty: write an object a line, such as {{"text": …, "label": …}}')
    return pa.concat_tables(tables, promote_options="default")


def _table(path: Path, lines: list[tuple[int, bytes]]) -> pa.Table:
    rows = [_object(path, at, line) for at, line in lines]
    names = dict.fromkeys(name for row in rows for name in row)
    return pa.table({name: pa.array([row.get(name) for row in rows], pa.string()) for name in names})


def _object(path: Path, line: int, content: bytes) -> dict[str, str | None]:
    if line == 1 and content.startswith(_PACKED):
        raise corrupt(f"{path} is compressed: unpack it, or call it NAME{path.suffix}.gz")
    try:
        found: Any = json.loads(content.decode("utf-8-sig" if line == 1 else "utf-8"), object_pairs_hook=_once)
    except UnicodeDecodeError as error:
        raise corrupt(f"line {line} of {path} is no UTF-8 (byte {error.start + 1}): save the file as UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise corrupt(f"line {line} of {path} is no JSON ({error}): write one object a line") from error
    if _HALF.search(content) is not None and not _whole(found):
        raise corrupt(f"line {line} of {path} has half of a character (\\ud800 to \\udfff): correct that text")
    if not isinstance(found, dict):
        raise corrupt(f'line {line} of {path} is no object: write {{"text": …, "label": …}}')
    return {name: _plain(value) for name, value in found.items()}


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON whose fields have names of their own. Raises ValueError where two have one name."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"two fields are called {next(name for name in names if names.count(name) > 1)!r}")
    return found


def _whole(value: Any) -> bool:
    """Whether all texts of a JSON value have both halves of each character."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _plain(value: Any) -> str | None:
    """A value as text; None for null and NaN, and as in CSV for an empty text. Lists and objects are kept as JSON."""
    if value != value:  # noqa: PLR0124 - only NaN differs from itself
        return None
    if value is None or isinstance(value, str):
        return value if value and not value.isspace() else None
    return json.dumps(value)

"""The .ts format of the UCR/UEA archive of time series, univariate or multivariate, of equal or unequal lengths.

A file is lines that begin with @ and say what follows, and after @data one series a line: dimensions cut by colons,
values cut by commas, and the class or the value to predict last (A. Bagnall and others, "The UEA multivariate time
series classification archive, 2018").
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from velodrome.errors import ConfigurationError
from velodrome.spec import Dataset
from velodrome_runner.data.class_names import refuse_names
from velodrome_runner.data.contents import Schema, Tensors, sequences
from velodrome_runner.data.format import Description, InMemory, corrupt, divided, invalid, missing
from velodrome_runner.data.splitting import by_fractions

_SHORTEST = 2  # steps: a series of one value has no course


@dataclass(frozen=True)
class _Header:
    """What the lines before @data say. `classes` is None where the target is a number.

    `equal`: the file says that all of its series have one length.
    """

    classes: tuple[str, ...] | None
    equal: bool


@dataclass(frozen=True)
class _File:
    """A file's series, each (channels, length) float32, and its targets."""

    header: _Header
    series: list[Tensor]
    targets: Tensor


def read_time_series(dataset: Dataset, place: Path) -> InMemory:
    """The series of a folder with NAME_TRAIN.ts and NAME_TEST.ts, or as `spec.dataset.splits` says.

    Raises:
        ConfigurationError: DatasetMissing, DatasetCorrupt or DatasetInvalid; the message names the file and the line.
    """
    names: list[str] = []
    files: list[_File] = []
    for split, path in _files(dataset, place):
        file = read_ts(path)
        if files and file.header != files[0].header:
            raise invalid(f"{path} declares other classes than the first file: {_classes(file)}, {_classes(files[0])}")
        if files and file.series[0].shape[0] != files[0].series[0].shape[0]:
            raise invalid(f"{path} has {len(file.series[0])} dimensions, the first file {len(files[0].series[0])}")
        files.append(file)
        names += [split] * len(file.series)
    series = [each for file in files for each in file.series]
    targets = torch.cat([file.targets for file in files])
    lengths = torch.tensor([each.shape[1] for each in series])
    pool = sequences((each.T for each in series), lengths, targets)
    if dataset.splits is not None and dataset.splits.fractions is not None:
        names = by_fractions(
            (
                each.numpy().astype("<f4").tobytes() + str(target).encode()
                for each, target in zip(series, targets.tolist(), strict=True)
            ),
            dataset.splits.fractions,
        )
    longest = int(lengths.max())
    equal = bool((lengths == longest).all())
    schema = Schema((series[0].shape[0], longest), files[0].header.classes, target="class", equal=equal)
    parts = {name: source for name, source in divided(pool, names).items() if isinstance(source, Tensors)}
    return InMemory(Description("sequences", schema), parts)


def read_ts(path: Path) -> _File:
    """One file. Raises as `read_time_series` does."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise missing(f"{path} can't be read ({error.strerror}): change spec.dataset.source.path") from error
    except UnicodeError as error:
        raise corrupt(f"{path} is no UTF-8 text ({error}): save it as UTF-8") from error
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1)]
    lines = [(number, line) for number, line in lines if line and not line.startswith("#")]
    start = next((at for at, (_, line) in enumerate(lines) if line.lower() == "@data"), None)
    if start is None:
        raise corrupt(f"{path} has no line @data, after which the series come: it is no .ts file")
    header = _header(path, lines[:start])
    position = {name: label for label, name in enumerate(header.classes or ())}
    series, targets = [], []
    for number, line in lines[start + 1 :]:
        where = f"line {number} of {path}"
        *dimensions, last = line.split(":")
        series.append(_series(where, dimensions))
        targets.append(_target(where, last.strip(), header, position))
        if len(series[-1]) != len(series[0]):
            raise invalid(f"{where} has {len(series[-1])} dimensions, and the first series has {len(series[0])}")
        length, first = series[-1].shape[1], series[0].shape[1]
        if header.equal and length != first:
            raise invalid(
                f"{where} has {length} steps, the first series has {first}, and the header says @equalLength true: "
                "mend the line, or write @equalLength false"
            )
    if not series:
        raise invalid(f"{path} has no series after @data: add some")
    kind = torch.float64 if header.classes is None else torch.int64
    return _File(header, series, torch.tensor(targets, dtype=kind))


def _files(dataset: Dataset, place: Path) -> Iterator[tuple[str, Path]]:
    splits = dataset.splits
    if splits is not None and splits.files is not None:
        named = {"train": splits.files.train, "validation": splits.files.validation, "test": splits.files.test}
        yield from ((split, place / path) for split, path in named.items() if path is not None)
    elif splits is not None:
        yield "train", _one(place, dataset.name, "")
    else:
        yield "train", _one(place, dataset.name, "_TRAIN")
        yield "test", _one(place, dataset.name, "_TEST")


def _one(place: Path, name: str, ending: str) -> Path:
    """The file NAME_TRAIN.ts of a folder, or the only one that ends like that."""
    if place.is_file() and not ending:
        return place
    named = place / f"{name}{ending}.ts"
    found = sorted(place.glob(f"*{ending}.ts")) if place.is_dir() else []
    if named in found or len(found) == 1:
        return named if named in found else found[0]
    held = ", ".join(file.name for file in found[:8]) or f"no file that ends in {ending}.ts"
    raise missing(
        f"there is no {named} ({place} has {held}): name the files in spec.dataset.splits.files, or change "
        "spec.dataset.source.path"
    )


def _header(path: Path, lines: list[tuple[int, str]]) -> _Header:
    said: dict[str, list[str]] = {}
    for number, line in lines:
        if not line.startswith("@"):
            raise corrupt(f"line {number} of {path} is no header line, which begins with @, and @data comes later")
        name, *words = line[1:].split()
        said[name.lower()] = words
    if _is_true(said.get("timestamps")):
        raise invalid(f"{path} has time stamps: write the values at equal steps, with @timeStamps false")
    equal = _is_true(said.get("equallength"))
    if _is_true(said.get("targetlabel")):
        return _Header(None, equal)
    known = said.get("classlabel", [])
    if not _is_true(known) or len(known) < 2:
        raise invalid(f"{path} names no classes: write @classLabel true and the classes, or @targetlabel true")
    refuse_names(known[1:], lambda _: f"@classLabel of {path}")
    return _Header(tuple(known[1:]), equal)


def _is_true(words: list[str] | None) -> bool:
    """Whether a header line is there and says true."""
    return (words or ["false"])[0].lower() == "true"


def _series(where: str, dimensions: list[str]) -> Tensor:
    """The series (channels, length) float32 of one line."""
    channels = []
    for dimension in dimensions:
        cells = dimension.split(",") if dimension.strip() else []
        try:
            with np.errstate(over="ignore"):
                channels.append(np.array([float(cell) for cell in cells], dtype=np.float32))
        except ValueError:
            bad = next(cell.strip() for cell in cells if not _is_number(cell))
            lacking = bad in ("?", "")
            what = "has a missing value" if lacking else f"has {bad!r}, which is no number"
            raise invalid(f"{where} {what}: fill it in, or remove the series") from None
    lengths = {len(channel) for channel in channels}
    if not channels:
        raise corrupt(f"{where} has no colon between its values and its class")
    if len(lengths) > 1:
        raise invalid(f"{where} has dimensions of the lengths {sorted(lengths)}: give them one length")
    if min(lengths) < _SHORTEST:
        raise invalid(f"{where} is a series of length {min(lengths)}: remove it, since a series has two steps or more")
    stacked = np.stack(channels)
    if not np.isfinite(stacked).all():
        raise invalid(
            f"{where} has a value that is missing, infinite or too large for float32: mend it, or remove the series"
        )
    return torch.from_numpy(stacked)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _target(where: str, text: str, header: _Header, position: dict[str, int]) -> float:
    if header.classes is not None:
        if text not in position:
            raise invalid(f"{where} is of the class {text!r}, and @classLabel has {', '.join(header.classes)}")
        return position[text]
    if not _is_number(text) or not np.isfinite(float(text)):
        raise _no_target(where, text)
    return float(text)


def _no_target(where: str, text: str) -> ConfigurationError:
    return invalid(f"{where} has the target {text!r}, which is no finite number: mend it, or remove the series")


def _classes(file: _File) -> str:
    return "numbers" if file.header.classes is None else " ".join(file.header.classes)

"""What is in a data set, for people: `velodrome data check` and `prepare` ask for it in a process of their own."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, TextIO

import torch

from velodrome import keys
from velodrome.errors import VelodromeError
from velodrome.spec import Dataset
from velodrome.text import counted
from velodrome_runner.data.contents import Contents, Held, SampleSource, whole
from velodrome_runner.data.format import Format
from velodrome_runner.data.loading import FILE_FOLDERS, open_format, opened, read

_CHUNK = 256  # samples that are decoded at once
_MOST_NAMES = 20


def answer(asked: TextIO, said: TextIO = sys.stdout) -> int:
    """Reads {"dataset", "folder", "task", "prepare"} and writes the report, or {"reason", "message"}, as one JSON line.

    Returns the exit code of `velodrome.keys`.
    """
    question = json.load(asked)
    dataset, folder = Dataset.model_validate(question["dataset"]), Path(question["folder"])
    try:
        found = report(dataset, folder, task=question.get("task"), prepare=question.get("prepare", False))
    except VelodromeError as error:
        _say(said, {"reason": error.reason, "message": str(error)})
        return keys.EXIT_CONFIGURATION
    _say(said, found)
    return keys.EXIT_OK


def _say(said: TextIO, found: dict[str, Any]) -> None:
    """Writes a line of its own, whatever a team's code has printed before."""
    said.write(f"\n{json.dumps(found)}\n")


def report(dataset: Dataset, folder: Path, *, task: str | None, prepare: bool) -> dict[str, Any]:
    """The facts of a data set after every sample of it was read, also those that training would read later.

    With `prepare`, missing files are downloaded if the spec allows it, and folders of files get their manifest.

    Raises:
        VelodromeError: what a trial would say of the data.
    """
    prepared = _prepared(dataset, folder) if prepare else None
    if not prepare and dataset.source is not None and dataset.source.download:
        dataset = dataset.model_copy(update={"source": dataset.source.model_copy(update={"download": False})})
    contents = read(dataset, folder, task=task)
    for source in contents.splits.values():
        _read_all(source)
    facts = opened(contents, dataset, seed=0).facts
    return {
        "kind": contents.kind,
        "shape": list(contents.schema.shape),
        "classes": None if contents.schema.classes is None else list(contents.schema.classes),
        "tokens": len(contents.schema.tokens),
        "columns": _columns(contents),
        "splits": {name: len(source) for name, source in contents.splits.items()},
        "validation": facts.validation_samples,
        "bytes": sum(source.nbytes for source in contents.splits.values()),
        "shared": facts.shared_samples,
        "digest": contents.digest,
        "reading": facts.reading,
        "manifest": prepared,
    }


def _prepared(dataset: Dataset, folder: Path) -> str | None:
    """Writes the manifest of a folder of images or sounds anew, and returns its path; None for any other data."""
    kind = dataset.format or dataset.name
    if kind not in FILE_FOLDERS:
        return None
    from velodrome_runner.data.loading import place_of
    from velodrome_runner.data.manifest import MANIFEST, write_manifest

    root = _root(kind, place_of(dataset, folder))
    (root / MANIFEST).unlink(missing_ok=True)
    found: Format = open_format(dataset, folder)
    entries: Any = found
    return str(write_manifest(root, [entry for each in entries.entries().values() for entry in each]))


def _root(kind: str, place: Path) -> Path:
    """The folder below which a format has the names of its files, and in which it looks for their manifest."""
    from velodrome_runner.data.voc_folders import PARTS, root_of

    if kind in PARTS:
        return root_of(place, PARTS[kind])
    return place.parent if place.is_file() else place


def _read_all(source: SampleSource) -> None:
    if isinstance(source, Held):
        return
    for indices in torch.arange(len(source)).split(_CHUNK):
        source.take(indices)


def _columns(contents: Contents) -> dict[str, str]:
    """What each column of a table or of a file of sequences is; the first of them, where there are many."""
    schema = contents.schema
    found = {}
    if contents.kind == "sequences":
        found.update(dict.fromkeys(schema.numeric[:_MOST_NAMES], "channel"))
    if contents.kind == "table":
        values = whole(contents.splits["train"]).inputs["numeric"]
        lacking = values.isnan().sum(0).tolist()
        for name, missing in list(zip(schema.numeric, lacking, strict=True))[:_MOST_NAMES]:
            found[name] = "numeric" + (f", {missing} missing in training" if missing else "")
        for name, categories in list(schema.categorical.items())[:_MOST_NAMES]:
            found[name] = f"categorical, {counted(len(categories), 'category', 'categories')}"
    return found

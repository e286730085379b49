"""Rules that span the fields of `spec.dataset`. Pure; see `velodrome.spec.rules`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from velodrome.spec.raw import Broken, as_list, as_mapping, as_text, one_of, repeated, trainings
from velodrome.spec.wording import Location, shown, suggestion
from velodrome.vocabulary import BUNDLED, COLUMNAR, DATASET_FIELDS, DATASETS, FORMAT_FIELDS, FORMATS

_HERE: Location = ("spec", "dataset")
_FACTORY = "package.module:factory"
_SEQUENCES = "SequenceCSV"
_TEXT = "Text"
_DOCUMENTS = "Documents"


def dataset_rules(spec: Mapping[str, Any]) -> Iterator[Broken]:
    """Every rule of the data that the spec breaks."""
    dataset = as_mapping(spec.get("dataset"))
    yield from _name(dataset)
    yield from _source(dataset)
    yield from _fields(dataset)
    yield from _classes(dataset)
    yield from _columns(dataset)
    yield from _splits(dataset)
    yield from _unvalidated(spec, dataset)


def _kind(dataset: Mapping[str, Any]) -> str:
    """The format as FORMAT_FIELDS names it; empty if it can't be told."""
    name = as_text(dataset.get("format"))
    if ":" in name:
        return _FACTORY
    known = as_text(dataset.get("name"))
    return name if name in FORMATS else known if known in DATASETS and not name else ""


def _name(dataset: Mapping[str, Any]) -> Iterator[Broken]:
    name = as_text(dataset.get("name"))
    if name and name not in DATASETS and dataset.get("format") is None:
        hint = f"{suggestion(name, DATASETS)}; or write format: for data of your own, such as ImageFolder or CSV"
        yield Broken((*_HERE, "name"), f"{shown(name)} is no data set that Velodrome knows", hint)


def _source(dataset: Mapping[str, Any]) -> Iterator[Broken]:
    source, kind = as_mapping(dataset.get("source")), _kind(dataset)
    volume, path, download = (source.get(field) for field in ("persistentVolumeClaim", "path", "download"))
    here: Location = (*_HERE, "source")
    name = as_text(dataset.get("name"))
    if kind in BUNDLED and source:
        yield Broken(here, f"{kind} comes with the runner and needs no source", "leave it out")
    elif kind and kind not in BUNDLED and kind != _FACTORY and not (volume or path or download):
        ways = "{path: FOLDER} or {download: true}" if kind == name else "{path: FOLDER}"
        yield Broken(here, f"{name} needs a source", f"for example {ways}")
    if download is True and kind in FORMATS and kind != name:
        yield Broken((*here, "download"), f"nobody but you has the data of {name}", "put the files there yourself")
    if volume is not None and path is not None:
        yield Broken(here, "names two places", "write persistentVolumeClaim or path, not both")
    if volume is not None and download is True:
        yield Broken((*here, "download"), "a volume is mounted read-only", "put the files there, or leave out one")
    folder = as_text(as_mapping(volume).get("path"))
    if folder.startswith("/") or ".." in folder.split("/"):
        yield Broken((*here, "persistentVolumeClaim", "path"), f"{shown(folder)} leaves the volume", "without / and ..")


def _fields(dataset: Mapping[str, Any]) -> Iterator[Broken]:
    """Fields that other formats have, and fields that this one needs."""
    kind = _kind(dataset)
    if not kind:
        return
    allowed = FORMAT_FIELDS.get(kind, frozenset())
    for field in DATASET_FIELDS:
        if dataset.get(field) is not None and field not in allowed:
            users = ", ".join(name for name, fields in FORMAT_FIELDS.items() if field in fields)
            yield Broken((*_HERE, field), f"{kind} takes no {field}", f"formats that do: {users}")
    if "target" in allowed and dataset.get("target") is None:
        yield Broken(_HERE, f"{kind} needs a target", "write target: COLUMN, the column to predict")
    if kind in COLUMNAR and not as_mapping(dataset.get("splits")):
        yield Broken(_HERE, f"{kind} needs splits", "for example splits: {fractions: {test: 0.2}}")
    if kind == _DOCUMENTS and dataset.get("text") is None:
        yield Broken(_HERE, f"{kind} needs a text", "write text: COLUMN, the column of the texts")
    if kind == _DOCUMENTS and dataset.get("text") is not None and dataset.get("text") == dataset.get("target"):
        yield Broken((*_HERE, "text"), f"{shown(dataset['text'])} is the target", "name another column")
    if kind == _TEXT and not as_mapping(dataset.get("splits")):
        yield Broken(_HERE, f"{kind} needs splits", "for example splits: {fractions: {validation: 0.1, test: 0.1}}")
    if kind == "ImageNet" and dataset.get("imageSize") is None:
        yield Broken(_HERE, "ImageNet needs an imageSize", "for example imageSize: 256")


def _classes(dataset: Mapping[str, Any]) -> Iterator[Broken]:
    for index, name in repeated(list(enumerate(as_list(dataset.get("classes"))))):
        yield Broken((*_HERE, "classes", index), f"{shown(name)} is listed twice", "give each label a name of its own")


def _columns(dataset: Mapping[str, Any]) -> Iterator[Broken]:
    columns, kind = as_mapping(dataset.get("columns")), _kind(dataset)
    here: Location = (*_HERE, "columns")
    lists, roles = ("numeric", "categorical", "ignore"), ("sequence", "step")
    named: list[tuple[Any, Location]] = [
        (name, (*here, field, at)) for field in lists for at, name in enumerate(as_list(columns.get(field)))
    ]
    named += [(columns[role], (*here, role)) for role in roles if columns.get(role) is not None]
    for index, name in repeated([(index, name) for index, (name, _) in enumerate(named)]):
        yield Broken(named[index][1], f"{shown(name)} is listed twice", "list each column once")
    for name, location in named:
        if name == dataset.get("target"):
            yield Broken(location, f"{shown(name)} is the target", "leave it out here")
    if kind == _SEQUENCES:
        if columns.get("sequence") is None:
            hint = "write columns: {sequence: COLUMN}, the column that names the sequence of each row"
            yield Broken(_HERE, f"{kind} needs columns.sequence", hint)
        if as_list(columns.get("categorical")):
            hint = "write its categories as numbers, one column each, or list it under ignore"
            yield Broken((*here, "categorical"), "the channels of a sequence are numbers", hint)
    elif kind:
        for role in roles:
            if columns.get(role) is not None:
                hint = f"leave it out; {_SEQUENCES} reads sequences, with one row a step"
                yield Broken((*here, role), f"{kind} has no sequences of rows", hint)


def _splits(dataset: Mapping[str, Any]) -> Iterator[Broken]:
    if dataset.get("splits") is None:
        return
    here: Location = (*_HERE, "splits")
    splits, kind = as_mapping(dataset.get("splits")), _kind(dataset)
    yield from one_of(here, splits, ("files", "column", "fractions"))
    for field in ("column", "group"):
        if splits.get(field) is not None and kind not in ("", *COLUMNAR):
            hint = f"{', '.join(COLUMNAR)} have; use files or fractions"
            yield Broken((*here, field), f"{kind} has no columns", hint)
        elif splits.get(field) is not None and splits[field] == dataset.get("target"):
            yield Broken((*here, field), f"{shown(splits[field])} is the target", "name another column")
    if splits.get("files") is not None and kind in BUNDLED:
        yield Broken((*here, "files"), f"{kind} is one text", "use fractions")
    if splits.get("files") is not None and kind == _FACTORY:
        yield Broken((*here, "files"), "a factory reads its own files", "let it return a dataset for each split")
    for name, path in as_mapping(splits.get("files")).items():
        if as_text(path).startswith("/") or ".." in as_text(path).split("/"):
            yield Broken((*here, "files", name), f"{shown(path)} leaves the source", "without / in front and ..")


def _unvalidated(spec: Mapping[str, Any], dataset: Mapping[str, Any]) -> Iterator[Broken]:
    """What needs a validation split where there is none."""
    splits = as_mapping(dataset.get("splits"))
    declared = any(as_mapping(splits.get(part)).get("validation") for part in ("files", "fractions"))
    if dataset.get("validationFraction") != 0 or declared or splits.get("column") is not None:
        return
    hint = "write a validationFraction, such as 0.1"
    if as_mapping(spec.get("budget")).get("target") is not None:
        yield Broken(("spec", "budget", "target"), "a target is looked for on the validation split", hint)
    for place, training in trainings(spec):
        if training.get("earlyStopping") is not None:
            yield Broken((*place, "earlyStopping"), "early stopping needs a validation split", hint)

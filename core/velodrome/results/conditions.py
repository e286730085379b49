"""The conditions under which a board's values were measured, and the differences between two cohorts. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Difference:
    """One fact in which two cohorts differ. `condition` is its name in the catalogue; `fact` says which part of it."""

    condition: str
    fact: str
    here: str
    there: str

    def __str__(self) -> str:
        return f"{self.fact} differs: {self.here} here, {self.there} there"


def differences(here: Mapping[str, Any], there: Mapping[str, Any]) -> tuple[Difference, ...]:
    """Every fact in which two sets of conditions differ, in the order of the conditions."""
    left, right = dict(facts(here)), dict(facts(there))
    return tuple(
        Difference(path[0], fact_words(path), shown(left.get(path)), shown(right.get(path)))
        for path in dict.fromkeys((*left, *right))
        if left.get(path) != right.get(path)
    )


Path = tuple[str, ...]

_WORDS: Mapping[Path, str] = {
    ("dataset", "digest"): "data",
    ("dataset", "imageSize"): "image size",
    ("dataset", "name"): "dataset",
    ("dataset", "samples"): "train, validation and test samples",
    ("dataset", "validationFraction"): "validation fraction",
    ("preprocessing", "normalize"): "normalisation",
    ("preprocessing", "augmentations"): "augmentations",
    ("preprocessing", "fittedSamples"): "samples that the preprocessing was fitted on",
    ("evaluation", "protocol"): "evaluation protocol",
    ("counting", "flops"): "definition of FLOPs",
    ("evaluation", "minRunSeconds"): "seconds of timing",
    ("evaluation", "pricePerHour"): "price per hour",
    ("evaluation", "serving", "arrivalRate"): "queries a second",
    ("evaluation", "serving", "queries"): "queries",
    ("evaluation", "serving", "maxBatchSize"): "largest batch of waiting queries",
    ("evaluation", "offline", "maxBatchSize"): "largest batch size tried",
    ("budget", "maxEpochs"): "epochs at most",
    ("budget", "maxSeconds"): "training seconds at most",
    ("budget", "maxSteps"): "steps at most",
    ("hardware", "cpu_model"): "CPU",
    ("hardware", "cpu_count"): "CPUs of the machine",
    ("hardware", "accelerator"): "accelerator",
    ("hardware", "accelerator_memory_bytes"): "accelerator memory, bytes",
    ("hardware", "driver"): "driver",
    ("software", "framework"): "framework",
    ("software", "velodrome"): "Velodrome",
    ("software", "python"): "Python",
    ("software", "cuda"): "CUDA",
    ("software", "cudnn"): "cuDNN",
    ("software", "image"): "image",
    ("resources", "cpus"): "CPUs granted",
    ("resources", "memory_limit_bytes"): "memory limit, bytes",
    ("resources", "accelerators"): "accelerators granted",
    ("resources", "concurrent_trials"): "trials at once",
    ("resources", "nodes"): "nodes",
}


def fact_words(path: Path) -> str:
    """A fact's name for people. An unknown fact is named by its path."""
    if path in _WORDS:
        return _WORDS[path]
    return path[-1] if path[:2] == ("software", "libraries") else " ".join(path)


def shown(value: object) -> str:
    """A fact's value for people: a digest is shortened, a list has commas, a missing value is a word."""
    match value:
        case None | () | []:
            return "none"
        case True | False:
            return "on" if value else "off"
        case float():
            return f"{value:g}"
        case str():
            return re.sub(r"^sha256:(.{8}).*", r"\1", value)
        case Mapping():  # an augmentation or another part with a name
            name = str(value.get("name", ""))
            parts = [f"{key} {shown(item)}" for key, item in value.items() if key != "name" and item not in ({}, None)]
            return f"{name} ({', '.join(parts)})" if name and parts else name or ", ".join(parts)
        case list() | tuple():
            return ", ".join(shown(item) for item in value)
        case _:
            return str(value)


def facts(value: Mapping[str, Any], here: Path = ()) -> Iterator[tuple[Path, Any]]:
    """The leaves of nested conditions, with their paths. A list counts as a leaf, because its order is a fact too."""
    for key, item in value.items():
        if isinstance(item, Mapping):
            yield from facts(item, (*here, str(key)))
        else:
            yield (*here, str(key)), item

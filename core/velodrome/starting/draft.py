"""Writes a commented BenchmarkJob from what is known about the data. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from velodrome.tasks import TASKS, task_of
from velodrome.vocabulary import DATASETS, DataKind

TEMPLATES: Final[Mapping[str, str]] = {
    "models": "Race models on a data set that Velodrome knows: --dataset NAME, --model NAME. Needs no files.",
    "images": "Race networks on pictures of your own, a folder for each class, or boxes or masks: --images FOLDER.",
    "table": "Race networks on a table of your own: --csv FILE --target COLUMN.",
    "series": "Race networks on sequences: --series FILE, a .ts file or a CSV file with one row a step.",
    "sound": "Race networks on sounds of your own, one folder for each class: --sound FOLDER.",
    "text": "Race language models on a text: --text FILE or FOLDER; with labels: --text FILE --target COLUMN.",
    "nightly": "Race the same models every night, and hear what got worse: as models, with rules for regressions.",
}

_DETECTOR: Final = "velodrome/fcos"
_PAINTER: Final = "velodrome/unet"
_MODELS: Final[Mapping[DataKind, tuple[str, ...]]] = {
    "images": ("velodrome/cnn", "velodrome/mlp"),
    "table": ("velodrome/mlp",),
    "sequences": ("velodrome/gru", "velodrome/conv1d"),
    "text": ("velodrome/gru", "velodrome/transformer"),
    "documents": ("velodrome/embeddingbag", "velodrome/gru"),
    "scenes": (_DETECTOR,),
    "masks": (_PAINTER,),
}
SCALED: Final = "{scaling: StandardScaler}   # fitted on the training split"
_WORDS_OF_YAML: Final = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})


@dataclass(frozen=True, slots=True)
class FoundData:
    """What is known about the data. `dataset` has the fields of `spec.dataset` as YAML, and `facts` a sentence each.

    `task` is None where the data leave no choice. `preprocessing` is `spec.preprocessing` on one line, if there is any.
    """

    title: str
    kind: DataKind
    dataset: tuple[str, ...]
    facts: tuple[str, ...] = ()
    task: str | None = None
    ranked: str = "classification"
    preprocessing: str = ""


def known(name: str) -> FoundData:
    """A data set of the vocabulary."""
    from velodrome.vocabulary import BUNDLED, DATA_KINDS

    files: tuple[str, ...] = ("source: {path: ., download: true}  # fetched into the data folder once",)
    if name == "ImageNet":
        files = ("source: {path: ImageNet}     # a folder below --data, as torchvision lays it out", "imageSize: 224")
    elif name in BUNDLED:
        files = ()
    ranked = task_of(None, name, None)
    first = SCALED if DATA_KINDS[name] == "table" else ""
    return FoundData(name, DATA_KINDS[name], (f"name: {name}", *files), (DATASETS[name],), None, ranked, first)


def draft(found: FoundData, models: Sequence[str] = (), *, nightly: bool = False) -> str:
    """The text of a BenchmarkJob. It is valid if the names of the models are."""
    name, entries = job_name(found.title), _entries(found, models)
    width = max(len(entry) for entry, _ in entries)
    lines = [
        *(f"# {fact}" for fact in found.facts),
        "#",
        "#   velodrome validate FILE     is it right? --deep also reads the data and builds the models",
        "#   velodrome plan FILE         what would run",
        "#   velodrome run FILE          race, and show who is best",
        "#",
        "# Every field: docs/reference/benchmarkjob.md. An editor checks the file with what velodrome schema prints.",
        "apiVersion: velodrome.dev/v1alpha1",
        "kind: BenchmarkJob",
        "metadata:",
        f"  name: {name}",
        "spec:",
        f"  board: {name}  # jobs on one board are ranked together, and compared with each other",
        *([f"  task: {found.task}"] if found.task else []),
        "  objectives:                  # one ranking each",
        *(f"    - {{{objective}}}" for objective in _objectives(found)),
        "  dataset:",
        *(f"    {one}" for one in found.dataset),
        *([f"  preprocessing: {found.preprocessing}"] if found.preprocessing else []),
        "  budget: {maxEpochs: 15}      # the same for every entry",
        "  training:                    # defaults; an entry may override parts of them",
        "    batchSize: 32",
        "    optimizer: {name: AdamW, learningRate: 0.003}",
        "    schedule: {name: OneCycle}",
        "    regularization: {l2: 0.01}",
        "  entries:                     # who races",
        *(f"    - {{name: {entry + ',':{width + 1}} model: {{name: {scalar(model)}}}}}" for entry, model in entries),
        *([] if models else [_variant(*entries[0])]),
        "  trials: {repeats: 5}         # seeds for each entry; more seeds make intervals narrower",
        *(_NIGHTLY if nightly else ()),
    ]
    return "\n".join(lines) + "\n"


_NIGHTLY: Final = (
    "  regression:                  # when a later job counts as worse",
    "    minRelativeChange: 0.02    # smaller changes don't count",
    "    confirm: true              # a second job has to show it too",
)


def _objectives(found: FoundData) -> tuple[str, ...]:
    quality = TASKS[found.ranked].objective
    return (
        f"name: {job_name(quality)}, metric: {quality}",
        "name: speed, metric: latency_p50_seconds, batchSize: 1",
        "name: size, metric: parameters",
    )


def _entries(found: FoundData, models: Sequence[str]) -> list[tuple[str, str]]:
    """A name for each model, unique and allowed."""
    chosen = models or _MODELS[found.kind]
    names: list[tuple[str, str]] = []
    for model in chosen:
        name = base = job_name(re.split(r"[/:]", model)[-1])
        number = 2
        while name in {taken for taken, _ in names}:
            name, number = f"{base}-{number}", number + 1
        names.append((name, model))
    return names


def _variant(entry: str, model: str) -> str:
    """The same model, trained or made in another way: what an entry may override."""
    if model in (_DETECTOR, _PAINTER):
        return f"    - {{name: {entry}-wide, model: {{name: {model}, args: {{width: 32}}}}}}"
    return f"    - {{name: {entry}-dropout, model: {{name: {model}}}, training: {{regularization: {{dropout: 0.2}}}}}}"


def job_name(title: str) -> str:
    """A name that Kubernetes allows, as near to the title as can be."""
    name = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:40].strip("-")
    return name or "race"


def data_name(title: str) -> str:
    """A name for data, as near to the title as can be."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", title).strip("-_")[:60].rstrip("-_") or "data"


def scalar(value: str) -> str:
    """A text as YAML, quoted where it has to be."""
    plain = re.fullmatch(r"[A-Za-z/][\w./-]*", value) and value.lower() not in _WORDS_OF_YAML
    return value if plain else json.dumps(value, ensure_ascii=False)


def column_list(names: Sequence[str]) -> str:
    """Names as a YAML list on one line."""
    return f"[{', '.join(map(scalar, names))}]"


def source_line(path: Path) -> str:
    """Where the data are, as a field of `spec.dataset`."""
    where = scalar(str(path.resolve()))
    return f"source: {{path: {where}}}  # of this machine; on a cluster: persistentVolumeClaim"

"""The tasks: which kinds of data, models and metrics go with each. Pure.

A metric says itself which tasks it belongs to (`velodrome.metrics`), and a model which kinds of data it takes. The spec
refuses everything else by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from velodrome.metrics.catalogue import CATALOGUE, Metric, present_name
from velodrome.vocabulary import CLASSES, DATA_KINDS, DataKind, Keeping


@dataclass(frozen=True, slots=True)
class TaskRow:
    """One line of the table of tasks.

    `kinds` are those of the data. `objective` is ranked, and `metrics` are measured, where a job names none. `scores`
    are scikit-learn's scores that features may be selected by. `formats` are the known data sets and the formats of
    data that leave no other choice. `keeps` is what a trial may keep of each test sample, the default first. `smooths`
    is whether its loss takes label smoothing.
    """

    name: str
    kinds: tuple[DataKind, ...]
    objective: str
    metrics: tuple[str, ...]
    scores: tuple[str, ...]
    formats: frozenset[str] = frozenset()
    keeps: tuple[Keeping, ...] = ("none",)
    smooths: bool = True

    def measures(self, metric: Metric) -> bool:
        """Whether a model of this task has a value of this metric: costs belong to every task."""
        return not metric.tasks or self.name in metric.tasks

    @property
    def quality(self) -> tuple[str, ...]:
        """The names of all metrics of quality of this task."""
        return tuple(name for name, metric in CATALOGUE.items() if metric.kind == "quality" and self.measures(metric))


TASKS: Mapping[str, TaskRow] = MappingProxyType(
    {
        row.name: row
        for row in (
            TaskRow(
                name="classification",
                kinds=("images", "sequences", "table", "documents"),
                objective="accuracy",
                metrics=("accuracy", "precision", "recall", "f1"),
                scores=("f_classif", "mutual_info_classif", "chi2"),
                formats=frozenset({"ImageFolder", "ImageNet", "SVHN", "IDX", "Documents", "SpeechCommands", *CLASSES}),
                keeps=("correct", "losses", "none"),
            ),
            TaskRow(
                name="regression",
                kinds=("sequences", "table"),
                objective="rmse",
                metrics=("rmse", "mae", "r2"),
                scores=("f_regression", "mutual_info_regression", "r_regression"),
                formats=frozenset({"diabetes"}),
                keeps=("none", "losses"),
                smooths=False,
            ),
            TaskRow(
                name="language-modelling",
                kinds=("text",),
                objective="perplexity",
                metrics=("perplexity", "bits_per_byte"),
                scores=(),
                formats=frozenset({"Text", "pydoc"}),
            ),
            TaskRow(
                name="detection",
                kinds=("scenes",),
                objective="box_map",
                metrics=("box_map", "box_map_50"),
                scores=(),
                formats=frozenset({"COCO", "VOC"}),
                smooths=False,
            ),
            TaskRow(
                name="segmentation",
                kinds=("masks",),
                objective="miou",
                metrics=("miou", "pixel_accuracy"),
                scores=(),
                formats=frozenset({"VOCSegmentation"}),
            ),
        )
    }
)
# The task of data that leave a choice, where the job names none.
DEFAULT = "classification"

# The kinds of data that Velodrome's own models take. A model that is not here is checked by the runner alone.
MODEL_KINDS: Mapping[str, tuple[DataKind, ...]] = {
    "velodrome/mlp": ("images", "sequences", "table"),
    "velodrome/cnn": ("images",),
    "velodrome/resnet9": ("images",),
    "velodrome/lstm": ("images", "sequences", "text", "documents"),
    "velodrome/gru": ("images", "sequences", "text", "documents"),
    "velodrome/conv1d": ("sequences",),
    "velodrome/inceptiontime": ("sequences",),
    "velodrome/transformer": ("sequences", "text", "documents"),
    "velodrome/embeddingbag": ("documents",),
    "velodrome/fcos": ("scenes",),
    "velodrome/unet": ("masks",),
    "torchvision/": ("images", "scenes", "masks"),
    "timm/": ("images",),
}


def kind_of(name: str, data_format: str | None) -> DataKind | None:
    """What a sample of these data is; None if only the data can say."""
    return DATA_KINDS.get(data_format or name)


def inferred(name: str, data_format: str | None) -> str | None:
    """The only task that data of this name and format allow; None if they leave a choice."""
    return next((task for task, row in TASKS.items() if (data_format or name) in row.formats), None)


def task_of(task: str | None, name: str, data_format: str | None) -> str:
    """The task of a job: as written, or as its data have it."""
    return task or inferred(name, data_format) or DEFAULT


def model_kinds(model: str) -> tuple[DataKind, ...] | None:
    """The kinds of data that a model takes, by its name; None if that is not known."""
    return MODEL_KINDS.get(model) or MODEL_KINDS.get(f"{model.partition('/')[0]}/" if "/" in model else model)


def metric_named(name: object) -> Metric | None:
    """The metric of that name, or of that former name."""
    return CATALOGUE.get(present_name(name)) if isinstance(name, str) else None

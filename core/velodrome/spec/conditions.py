"""The conditions that results depend on: data, preprocessing, budget and evaluation, the same for every entry."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from velodrome.metrics import CATALOGUE
from velodrome.spec.base import Strict
from velodrome.spec.types import DIGEST, Finite, Fraction, MetricName, Name
from velodrome.vocabulary import AugmentationName, DatasetName, FeatureSelectionMethod


class PersistentVolumeClaim(Strict):
    """Where a data set lies on a cluster."""

    claim_name: Name = Field(description="Name of a PersistentVolumeClaim in the job's namespace, mounted read-only.")
    path: str = Field(default="", max_length=1024, description="Folder inside the volume that holds the data set.")


class Source(Strict):
    """Where the data set's files come from; exactly one place."""

    persistent_volume_claim: PersistentVolumeClaim | None = Field(
        default=None, description="A volume of the cluster; on one machine `path` is looked up below --data."
    )
    path: str | None = Field(
        default=None,
        min_length=1,
        max_length=1024,
        description="A folder of the runner's image, or of this machine (relative to --data).",
    )
    download: bool = Field(
        default=False, description="Whether the runner may download the files where they are missing."
    )


class Dataset(Strict):
    """The data that every entry trains and is tested on."""

    name: DatasetName = Field(description="Name of a data set that the runner can read.")
    source: Source | None = Field(
        default=None, description="Where its files are; not needed for data that ships with a library."
    )
    digest: str | None = Field(
        default=None,
        pattern=DIGEST,
        max_length=71,
        description="Pin: a trial whose data has another digest fails; what was read is always digested and recorded.",
    )
    validation_fraction: Finite = Field(
        default=0.1,
        gt=0,
        le=0.5,
        description="Share of the training split that is held out for early stopping and targets.",
    )


AspectRatio = Annotated[Finite, Field(gt=0, le=100)]


class AugmentationArgs(Strict):
    """Arguments of the augmentations; each takes its own."""

    size: int | None = Field(
        default=None, ge=1, le=4096, description="RandomCrop: side of the crop; the image's own if absent."
    )
    padding: int | None = Field(
        default=None, ge=0, le=1024, description="RandomCrop: zero padding on each side, 0 if absent."
    )
    p: Fraction | None = Field(
        default=None, description="RandomHorizontalFlip, RandomErasing: probability, 0.5 if absent."
    )
    degrees: Finite | None = Field(
        default=None, gt=0, le=180, description="RandomRotation: largest angle either way, 15 if absent."
    )
    brightness: Fraction | None = Field(default=None, description="ColorJitter: largest relative change, 0 if absent.")
    contrast: Fraction | None = Field(default=None, description="ColorJitter: largest relative change, 0 if absent.")
    saturation: Fraction | None = Field(default=None, description="ColorJitter: largest relative change, 0 if absent.")
    hue: Finite | None = Field(
        default=None, ge=0, le=0.5, description="ColorJitter: largest change of hue, in turns, 0 if absent."
    )
    scale: tuple[Fraction, Fraction] | None = Field(
        default=None, description="RandomErasing: erased share of the area, low to high, [0.02, 0.33] if absent."
    )
    ratio: tuple[AspectRatio, AspectRatio] | None = Field(
        default=None, description="RandomErasing: height over width, low to high, [0.3, 3.3] if absent."
    )
    bins: int | None = Field(
        default=None, ge=2, le=1000, description="TrivialAugment: number of magnitude bins, 31 if absent."
    )


class Augmentation(Strict):
    """One random change of the training images; validation and test images are never augmented."""

    name: AugmentationName = Field(description="Name of the augmentation, as torchvision.transforms calls it.")
    args: AugmentationArgs = Field(default=AugmentationArgs(), description="Its arguments.")


class FeatureSelection(Strict):
    """Which input features are kept, learned from the training split; the others are set to 0 in every split."""

    method: FeatureSelectionMethod = Field(description="Method, as scikit-learn names it.")
    k: int | None = Field(default=None, ge=1, le=100_000_000, description="SelectKBest: how many features are kept.")
    percentile: int | None = Field(default=None, ge=1, le=100, description="SelectPercentile: percentage that is kept.")
    threshold: Finite | None = Field(
        default=None, ge=0, le=1e12, description="VarianceThreshold: features of no more variance go, 0 if absent."
    )
    score: Literal["f_classif", "mutual_info_classif", "chi2"] | None = Field(
        default=None, description="SelectKBest, SelectPercentile: the score, f_classif if absent."
    )


class Preprocessing(Strict):
    """What is done to the data, the same for every entry."""

    normalize: bool = Field(
        default=True, description="Whether each channel gets mean 0 and deviation 1, from the training split."
    )
    augmentations: tuple[Augmentation, ...] = Field(
        default=(), max_length=16, description="Random changes of the training images, in this order."
    )
    feature_selection: FeatureSelection | None = Field(default=None, description="Feature selection; null keeps all.")


class Target(Strict):
    """The quality whose reaching is timed, measured on the validation split at the end of each epoch."""

    metric: MetricName = Field(description="A metric that is measured each epoch.")
    value: Finite = Field(ge=0, le=1e6, description="The value to reach, in the metric's good direction.")


class Budget(Strict):
    """How long every entry may train."""

    max_epochs: int = Field(default=10, ge=1, le=100_000, description="Most passes over the training split.")
    max_seconds: Finite | None = Field(
        default=None, gt=0, le=31_536_000, description="Most seconds of training; null: no limit."
    )
    target: Target | None = Field(
        default=None, description="Records the training time until it is reached; does not stop."
    )


class Inference(Strict):
    """How inference is timed."""

    batch_sizes: tuple[Annotated[int, Field(ge=1, le=65536)], ...] = Field(
        default=(1, 64),
        min_length=1,
        max_length=16,
        description="Batch sizes at which latency and throughput are measured.",
    )
    min_run_seconds: Finite = Field(
        default=1.0, gt=0, le=3600, description="Least time spent measuring each batch size."
    )


class Evaluation(Strict):
    """What is measured on the test split, once, after training."""

    metrics: tuple[MetricName, ...] = Field(
        default=("accuracy", "precision", "recall", "f1"),
        min_length=1,
        max_length=len(CATALOGUE),
        description="Quality metrics to measure, beside those that objectives name.",
    )
    inference: Inference = Field(default=Inference(), description="How inference is timed.")

"""The conditions that results depend on beside the data: preprocessing, budget and evaluation, for every entry."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from velodrome.metrics import CATALOGUE
from velodrome.spec.base import Strict, absent
from velodrome.spec.types import Finite, Fraction, MetricName
from velodrome.tasks import DEFAULT, TASKS
from velodrome.vocabulary import AugmentationName, FeatureScore, FeatureSelectionMethod

# Those of the catalogue, and those that a job declares.
MOST_DECLARED = 16
MOST_METRICS = len(CATALOGUE) + MOST_DECLARED
AspectRatio = Annotated[Finite, Field(gt=0, le=100)]


class AugmentationArgs(Strict):
    """Arguments of the augmentations; each augmentation has its own."""

    size: int | None = Field(
        default=None,
        ge=1,
        le=4096,
        description="RandomCrop: side of the crop, in pixels; the image's own side if absent.",
    )
    padding: int | None = Field(
        default=None, ge=0, le=1024, description="RandomCrop: zero padding on each side, in pixels; 0 if absent."
    )
    p: Fraction | None = Field(
        default=None, description="RandomHorizontalFlip, RandomErasing: probability, 0.5 if absent."
    )
    degrees: Finite | None = Field(
        default=None,
        gt=0,
        le=180,
        description="RandomRotation: largest angle in both directions, in degrees; 15 if absent.",
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
    """Which input features are kept, learned from the training split; others are 0 in images, and gone from tables."""

    method: FeatureSelectionMethod = Field(description="Method, by its name in scikit-learn.")
    k: int | None = Field(
        default=None, ge=1, le=100_000_000, description="SelectKBest, RFE: number of features to keep."
    )
    percentile: int | None = Field(
        default=None, ge=1, le=100, description="SelectPercentile: percentage of features to keep."
    )
    threshold: Finite | None = Field(
        default=None,
        ge=0,
        le=1e12,
        description="VarianceThreshold: features with at most this variance are dropped; 0 if absent.",
    )
    score: FeatureScore | None = Field(
        default=None,
        description="SelectKBest, SelectPercentile: the score; f_classif, or in regression f_regression, if absent.",
    )


class Reduction(Strict):
    """Fewer features, made of all: principal components, learned from the training split."""

    method: Literal["PCA"] = Field(description="Method, by its name in scikit-learn.")
    components: int = Field(ge=1, le=100_000, description="Number of components to keep.")


class Preprocessing(Strict):
    """What is done to the data, the same for every entry."""

    normalize: bool = Field(
        default=True,
        description="Whether to normalise each channel or column by statistics of the training split.",
    )
    scaling: Literal["StandardScaler", "MinMaxScaler"] | None = Field(
        default=None,
        exclude_if=absent,
        description="Sequences, tables: how to normalise; by mean and deviation (StandardScaler) if absent.",
    )
    imputation: Literal["mean", "median", "most_frequent"] | None = Field(
        default=None,
        exclude_if=absent,
        description="Tables: what stands for a missing number, from the training split; mean if absent.",
    )
    encoding: Literal["OneHotEncoder", "OrdinalEncoder"] | None = Field(
        default=None,
        exclude_if=absent,
        description="Tables: how categories become features; OneHotEncoder if absent.",
    )
    augmentations: tuple[Augmentation, ...] = Field(
        default=(), max_length=16, description="Random changes of the training images, in this order."
    )
    feature_selection: FeatureSelection | None = Field(
        default=None, description="Feature selection; null keeps all features."
    )
    reduction: Reduction | None = Field(
        default=None, exclude_if=absent, description="Tables: principal components instead of the features."
    )


class Target(Strict):
    """A quality to reach; the training time until then is measured, on the validation split after each epoch."""

    metric: MetricName = Field(description="A metric that is measured each epoch.")
    value: Finite = Field(ge=-1e6, le=1e6, description="The value to reach, in the metric's good direction.")


class Budget(Strict):
    """How long every entry may train."""

    max_epochs: int = Field(
        default=10, ge=1, le=100_000, description="Largest number of passes over the training split."
    )
    max_seconds: Finite | None = Field(
        default=None, gt=0, le=31_536_000, description="Largest training time in seconds; null: no limit."
    )
    target: Target | None = Field(
        default=None, description="A target: records the training time until it is reached, and does not stop training."
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
        default=1.0, gt=0, le=3600, description="Shortest time to measure each batch size, in seconds."
    )
    measure: Literal["asked", "always"] | None = Field(
        default=None,
        description="When inference is timed: asked (an objective ranks such a time) or always; asked if absent.",
    )


class Evaluation(Strict):
    """What is measured on the test split, once, after training."""

    metrics: tuple[MetricName, ...] = Field(
        default=TASKS[DEFAULT].metrics,
        min_length=1,
        max_length=MOST_METRICS,
        description="Quality metrics to measure beside those of the objectives; in regression rmse, mae, r2 if absent.",
    )
    inference: Inference = Field(default=Inference(), description="How inference is timed.")
    price_per_hour: Finite | None = Field(
        default=None,
        gt=0,
        le=1e9,
        description="Price of an hour of what a trial gets of the machine, in any currency; the metric cost needs it.",
    )
    on_interference: Literal["record", "fail"] | None = Field(
        default=None,
        description="If other programs disturb a trial's measuring: record (its record says so) or fail (the trial "
        "fails); record if absent.",
    )

"""The conditions that results depend on beside the data: preprocessing, budget and evaluation, for every entry."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from velodrome.metrics.catalogue import CATALOGUE
from velodrome.spec.base import Strict, absent
from velodrome.spec.types import Finite, Fraction, MetricName
from velodrome.tasks import DEFAULT, TASKS
from velodrome.vocabulary import (
    LENGTH,
    MOST_VOCABULARY,
    MOST_WORDS,
    RAND_BINS,
    RAND_MAGNITUDE,
    VOCABULARY,
    AugmentationName,
    FeatureScore,
    FeatureSelectionMethod,
    Keeping,
)

# Those of the catalogue, and those that a job declares.
MOST_DECLARED = 16
MOST_METRICS = len(CATALOGUE) + MOST_DECLARED
Factor = Annotated[Finite, Field(ge=0, le=100)]
AspectRatio = Annotated[Finite, Field(gt=0, le=100)]


class AugmentationArgs(Strict):
    """Arguments of the augmentations, as in torchvision.transforms.v2; each augmentation has its own."""

    size: int | None = Field(
        default=None,
        ge=1,
        le=4096,
        description="RandomCrop, RandomResizedCrop: side of the crop, in pixels; the image's own side if absent.",
    )
    padding: int | None = Field(
        default=None, ge=0, le=1024, description="RandomCrop: zero padding on each side, in pixels; 0 if absent."
    )
    p: Fraction | None = Field(
        default=None,
        description="Probability that an image changes: 0.5 if absent, and 0.1 in RandomGrayscale.",
    )
    degrees: Finite | None = Field(
        default=None,
        ge=0,
        le=180,
        description="RandomRotation, RandomAffine: largest angle in both directions, in degrees; 15 if absent, and no "
        "rotation in RandomAffine.",
    )
    translate: tuple[Fraction, Fraction] | None = Field(
        default=None,
        exclude_if=absent,
        description="RandomAffine: largest shifts along x and y, as shares of the image's sides; [0, 0] if absent.",
    )
    shear: Finite | None = Field(
        default=None,
        exclude_if=absent,
        ge=0,
        lt=90,
        description="RandomAffine: largest shear along x in both directions, in degrees; 0 if absent.",
    )
    distortion_scale: Fraction | None = Field(
        default=None,
        exclude_if=absent,
        description="RandomPerspective: how far corners move, as a share of half the image; 0.5 if absent.",
    )
    brightness: Fraction | None = Field(default=None, description="ColorJitter: largest relative change, 0 if absent.")
    contrast: Fraction | None = Field(default=None, description="ColorJitter: largest relative change, 0 if absent.")
    saturation: Fraction | None = Field(default=None, description="ColorJitter: largest relative change, 0 if absent.")
    hue: Finite | None = Field(
        default=None, ge=0, le=0.5, description="ColorJitter: largest change of hue, in turns, 0 if absent."
    )
    scale: tuple[Factor, Factor] | None = Field(
        default=None,
        description="Low to high: share of the area in RandomErasing ([0.02, 0.33]) and RandomResizedCrop ([0.08, 1]), "
        "factor in RandomAffine.",
    )
    ratio: tuple[AspectRatio, AspectRatio] | None = Field(
        default=None,
        description="Low to high: RandomErasing's height over width ([0.3, 3.3]), or RandomResizedCrop's width over "
        "height ([3/4, 4/3]).",
    )
    bits: int | None = Field(
        default=None, exclude_if=absent, ge=0, le=8, description="RandomPosterize: bits to keep of each value."
    )
    threshold: Fraction | None = Field(
        default=None,
        exclude_if=absent,
        description="RandomSolarize: values from here on are inverted; 0 is black and 1 white.",
    )
    sharpness_factor: Finite | None = Field(
        default=None,
        exclude_if=absent,
        ge=0,
        le=100,
        description="RandomAdjustSharpness: 0 blurs, 1 changes nothing, 2 doubles the sharpness.",
    )
    kernel_size: int | None = Field(
        default=None, exclude_if=absent, ge=1, le=255, description="GaussianBlur: side of the kernel, an odd number."
    )
    sigma: Finite | None = Field(
        default=None,
        exclude_if=absent,
        gt=0,
        le=100,
        description="Deviation: GaussianBlur's in pixels, 0.1 to 2 at random if absent; GaussianNoise's as a share of "
        "white, 0.1 if absent.",
    )
    mean: Finite | None = Field(
        default=None, exclude_if=absent, ge=-1, le=1, description="GaussianNoise: mean of the noise, 0 if absent."
    )
    clip: bool | None = Field(
        default=None,
        exclude_if=absent,
        description="GaussianNoise: whether values stay between black and white, true if absent.",
    )
    bins: int | None = Field(
        default=None, ge=2, le=1000, description="TrivialAugment: number of magnitude bins, 31 if absent."
    )
    num_ops: int | None = Field(
        default=None, exclude_if=absent, ge=1, le=16, description="RandAugment: operations for each image, 2 if absent."
    )
    magnitude: int | None = Field(
        default=None,
        exclude_if=absent,
        ge=0,
        le=999,
        description=f"RandAugment: strength of the operations, less than numMagnitudeBins; {RAND_MAGNITUDE} if absent.",
    )
    num_magnitude_bins: int | None = Field(
        default=None,
        exclude_if=absent,
        ge=2,
        le=1000,
        description=f"RandAugment: number of different strengths, {RAND_BINS} if absent.",
    )
    policy: Literal["imagenet", "cifar10", "svhn"] | None = Field(
        default=None,
        exclude_if=absent,
        description="AutoAugment: the data set that the operations were learned on; imagenet if absent.",
    )
    severity: int | None = Field(
        default=None, exclude_if=absent, ge=1, le=10, description="AugMix: strength of the operations, 3 if absent."
    )
    mixture_width: int | None = Field(
        default=None, exclude_if=absent, ge=1, le=16, description="AugMix: number of chains, 3 if absent."
    )
    chain_depth: int | None = Field(
        default=None,
        exclude_if=absent,
        ge=1,
        le=16,
        description="AugMix: operations of each chain; 1 to 3 at random if absent.",
    )
    alpha: Finite | None = Field(
        default=None,
        exclude_if=absent,
        ge=0.01,
        le=100,
        description="MixUp, CutMix, AugMix: parameter of the distribution of the shares; 1, all as likely, if absent.",
    )
    all_ops: bool | None = Field(
        default=None,
        exclude_if=absent,
        description="AugMix: whether brightness, contrast, colour and sharpness change too, true if absent.",
    )


class Augmentation(Strict):
    """One random change of the training images; validation and test images are never augmented."""

    name: AugmentationName = Field(
        description="Name in torchvision.transforms.v2, where TrivialAugment is TrivialAugmentWide; MixUp and CutMix "
        "come last."
    )
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


class LogMel(Strict):
    """The logarithm of the energies of a sound in bands of frequencies, window by window; bands are steps of pitch."""

    bins: int = Field(ge=1, le=512, description="Number of bands, of equal width in HTK's mels, up to half the rate.")
    window_seconds: Finite = Field(
        default=0.025, gt=0, le=10, description="How long a window is whose frequencies are told apart."
    )
    hop_seconds: Finite = Field(
        default=0.01, gt=0, le=10, description="How long after the beginning of a window the next one begins."
    )


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
    log_mel: LogMel | None = Field(
        default=None,
        exclude_if=absent,
        description="SpeechCommands: energies of bands of frequencies instead of the waveform, before normalisation.",
    )
    vocabulary: int | None = Field(
        default=None,
        exclude_if=absent,
        ge=2,
        le=MOST_VOCABULARY,
        description="Documents: number of words that a model tells apart, the most frequent of the training split; "
        f"{VOCABULARY:,} if absent.",
    )
    max_length: int | None = Field(
        default=None,
        exclude_if=absent,
        ge=1,
        le=MOST_WORDS,
        description=f"Documents: how many words of a text are read, from its beginning; {LENGTH} if absent.",
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
    max_steps: int | None = Field(
        default=None,
        exclude_if=absent,
        ge=1,
        le=1_000_000_000,
        description="Largest number of steps of the optimizer; no limit if absent.",
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


class Serving(Strict):
    """Queries of one sample each that arrive at random, at a declared rate, whether or not the model is free."""

    arrival_rate: Finite = Field(ge=0.01, le=100_000, description="Mean number of queries that arrive in a second.")
    queries: int = Field(
        default=1000,
        ge=1,
        le=10_000_000,
        description="Number of queries; a 99th percentile needs 662 or more, a 90th 64 or more.",
    )
    max_batch_size: int = Field(
        default=1, ge=1, le=1024, description="Largest number of waiting queries that are answered in one batch."
    )


class Offline(Strict):
    """All samples are there at once: the batch size of the highest throughput is looked for."""

    max_batch_size: int = Field(
        default=256, ge=1, le=65536, description="Largest batch size to try; smaller ones are powers of two."
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
    serving: Serving | None = Field(
        default=None, exclude_if=absent, description="How latency as served is measured; not at all if absent."
    )
    offline: Offline | None = Field(
        default=None, exclude_if=absent, description="How the highest throughput is looked for; not at all if absent."
    )
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
    keep_samples: Keeping | None = Field(
        default=None,
        exclude_if=absent,
        description="What to keep of each test sample: none, correct or losses (in regression: errors) too; if absent, "
        "correct in classification.",
    )

"""The BenchmarkJob v1alpha1, strict and frozen.

Everything outside `entries` is a condition that all entries share. The description of each field is its text in
`kubectl explain`, in the reference page and in error messages, so each is one sentence. Field names in YAML are
camelCase; `None` as a value means what the field's description says, never "unset by accident".

Nothing here reads files or imports more than pydantic; rules that span fields live in `velodrome.spec.rules`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from velodrome import keys
from velodrome.metrics import CATALOGUE
from velodrome.spec.types import EntryName, Finite, Image, JsonObject, MetricName, ModelName, Name, Quantity, partial
from velodrome.vocabulary import (
    AugmentationName,
    DatasetName,
    FeatureSelectionMethod,
    OptimizerName,
    Precision,
    ScheduleName,
)


class Strict(BaseModel):
    """Frozen; unknown fields are refused; NaN and infinities are no numbers."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        allow_inf_nan=False,
    )


class ObjectMeta(Strict):
    """The part of Kubernetes' ObjectMeta that Velodrome reads; the rest is let through."""

    model_config = ConfigDict(extra="ignore")

    name: Name = Field(description="Name of the job, a DNS label.")
    namespace: Name | None = Field(default=None, description="Namespace; a run on one machine uses `default`.")
    labels: Mapping[str, str] = Field(default={}, description="Labels; those of Kueue are copied to the Jobs.")
    annotations: Mapping[str, str] = Field(default={}, description="Annotations, free for people and tools.")
    uid: str | None = Field(default=None, description="Set by the API server.")


class Objective(Strict):
    """One thing to be best at: one ranking of the leaderboard."""

    name: Name = Field(description="What the objective is called on the leaderboard, unique in the job.")
    metric: MetricName = Field(description="Metric of the catalogue; its direction and unit come from there.")
    batch_size: int | None = Field(
        default=None, ge=1, le=65536, description="Batch size at which latency or inference throughput is ranked."
    )
    average: Literal["macro", "micro", "weighted"] | None = Field(
        default=None, description="How precision, recall and f1 are averaged over classes: macro where absent."
    )
    label: int | None = Field(
        default=None, ge=0, le=999_999, description="Rank one class's precision, recall or f1, by index."
    )


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
        pattern=r"^sha256:[a-f0-9]{64}$",
        description="Pin: a trial whose data has another digest fails; what was read is always digested and recorded.",
    )
    validation_fraction: Finite = Field(
        default=0.1,
        gt=0,
        le=0.5,
        description="Share of the training split that is held out for early stopping and targets.",
    )


class AugmentationArgs(Strict):
    """Arguments of the augmentations; each takes its own."""

    size: int | None = Field(
        default=None, ge=1, le=4096, description="RandomCrop: side of the crop; the image's own if absent."
    )
    padding: int | None = Field(
        default=None, ge=0, le=1024, description="RandomCrop: zero padding on each side, 0 if absent."
    )
    p: Finite | None = Field(
        default=None, ge=0, le=1, description="RandomHorizontalFlip, RandomErasing: probability, 0.5."
    )
    degrees: Finite | None = Field(
        default=None, gt=0, le=180, description="RandomRotation: largest angle either way, 15."
    )
    brightness: Finite | None = Field(default=None, ge=0, le=1, description="ColorJitter: largest relative change, 0.")
    contrast: Finite | None = Field(default=None, ge=0, le=1, description="ColorJitter: largest relative change, 0.")
    saturation: Finite | None = Field(default=None, ge=0, le=1, description="ColorJitter: largest relative change, 0.")
    hue: Finite | None = Field(
        default=None, ge=0, le=0.5, description="ColorJitter: largest change of hue, in turns, 0."
    )
    scale: tuple[Finite, Finite] | None = Field(
        default=None, description="RandomErasing: erased share of the area, low to high."
    )
    ratio: tuple[Finite, Finite] | None = Field(default=None, description="RandomErasing: aspect ratio, low to high.")
    bins: int | None = Field(default=None, ge=2, le=1000, description="TrivialAugment: number of magnitude bins, 31.")


class Augmentation(Strict):
    """One random change of the training images; validation and test images are never augmented."""

    name: AugmentationName = Field(description="Name of the augmentation, as torchvision.transforms calls it.")
    args: AugmentationArgs = Field(default=AugmentationArgs(), description="Its arguments.")


class FeatureSelection(Strict):
    """Which input features are kept, learned from the training split; the others are set to 0 in every split."""

    method: FeatureSelectionMethod = Field(description="Method, as scikit-learn names it.")
    k: int | None = Field(default=None, ge=1, description="SelectKBest: how many features are kept.")
    percentile: int | None = Field(default=None, ge=1, le=100, description="SelectPercentile: percentage that is kept.")
    threshold: Finite | None = Field(
        default=None, ge=0, description="VarianceThreshold: features of no more variance go, 0."
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
    value: Finite = Field(description="The value to reach, in the metric's good direction.")


class Budget(Strict):
    """How long every entry may train."""

    max_epochs: int = Field(default=10, ge=1, le=100_000, description="Most passes over the training split.")
    max_seconds: Finite | None = Field(
        default=None, gt=0, le=31_536_000, description="Most seconds of training; null: no limit."
    )
    target: Target | None = Field(
        default=None, description="Records the training time until it is reached; does not stop."
    )


class Optimizer(Strict):
    """How weights are updated."""

    name: OptimizerName = Field(default="SGD", description="Optimizer, as torch.optim names it.")
    learning_rate: Finite = Field(
        default=0.05, gt=0, le=1000, description="Learning rate; the peak of a schedule that has one."
    )
    momentum: Finite | None = Field(default=None, ge=0, lt=1, description="SGD: momentum, 0 if absent.")
    nesterov: bool | None = Field(default=None, description="SGD: Nesterov's momentum, false if absent.")
    betas: tuple[Annotated[Finite, Field(ge=0, lt=1)], Annotated[Finite, Field(ge=0, lt=1)]] | None = Field(
        default=None, description="Adam, AdamW: decay of the two moments, [0.9, 0.999] if absent."
    )
    eps: Finite | None = Field(
        default=None, gt=0, le=1, description="Adam, AdamW: added to the denominator, 1e-8 if absent."
    )


class Schedule(Strict):
    """How the learning rate changes over the budget's epochs."""

    name: ScheduleName = Field(default="Constant", description="Constant, Step, Cosine or OneCycle.")
    step_epochs: int | None = Field(
        default=None, ge=1, description="Step: epochs between two drops, a third of maxEpochs."
    )
    gamma: Finite | None = Field(default=None, gt=0, le=1, description="Step: factor of each drop, 0.1 if absent.")
    final_factor: Finite | None = Field(
        default=None, ge=0, le=1, description="Cosine: last over first learning rate, 0."
    )
    warmup_fraction: Finite | None = Field(
        default=None, gt=0, lt=1, description="OneCycle: share of steps that rise, 0.3."
    )


class Regularization(Strict):
    """What keeps a model from learning its training data by heart."""

    l1: Finite = Field(default=0.0, ge=0, le=10, description="Weight of the sum of absolute weights in the loss.")
    l2: Finite = Field(
        default=0.0, ge=0, le=10, description="Weight decay: coupled in SGD and Adam, decoupled in AdamW."
    )
    dropout: Finite = Field(
        default=0.0, ge=0, lt=1, description="Probability of dropping a unit, where the model has dropout."
    )
    label_smoothing: Finite = Field(default=0.0, ge=0, lt=1, description="Share of the target spread over all classes.")


class EarlyStopping(Strict):
    """Stop when the validation split says that more training does not help; the best epoch's weights are kept."""

    metric: MetricName = Field(default="validation_loss", description="A metric that is measured each epoch.")
    patience: int = Field(default=3, ge=1, le=100_000, description="Epochs without improvement before it stops.")
    min_delta: Finite = Field(default=0.0, ge=0, description="Smallest change that counts as improvement.")


class Training(Strict):
    """How an entry learns; the job's value is the default, and an entry may override any part."""

    batch_size: int = Field(default=128, ge=1, le=65536, description="Samples in one training step.")
    optimizer: Optimizer = Field(default=Optimizer(), description="How weights are updated.")
    schedule: Schedule = Field(default=Schedule(), description="How the learning rate changes.")
    regularization: Regularization = Field(default=Regularization(), description="What works against overfitting.")
    early_stopping: EarlyStopping | None = Field(
        default=None, description="When to stop before the budget; null: never."
    )
    precision: Precision = Field(
        default="float32", description="float32, or mixed precision where the hardware has it."
    )
    deterministic: bool = Field(
        default=False, description="Whether torch must use deterministic algorithms, slower or not."
    )


if TYPE_CHECKING:

    class TrainingOverride(BaseModel):
        """Parts of Training: which ones, `model_fields_set` says."""
else:
    TrainingOverride = partial(Training)


class Model(Strict):
    """A model by name."""

    name: ModelName = Field(description="velodrome/NAME, torchvision/NAME, or package.module:factory.")
    args: JsonObject = Field(default={}, description="Arguments of the model's constructor.")


class Entry(Strict):
    """One rider: what is allowed to differ from the others, and nothing else."""

    name: EntryName = Field(description="Name on the leaderboard, unique in the job.")
    model: Model | None = Field(
        default=None, description="The model to train; leave it out where `command` brings its own."
    )
    training: TrainingOverride | None = Field(
        default=None, description="Overrides parts of spec.training for this entry."
    )
    image: Image | None = Field(default=None, description="This entry's own image, pinned by digest.")
    command: tuple[str, ...] | None = Field(
        default=None, min_length=1, max_length=256, description="Your own training program, run instead of Velodrome's."
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


class Trials(Strict):
    """How often each entry races."""

    repeats: int = Field(default=5, ge=1, le=10_000, description="Trials of each entry, each with its own seed.")
    base_seed: int = Field(
        default=0, ge=0, le=2**31 - 1, description="Seed of repeat 0; repeat r has baseSeed + r, for all."
    )
    max_failed: int = Field(default=0, ge=0, le=100_000, description="Failed trials that the job as a whole can bear.")


class Resources(Strict):
    """Kubernetes resource requirements of a runner pod."""

    requests: Mapping[str, Quantity] = Field(default={}, description="Requested amounts by resource name.")
    limits: Mapping[str, Quantity] = Field(default={}, description="Limits by resource name.")


class LocalObjectReference(Strict):
    """A Secret of the same namespace, by name."""

    name: Name = Field(description="Name of the Secret.")


class EnvVar(Strict):
    """An environment variable of the runner."""

    name: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=256, description="Name of the variable.")
    value: str = Field(default="", max_length=32768, description="Its value.")


class Runner(Strict):
    """The pods that trials run in, the same for every entry; a run on one machine ignores this part."""

    image: Image | None = Field(
        default=None, description="Image, pinned by digest; the operator's own runner image if absent."
    )
    resources: Resources = Field(default=Resources(), description="Resource requests and limits of each pod.")
    node_selector: Mapping[str, str] = Field(default={}, description="Labels that a node must have.")
    tolerations: tuple[JsonObject, ...] = Field(default=(), description="Kubernetes tolerations.")
    affinity: JsonObject | None = Field(default=None, description="Kubernetes affinity.")
    priority_class_name: str | None = Field(default=None, max_length=253, description="Kubernetes priority class.")
    runtime_class_name: str | None = Field(default=None, max_length=253, description="Kubernetes runtime class.")
    image_pull_secrets: tuple[LocalObjectReference, ...] = Field(default=(), description="Secrets for pulling images.")
    env: tuple[EnvVar, ...] = Field(
        default=(), max_length=256, description="Environment variables, the same for every entry."
    )
    nodes: int = Field(default=1, ge=1, le=1024, description="Pods that train one model together.")


class Execution(Strict):
    """How trials are spread over time and nodes."""

    parallelism: int = Field(default=1, ge=1, le=10_000, description="Trials that run at once.")
    isolation: Literal["Node", "None"] = Field(
        default="Node", description="Node: never two trials on one node at once."
    )
    startup_deadline_seconds: int = Field(
        default=900, ge=1, le=604_800, description="A pod that has not started by then fails."
    )
    trial_deadline_seconds: int = Field(default=7200, ge=1, le=2_592_000, description="A trial that runs longer fails.")


class Regression(Strict):
    """When a change for the worse is called a regression."""

    alpha: Finite = Field(default=0.01, gt=0, lt=0.5, description="Significance level.")
    min_relative_change: Finite = Field(default=0.02, ge=0, le=10, description="Smallest relative change that matters.")
    min_samples: int = Field(default=3, ge=2, le=10_000, description="Fewest samples on each side.")
    baseline: str | None = Field(
        default=None, max_length=253, description="A pinned result to compare with; null: the last one."
    )


class BenchmarkJobSpec(Strict):
    """What races, under which conditions."""

    board: Name | None = Field(
        default=None, description="Leaderboard that results go to: the data set's name if absent."
    )
    objectives: tuple[Objective, ...] = Field(
        default=(Objective(name="accuracy", metric="accuracy"),),
        min_length=1,
        max_length=16,
        description="What to be best at: one ranking each.",
    )
    dataset: Dataset = Field(description="The data.")
    preprocessing: Preprocessing = Field(default=Preprocessing(), description="What is done to the data.")
    budget: Budget = Field(default=Budget(), description="How long every entry may train.")
    training: Training = Field(default=Training(), description="Defaults that an entry may override.")
    evaluation: Evaluation = Field(default=Evaluation(), description="What is measured after training.")
    entries: tuple[Entry, ...] = Field(min_length=1, max_length=1000, description="The riders.")
    trials: Trials = Field(default=Trials(), description="How often each entry races.")
    runner: Runner = Field(default=Runner(), description="The pods that trials run in.")
    execution: Execution = Field(default=Execution(), description="How trials are spread over time and nodes.")
    suspend: bool = Field(default=False, description="Holds trials back, and stops running ones, while true.")
    ttl_seconds_after_finished: int | None = Field(
        default=None, ge=0, le=31_536_000, description="Deletes the objects this long after the end, never the results."
    )
    regression: Regression = Field(
        default=Regression(), description="When a change for the worse is called a regression."
    )


class BenchmarkJob(Strict):
    """A race: entries, the conditions that they share, and the objectives that they are ranked by."""

    api_version: Literal["velodrome.dev/v1alpha1"] = Field(description=f"Always {keys.API_VERSION}.")
    kind: Literal["BenchmarkJob"] = Field(description=f"Always {keys.KIND}.")
    metadata: ObjectMeta = Field(description="Standard metadata of a Kubernetes object.")
    spec: BenchmarkJobSpec = Field(description="What races, under which conditions.")
    status: JsonObject | None = Field(default=None, exclude=True, description="Written by the operator; not read here.")

    @model_validator(mode="after")
    def _rules(self) -> BenchmarkJob:
        """Holds objects made in Python to the rules that files are held to."""
        from velodrome.spec.rules import broken_rules

        problems = broken_rules(self.model_dump(mode="json"))
        if problems:
            raise ValueError("; ".join(f"{problem.path}: {problem.message}" for problem in problems))
        return self

    @property
    def board(self) -> str:
        """The leaderboard that results go to."""
        return self.spec.board or self.spec.dataset.name.lower()

    @property
    def namespace(self) -> str:
        """The namespace, `default` where none is written."""
        return self.metadata.namespace or "default"

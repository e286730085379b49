"""What a trial reports, what is recorded, and which records may be compared. Pure.

Records carry a schema version. A record of an older version is brought up to date by `parse_record`; one of a newer
version is refused, never guessed at.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator
from pydantic_core import from_json

from velodrome.canonical import digest
from velodrome.errors import SchemaUnsupported
from velodrome.keys import SCHEMA_VERSION
from velodrome.metrics import Metric, MetricKey
from velodrome.plan import TrialConfig

# Changes when a metric's definition changes, so that old and new values are not ranked together.
EVALUATION_PROTOCOL = 1
LOG_TAIL_LIMIT = 16 * 1024

Outcome = Literal["Succeeded", "Failed"]
Phase = Literal["Starting", "Loading", "Training", "Evaluating", "Timing", "Finished"]


class Data(BaseModel):
    """Frozen; unknown fields are dropped, so that an older reader copes with what a newer writer adds."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Hardware(Data):
    """The machine as the runner saw it."""

    cpu_model: str
    cpu_count: int = Field(ge=1)
    accelerator: str | None = None
    accelerator_memory_bytes: int | None = None
    driver: str | None = None


class Software(Data):
    """Versions of everything that a measurement depends on."""

    velodrome: str
    python: str
    framework: str = Field(description="Name and version, such as `torch 2.15.0`.")
    libraries: Mapping[str, str] = {}
    cuda: str | None = None
    cudnn: str | None = None
    image: str | None = None


class GrantedResources(Data):
    """What this trial was given of the machine."""

    cpus: float = Field(gt=0, description="Threads that torch computes with.")
    memory_limit_bytes: int | None = None
    accelerators: int = 0
    concurrent_trials: int = Field(default=1, ge=1, description="Trials that shared the machine, this one included.")
    nodes: int = 1


class Environment(Data):
    """The fingerprint of where a trial ran."""

    hardware: Hardware
    software: Software
    resources: GrantedResources
    precision: str = "float32"
    deterministic: bool = False


class DatasetFacts(Data):
    """The data as they were read."""

    name: str
    digest: str = Field(pattern=r"^sha256:[a-f0-9]{64}$")
    train_samples: int
    validation_samples: int
    test_samples: int
    shape: tuple[int, ...] = Field(description="Of one sample, channels first.")
    classes: tuple[str, ...]


class EpochPoint(Data):
    """One epoch of one trial's curves. `seconds` is training time since its start, without evaluation."""

    epoch: int = Field(ge=1)
    seconds: float
    train_loss: float
    learning_rate: float
    samples_per_second: float
    validation: Mapping[str, float] = Field(description="By metric name, such as `validation_loss` and `accuracy`.")


class TrialResult(Data):
    """The one final report of a trial, as the runner makes it.

    `metrics` is by key (`velodrome.metrics`), every value finite; `unavailable` says why a metric that might have been
    expected is not there; `curves` has a point for each epoch; times are UTC.
    """

    schema_version: int = SCHEMA_VERSION
    job_uid: str
    index: int = Field(ge=0)
    entry: str
    repeat: int = Field(ge=0)
    seed: int = Field(ge=0)
    trial_id: str
    attempt: str = Field(description="Unique for each process that tried this trial.")
    outcome: Outcome
    reason: str | None = Field(
        default=None, pattern=r"^[A-Z][A-Za-z]*$", description="CamelCase; why it failed, or None."
    )
    message: str | None = None
    log_tail: str | None = Field(default=None, max_length=2 * LOG_TAIL_LIMIT)
    metrics: Mapping[str, float] = {}
    unavailable: Mapping[str, str] = {}
    curves: tuple[EpochPoint, ...] = ()
    dataset: DatasetFacts | None = None
    environment: Environment | None = None
    epochs: int | None = None
    best_epoch: int | None = None
    stopped_by: Literal["maxEpochs", "maxSeconds", "earlyStopping"] | None = None
    started_at: AwareDatetime
    finished_at: AwareDatetime

    @field_validator("metrics")
    @classmethod
    def _known_and_finite(cls, metrics: Mapping[str, float]) -> Mapping[str, float]:
        for key, value in metrics.items():
            MetricKey.parse(key)
            if not math.isfinite(value):
                raise ValueError(f"{key} is {value}, which is no measurement")
        return metrics

    @property
    def content(self) -> str:
        """A digest of what was measured: two copies of one report agree in it, two different results do not."""
        return digest(self.model_dump(mode="json", exclude={"schema_version"}), 32)


class Progress(Data):
    """Where a running trial stands. Sent often; only the newest matters."""

    job_uid: str
    index: int = Field(ge=0)
    attempt: str
    phase: Phase
    epoch: int = 0
    epochs: int = 0
    fraction: float = Field(default=0.0, ge=0, le=1, description="Share of the trial's training that is done.")
    loss: float | None = None
    samples_per_second: float | None = None
    at: AwareDatetime
    point: EpochPoint | None = Field(default=None, description="The epoch that just ended, for live curves.")


class ProgressReport(Data):
    """An inbox entry that tells of progress."""

    type: Literal["progress"] = "progress"
    progress: Progress


class ResultReport(Data):
    """An inbox entry that carries a trial's one result."""

    type: Literal["result"] = "result"
    result: TrialResult


Report = Annotated[ProgressReport | ResultReport, Field(discriminator="type")]
REPORT: TypeAdapter[ProgressReport | ResultReport] = TypeAdapter(Report)


class Observed(Data):
    """What the collector saw itself of the process or pod that ran the trial."""

    executor: Literal["local", "kubernetes"]
    node: str | None = None
    pod: str | None = None
    image_id: str | None = None
    queued_seconds: float | None = None
    run_seconds: float | None = None
    retries: int = 0


class JobInfo(Data):
    """The job as results remember it, after the object is gone. `spec` is the canonical BenchmarkJob."""

    schema_version: int = SCHEMA_VERSION
    uid: str
    name: str
    namespace: str
    board: str
    created_at: AwareDatetime
    trials: int
    repeats: int
    entries: tuple[str, ...]
    document: Mapping[str, Any] = Field(description="The BenchmarkJob, to run it again.")


class TrialRecord(Data):
    """An accepted result: what the runner said, what the collector saw, and the configuration that was planned."""

    schema_version: int = SCHEMA_VERSION
    result: TrialResult
    config: TrialConfig
    observed: Observed
    accepted_at: AwareDatetime

    def cohort(self, key: MetricKey) -> Cohort | None:
        """Where this record's value of `key` may be ranked; None where the conditions were not observed."""
        return cohort(key.metric, self)


@dataclass(frozen=True, slots=True)
class Cohort:
    """Everything that values of a metric must agree on to be ranked together.

    `conditions` is what was observed; `id` its digest. `words` is for people, the shortest text that says it.
    """

    id: str
    conditions: Mapping[str, Any]

    @property
    def words(self) -> str:
        """The conditions in one line, for people."""
        return " · ".join(_WORDS[name](facts) for name, facts in self.conditions.items() if name in _WORDS)


def cohort(metric: Metric, record: TrialRecord) -> Cohort | None:
    """The cohort of a metric's value in a record, from what the runner observed; None if it observed too little.

    A budget in seconds makes quality depend on speed: then hardware, software and resources belong to every cohort.
    """
    dataset, environment = record.result.dataset, record.result.environment
    if dataset is None or environment is None:
        return None
    config = record.config
    names = list(metric.depends_on)
    if config.budget.max_seconds is not None and "budget" in names:
        names += [name for name in ("hardware", "software", "resources") if name not in names]
    conditions = {name: _FACTS[name](config, dataset, environment, metric) for name in names}
    return Cohort(digest(conditions), conditions)


def _evaluation_facts(config: TrialConfig, metric: Metric) -> dict[str, Any]:
    facts: dict[str, Any] = {"protocol": EVALUATION_PROTOCOL}
    if "batch_size" in metric.parameters:
        facts["minRunSeconds"] = config.evaluation.inference.min_run_seconds
    return facts


def _dataset_facts(config: TrialConfig, dataset: DatasetFacts) -> dict[str, Any]:
    return {
        "name": dataset.name,
        "digest": dataset.digest,
        "validationFraction": config.dataset.validation_fraction,
        "samples": [dataset.train_samples, dataset.validation_samples, dataset.test_samples],
    }


_FACTS: Mapping[str, Callable[[TrialConfig, DatasetFacts, Environment, Metric], Any]] = {
    "dataset": lambda config, dataset, _, __: _dataset_facts(config, dataset),
    "preprocessing": lambda config, *_: config.preprocessing.model_dump(mode="json", by_alias=True, exclude_none=True),
    "evaluation": lambda config, _, __, metric: _evaluation_facts(config, metric),
    "budget": lambda config, *_: config.budget.model_dump(mode="json", by_alias=True, exclude_none=True),
    "hardware": lambda _, __, environment, ___: environment.hardware.model_dump(mode="json"),
    "software": lambda _, __, environment, ___: environment.software.model_dump(mode="json"),
    "resources": lambda _, __, environment, ___: environment.resources.model_dump(mode="json"),
}


def _dataset_words(facts: Mapping[str, Any]) -> str:
    return f"{facts['name']} {facts['digest'].removeprefix('sha256:')[:8]}"


def _preprocessing_words(facts: Mapping[str, Any]) -> str:
    parts = ["normalised" if facts["normalize"] else "not normalised"]
    parts += [augmentation["name"] for augmentation in facts.get("augmentations", ())]
    if "featureSelection" in facts:
        parts.append(facts["featureSelection"]["method"])
    return ", ".join(parts)


def _budget_words(facts: Mapping[str, Any]) -> str:
    epochs = facts["maxEpochs"]
    seconds = f", ≤ {facts['maxSeconds']:g} s" if "maxSeconds" in facts else ""
    return f"≤ {epochs} epoch{'' if epochs == 1 else 's'}{seconds}"


def _hardware_words(facts: Mapping[str, Any]) -> str:
    return str(facts["accelerator"] or facts["cpu_model"])


def _software_words(facts: Mapping[str, Any]) -> str:
    return str(facts["framework"])


def _resources_words(facts: Mapping[str, Any]) -> str:
    parts = [f"{facts['cpus']:g} CPU{'' if facts['cpus'] == 1 else 's'}"]
    if facts["accelerators"]:
        parts.append(f"{facts['accelerators']} GPU{'' if facts['accelerators'] == 1 else 's'}")
    if facts["concurrent_trials"] > 1:
        parts.append(f"{facts['concurrent_trials']} trials at once")
    return ", ".join(parts)


_WORDS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "dataset": _dataset_words,
    "preprocessing": _preprocessing_words,
    "budget": _budget_words,
    "hardware": _hardware_words,
    "software": _software_words,
    "resources": _resources_words,
}


def parse_record(text: str | bytes) -> TrialRecord:
    """A record from its JSON, brought up to the present schema.

    Raises:
        SchemaUnsupported: it was written by a newer Velodrome.
        ValueError: it is no record.
    """
    try:
        document = from_json(text)
    except ValueError as error:
        raise ValueError(f"the record is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise ValueError("the record is not a JSON object")  # noqa: TRY004 - what is wrong is the text
    version = document.get("schema_version")
    if not isinstance(version, int) or version < 1:
        raise ValueError(f"the record has no schema_version that is a number from 1 on, but {version!r}")
    if version > SCHEMA_VERSION:
        raise SchemaUnsupported(
            f"the record has schema version {version}, this Velodrome reads up to {SCHEMA_VERSION}: update it"
        )
    for step in range(version, SCHEMA_VERSION):
        document = MIGRATIONS[step](document)
    try:
        return TrialRecord.model_validate(document)
    except ValidationError as error:
        raise ValueError(f"the record is not valid: {error.errors()[0]['loc']}: {error.errors()[0]['msg']}") from error


# Version n's step turns a document of version n into one of n + 1.
MIGRATIONS: Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}


def utc(seconds: float) -> datetime:
    """A POSIX time in seconds as an aware datetime."""
    from datetime import UTC

    return datetime.fromtimestamp(seconds, UTC)

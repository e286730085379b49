"""What a trial reports, and what is recorded of it. Pure.

Records have a schema version. `parse_record` updates a record of an older version, and refuses a record of a newer
version.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AwareDatetime,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError, from_json

from velodrome.errors import SchemaUnsupported
from velodrome.keys import SCHEMA_VERSION
from velodrome.metrics.catalogue import ALIASES, MetricKey, first_name, present_name
from velodrome.plan import TrialConfig
from velodrome.results.base import Data, absent
from velodrome.results.scores import SampleScores
from velodrome.results.searches import Searched

LOG_TAIL_LIMIT = 16 * 1024

# The validation context of a report, which anybody may have written; and the type of the error if it has more metric
# keys than any job.
REPORTED: Mapping[str, Any] = MappingProxyType({})
MOST_KEYS = 1000
TOO_MANY = "too_many_keys"

StoppedBy = Literal["maxEpochs", "maxSteps", "maxSeconds", "earlyStopping"]
Outcome = Literal["Succeeded", "Failed"]
Phase = Literal["Starting", "Loading", "Training", "Optimizing", "Evaluating", "Timing", "Finished"]


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
    model_libraries: Mapping[str, str] | None = Field(
        default=None,
        exclude_if=absent,
        description="What the entry's model comes from. It is no condition: in its model an entry may differ.",
    )
    cuda: str | None = None
    cudnn: str | None = None
    image: str | None = None


class GrantedResources(Data):
    """The part of the machine that this trial could use."""

    cpus: float = Field(gt=0, description="Threads that torch computes with.")
    memory_limit_bytes: int | None = None
    accelerators: int = 0
    concurrent_trials: int = Field(default=1, ge=1, description="Trials that shared the machine, this one included.")
    nodes: int = 1


class Environment(Data):
    """The machine, the software and the settings with which a trial ran."""

    hardware: Hardware
    software: Software
    resources: GrantedResources
    precision: str = "float32"
    deterministic: bool = False
    flops_definition: str | None = Field(
        default=None,
        exclude_if=absent,
        pattern=r"^[a-f0-9]{12}$",
        description="Digest of what counts as an operation and what is free; null: before 0.2, or a program's own.",
    )
    decay_rule: str | None = Field(
        default=None, exclude_if=absent, description="Which parameters L1 and L2 left alone; null: neither was used."
    )


_Sentence = Annotated[str, Field(max_length=500)]


class Held(Data):
    """Whether the conditions of a trial held while it was measured. Nothing here is a condition that forms cohorts."""

    changed: tuple[_Sentence, ...] = Field(
        default=(), max_length=100, description="What the entry's code changed for the process; it was set back."
    )
    initial_weights: str | None = Field(
        default=None, pattern=r"^[a-f0-9]{16}$", description="Digest of the weights that training started from."
    )
    pretrained: bool = Field(default=False, description="Whether the model was given pretrained weights.")
    trained_weights: str | None = Field(
        default=None,
        exclude_if=absent,
        pattern=r"^[a-f0-9]{16}$",
        description="Digest of the weights after training, before anything optimized the model.",
    )
    disturbances: tuple[_Sentence, ...] = Field(
        default=(), max_length=100, description="What disturbed the machine while the trial was measured."
    )

    @property
    def disturbed(self) -> str:
        """The disturbances in one line of at most 300 characters; empty without any."""
        return ", ".join(self.disturbances)[:300]


class Resumption(Data):
    """Where a trial went on whose process was lost."""

    attempt: str = Field(max_length=200, description="The attempt that was lost.")
    step: int = Field(ge=0, description="Step of the optimizer after which it went on; 0: training started again.")
    repeated_steps: int = Field(
        ge=0, description="Steps of the lost attempt that were made again, as far as it had told."
    )
    lost_seconds: float = Field(ge=0, description="Training time of these steps, which is in no figure of the result.")


class Checkpointing(Data):
    """What a trial saved of its training, and where it went on after a process was lost."""

    saved: int = Field(ge=0, description="Checkpoints that were saved, over all attempts.")
    seconds: float = Field(ge=0, description="Time that saving took, which is in no figure of the result.")
    resumed: tuple[Resumption, ...] = Field(default=(), max_length=1000)
    problem: str | None = Field(
        default=None, max_length=500, description="Why the last checkpoint could not be saved or used; null: none."
    )

    @property
    def words(self) -> tuple[str, ...]:
        """What was lost, for people: a sentence for each process, and one for a checkpoint that failed."""
        lost = tuple(
            f"{each.attempt} was lost: "
            + (f"went on from step {each.step:,}" if each.step else "training started again")
            + f", {each.repeated_steps:,} steps of {each.lost_seconds:.3g} s were made again"
            for each in self.resumed
        )
        return lost if self.problem is None else (*lost, self.problem)


class KeptFile(Data):
    """A file that a trial kept, or why it could not."""

    name: str = Field(max_length=100, pattern=r"^[a-z0-9][a-z0-9.-]*$")
    sha256: str | None = Field(default=None, pattern=r"^[a-f0-9]{64}$", description="Digest of the whole file.")
    bytes: int | None = Field(default=None, ge=0)
    problem: str | None = Field(default=None, max_length=500, description="Why it could not be kept; null: it was.")


class DatasetFacts(Data):
    """The data as they were read."""

    name: str
    digest: str = Field(pattern=r"^sha256:[a-f0-9]{64}$")
    train_samples: int
    validation_samples: int
    test_samples: int
    shape: tuple[int, ...] = Field(description="Of one sample, channels first.")
    classes: tuple[str, ...] = Field(description="In the order of the labels; empty where a number is predicted.")
    reading: str | None = Field(
        default=None, exclude_if=absent, description="How training read what does not fit in memory; null: it fits."
    )
    batching: str | None = Field(
        default=None, exclude_if=absent, description="How training batches were made; null: of random samples."
    )
    fitted_samples: int | None = Field(
        default=None,
        exclude_if=absent,
        description="On how many training samples the preprocessing was fitted, evenly spaced; null: on all.",
    )
    shared_samples: int | None = Field(
        default=None,
        exclude_if=absent,
        description="How many test samples are training samples too, whatever their labels; null: none was found.",
    )


class EpochPoint(Data):
    """One epoch of one trial's curves. `seconds` is training time since its start, without evaluation."""

    epoch: int = Field(ge=1)
    seconds: float
    train_loss: float
    learning_rate: float
    samples_per_second: float
    validation: Mapping[str, float] = Field(description="By metric name, such as `validation_loss` and `accuracy`.")

    @field_validator("validation")
    @classmethod
    def _present_names(cls, validation: Mapping[str, float]) -> Mapping[str, float]:
        if ALIASES.keys().isdisjoint(validation):
            return validation
        return {present_name(name): value for name, value in validation.items()}


CURVES: TypeAdapter[tuple[EpochPoint, ...]] = TypeAdapter(tuple[EpochPoint, ...])


def write_curves(curves: tuple[EpochPoint, ...]) -> bytes:
    """Curves as JSON, without defaults. `CURVES` reads them."""
    return CURVES.dump_json(curves, exclude_defaults=True)


class TrialResult(Data):
    """The one final report of a trial, as the runner makes it.

    `metrics` is by metric key (`velodrome.metrics`), and every value is finite. `unavailable` says why an expected
    metric is missing. `curves` has a point for each epoch. Times are UTC.
    """

    schema_version: int = SCHEMA_VERSION
    job_uid: str
    index: int = Field(ge=0)
    entry: str
    repeat: int = Field(ge=0)
    seed: int = Field(ge=0)
    trial_id: str
    attempt: str = Field(description="Unique for each process that tried this trial.")
    code: str | None = Field(
        default=None,
        pattern=r"^[a-f0-9]{16}$",
        description="Digest of the entry's own code; None where it has none.",
        exclude_if=absent,
    )
    outcome: Outcome
    reason: str | None = Field(
        default=None, pattern=r"^[A-Z][A-Za-z]*$", description="CamelCase; why it failed, or None."
    )
    message: str | None = None
    log_tail: str | None = Field(default=None, max_length=2 * LOG_TAIL_LIMIT)
    metrics: Mapping[str, float] = {}
    unavailable: Mapping[str, str] = {}
    confusion: tuple[tuple[int, ...], ...] | None = Field(
        default=None,
        description="Test samples by right class (rows) and predicted class (columns), where classes are few.",
        exclude_if=absent,
    )
    scores: SampleScores | None = Field(
        default=None, description="What the model did on each test sample, as far as it is kept.", exclude_if=absent
    )
    curves: tuple[EpochPoint, ...] = ()
    dataset: DatasetFacts | None = None
    environment: Environment | None = None
    held: Held | None = Field(default=None, exclude_if=absent)
    optimized: tuple[_Sentence, ...] | None = Field(
        default=None,
        max_length=16,
        exclude_if=absent,
        description="What each step of the entry's optimize did to the model; None without one.",
    )
    checkpoints: Checkpointing | None = Field(
        default=None,
        exclude_if=absent,
        description="What was saved, lost and resumed; null where no checkpoints were asked for.",
    )
    artifacts: tuple[KeptFile, ...] | None = Field(
        default=None, max_length=100, exclude_if=absent, description="The files that the trial keeps; null: none."
    )
    epochs: int | None = None
    best_epoch: int | None = None
    stopped_by: StoppedBy | None = None
    started_at: AwareDatetime
    finished_at: AwareDatetime
    phases: Mapping[Phase, Annotated[float, Field(ge=0, le=1e9)]] | None = Field(
        default=None, description="Seconds of each phase, as far as the trial came.", exclude_if=absent
    )

    @field_validator("metrics")
    @classmethod
    def _known(cls, metrics: Mapping[str, float], info: ValidationInfo) -> Mapping[str, float]:
        """Refuses a report with too many keys before it parses them, to save time. Stored records have no limit."""
        if info.context is REPORTED and len(metrics) > MOST_KEYS:
            text = f"{len(metrics)} keys, and a trial has {MOST_KEYS} at most"
            raise PydanticCustomError(TOO_MANY, "{text}", {"text": text})
        return {str(MetricKey.parse(key)): value for key, value in metrics.items()}

    @field_validator("unavailable")
    @classmethod
    def _present_names(cls, unavailable: Mapping[str, str]) -> Mapping[str, str]:
        return {present_name(key): why for key, why in unavailable.items()}

    @model_validator(mode="after")
    def _says_why(self) -> TrialResult:
        if (self.outcome == "Failed") != (self.reason is not None):
            raise ValueError("a failed trial has a reason, a succeeded one has none")
        return self

    @property
    def content(self) -> str:
        """A digest of what was measured: the same for two copies of one report, and different for different results.

        Defaults are left out, so that a field which a later schema adds does not change it.
        """
        return self.content_given(write_curves(self.curves))

    def content_given(self, curves: bytes) -> str:
        """`content` of this result with these curves, as `write_curves` writes them."""
        # A metric's first name stands there for ever, so that a copy of an older report has the same digest.
        parts = {"metrics": self.metrics, "unavailable": self.unavailable}
        named = self
        if any(first_name(key) != key for part in parts.values() for key in part):
            first = {name: {first_name(key): value for key, value in part.items()} for name, part in parts.items()}
            named = self.model_copy(update=first)
        rest = named.model_dump_json(exclude={"schema_version", "curves"}, exclude_defaults=True)
        return hashlib.sha256(rest.encode() + curves).hexdigest()[:32]


class Progress(Data):
    """The progress of a running trial. It is sent often, and only the newest counts."""

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


def _is_none(value: object) -> bool:
    """Whether to leave a field out: readers of version 0.1.0 refuse fields that they don't know."""
    return value is None


class ProgressReport(Data):
    """A report of progress, as it stands in the inbox. `proof` is the trial's report key, where its runner has one."""

    type: Literal["progress"] = "progress"
    progress: Progress
    proof: str | None = Field(default=None, max_length=100, exclude_if=_is_none)


class ResultReport(Data):
    """The report of a trial's result, as it stands in the inbox. `proof` is as in `ProgressReport`."""

    type: Literal["result"] = "result"
    result: TrialResult
    proof: str | None = Field(default=None, max_length=100, exclude_if=_is_none)


Report = Annotated[ProgressReport | ResultReport, Field(discriminator="type")]
REPORT: TypeAdapter[ProgressReport | ResultReport] = TypeAdapter(Report)


class ClaimedTimes(Data):
    """The wall times that a runner reported, if the executor's replaced them."""

    started_at: AwareDatetime
    finished_at: AwareDatetime


class Observed(Data):
    """What the executor saw of the process or pod that ran the trial.

    - `claimed` is set if the runner's clock differed by more than a margin. The result's times are the executor's then.
    - `concurrent_trials` is the largest number of trials that ran on the machine at once, this one included.
    - `shared` says whether the trial's speed may depend on neighbours.
    - `pull_seconds` is the last part of `queued_seconds`, after the pod had a node: its image is pulled then.

    `concurrent_trials` and `shared` replace what the runner said. They are None if they were not observed, as before
    version 0.2. On one machine `shared` is None, because the number is the same for a whole race.
    """

    executor: Literal["local", "kubernetes"]
    node: str | None = None
    pod: str | None = None
    image_id: str | None = None
    queued_seconds: float | None = None
    run_seconds: float | None = None
    retries: int = 0
    started_at: AwareDatetime | None = Field(default=None, exclude_if=absent)
    finished_at: AwareDatetime | None = Field(default=None, exclude_if=absent)
    claimed: ClaimedTimes | None = Field(default=None, exclude_if=absent)
    concurrent_trials: int | None = Field(default=None, ge=1, exclude_if=absent)
    shared: bool | None = Field(default=None, exclude_if=absent)
    pull_seconds: float | None = Field(default=None, exclude_if=absent)


StopReason = Literal["Decided", "Beaten", "Futile", "MaxRepeats"]


class StoppedEntry(Data):
    """Why an entry of a race until decided gets no more seeds: at which look, after how many, and in words."""

    look: int = Field(ge=1)
    repeats: int = Field(ge=1)
    why: StopReason
    text: str = Field(max_length=10_000)


class Rounds(Data):
    """How far a race until decided is: how many trials it has asked for of each entry, and which entries have stopped.

    It follows from the accepted results alone (`velodrome.board.rounds`). `looks` counts the looks at the values so
    far. `finished` says that no further trial will be asked for.
    """

    looks: int = Field(ge=0)
    repeats: Mapping[str, int]
    stopped: Mapping[str, StoppedEntry] = {}
    finished: bool = False


class JobInfo(Data):
    """The job as it is stored with its results. It stays when the BenchmarkJob is deleted.

    `trials` and `repeats` are the most that the job may have. Only a race until decided has `rounds`; the others ask
    for all trials at once.
    """

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
    rounds: Rounds | None = Field(default=None, exclude_if=absent)
    searched: Searched | None = Field(
        default=None, exclude_if=absent, description="How the search ended whose winners these trials confirm."
    )
    search_of: str | None = Field(
        default=None,
        exclude_if=absent,
        description="The uid of the race whose search trials these are; they are of no board and rank nowhere.",
    )
    points: Mapping[str, tuple[Mapping[str, Any], ...]] | None = Field(
        default=None, exclude_if=absent, description="Points of other searches, by entry, that a search tries early."
    )

    def planned(self, entry: str) -> int:
        """How many trials of this entry were asked for so far."""
        return self.repeats if self.rounds is None else self.rounds.repeats.get(entry, self.repeats)

    @property
    def asked(self) -> int:
        """How many trials were asked for so far."""
        return self.trials if self.rounds is None else sum(map(self.planned, self.entries))

    @property
    def most_searched(self) -> int:
        """How many search trials each entry may have; 0 without a search."""
        search = self.document.get("spec", {}).get("search") or {}
        most = search.get("maxTrials", 0)
        return most if isinstance(most, int) else 0

    def is_over(self, results: int) -> bool:
        """Whether a job with so many results will get no more."""
        return results >= self.asked and (self.rounds is None or self.rounds.finished)


class TakenFrom(Data):
    """The source of a result that a job took over: the job that measured it, and its index there."""

    job_uid: str
    job_name: str
    index: int = Field(ge=0)
    accepted_at: AwareDatetime


class TrialRecord(Data):
    """An accepted result: what the runner reported, what the executor saw, and the planned configuration.

    If another job measured it, `taken_from` is set, and `accepted_at` is when this job took it over.
    """

    schema_version: int = SCHEMA_VERSION
    result: TrialResult
    config: TrialConfig
    observed: Observed
    accepted_at: AwareDatetime
    taken_from: TakenFrom | None = Field(default=None, exclude_if=absent)

    @property
    def reported(self) -> TrialResult:
        """The result as the runner reported it: the same for all copies of one report, whatever the runner's clock."""
        claimed = self.observed.claimed
        return self.result if claimed is None else self.result.model_copy(update=claimed.__dict__)

    @property
    def shown_attempt(self) -> str:
        """The attempt as pages show it. On a cluster this is the pod's name, because reports are attributed by the
        pod's uid.
        """
        if self.observed.executor == "local":
            return self.result.attempt
        return self.observed.pod or "not seen"


def parse_record(text: str | bytes) -> TrialRecord:
    """An accepted result from its JSON, updated to the present schema.

    Raises:
        SchemaUnsupported: it was written by a newer Velodrome.
        ValueError: it is no record; the message says why.
    """
    return _parsed(TrialRecord, text, "record")


def parse_job(text: str | bytes) -> JobInfo:
    """A stored job from its JSON. Raises as `parse_record` does."""
    return _parsed(JobInfo, text, "job")


def parse_result(text: str | bytes) -> TrialResult:
    """A trial's result from its JSON. Raises as `parse_record` does."""
    return _parsed(TrialResult, text, "result")


# Version n's step turns a document of version n into one of n + 1.
Migrations = Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]]
MIGRATIONS: Mapping[str, Migrations] = {"record": {}, "job": {}, "result": {}}

_Kind = TypeVar("_Kind", bound=Data)


def _parsed(model: type[_Kind], text: str | bytes, what: str) -> _Kind:
    try:
        document = from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise ValueError(f"the {what} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise ValueError(f"the {what} is not a JSON object")
    version = document.get("schema_version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ValueError(f"the {what} has no schema_version that is a number from 1 on, but {version!r}")
    if version > SCHEMA_VERSION:
        raise SchemaUnsupported(
            f"the {what} has schema version {version}, this Velodrome reads up to {SCHEMA_VERSION}: update it"
        )
    for step in range(version, SCHEMA_VERSION):
        document = {**MIGRATIONS[what][step](document), "schema_version": step + 1}
    try:
        return model.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or what
        raise ValueError(f"the {what} is not valid: {where}: {first['msg']}") from error


def utc(seconds: float) -> datetime:
    """A POSIX time in seconds as an aware datetime."""
    return datetime.fromtimestamp(seconds, UTC)

"""The lines with which your own command reports, and what they add up to. Pure; does not import torch.

A line is a JSON document with a `type`: epoch, dataset, software, predictions or result. docs/own-code.md describes
them for authors of such commands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from velodrome.metrics.catalogue import MetricKey, by_name, without_rounding
from velodrome.plan import TrialConfig
from velodrome.results.bounds import MOST_LIBRARIES, TEXT_LIMIT, impossible_curves, impossible_dataset
from velodrome.results.records import DatasetFacts, EpochPoint

_Text = Annotated[str, Field(max_length=TEXT_LIMIT)]


class Line(BaseModel):
    """Strict: a misspelt field is reported instead of dropped."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class EpochLine(Line):
    """An epoch has ended."""

    type: Literal["epoch"]
    epoch: int = Field(ge=1, description="Counted from 1.")
    seconds: float = Field(ge=0, description="Training time since the start, without evaluation.")
    train_loss: float = Field(description="Mean loss of the epoch.")
    learning_rate: float = Field(default=0.0, description="At the end of the epoch.")
    samples_per_second: float = Field(ge=0, description="Training throughput so far.")
    validation: Mapping[str, float] = Field(default={}, description="Values on the validation split, by metric.")


class DatasetLine(Line):
    """Which data were read; required once."""

    type: Literal["dataset"]
    name: str
    digest: str = Field(pattern=r"^sha256:[a-f0-9]{64}$", description="As `velodrome.report.digest` computes it.")
    train_samples: int = Field(ge=1)
    validation_samples: int = Field(ge=0)
    test_samples: int = Field(ge=1)
    shape: tuple[int, ...] = Field(description="Of one sample, channels first.")
    classes: tuple[str, ...] = Field(description="Their names.")


class SoftwareLine(Line):
    """The framework that computes."""

    type: Literal["software"]
    framework: str = Field(min_length=1, max_length=100, description="Name and version, such as `numpy 2.4.1`.")
    libraries: Mapping[_Text, _Text] = Field(
        default={}, max_length=MOST_LIBRARIES, description="Versions of what else a measurement passes through."
    )


class ResultLine(Line):
    """The final values; required once."""

    type: Literal["result"]
    metrics: Mapping[str, float] = Field(description="By metric key, such as `latency_p50_seconds{batch_size=1}`.")
    unavailable: Mapping[str, _Text] = Field(default={}, description="Why a metric could not be measured, by key.")
    epochs: int = Field(default=0, ge=0, description="How many were trained.")

    @field_validator("metrics", "unavailable")
    @classmethod
    def _known(cls, named: Mapping[str, object], info: ValidationInfo) -> Mapping[str, object]:
        own: Mapping[str, str] = info.context or {}
        return {str(MetricKey.parse(own.get(key, key))): value for key, value in named.items()}


class PredictionsLine(Line):
    """What was predicted for each test sample, in the order of the test split: to compare entries sample by sample."""

    type: Literal["predictions"]
    targets: tuple[float, ...] = Field(min_length=1, description="Right classes, from 0, or values to predict.")
    predicted: tuple[float, ...] = Field(description="As many predictions.")
    losses: tuple[float, ...] | None = Field(default=None, description="Each sample's cross-entropy in nats.")
    groups: tuple[int, ...] | None = Field(default=None, description="A number for the group of each sample.")

    @model_validator(mode="after")
    def _of_one_length(self) -> PredictionsLine:
        for name in ("predicted", "losses", "groups"):
            found = getattr(self, name)
            if found is not None and len(found) != len(self.targets):
                raise ValueError(f"{name} has {len(found)} samples, and targets has {len(self.targets)}")
        return self


_Lines = EpochLine | DatasetLine | SoftwareLine | ResultLine | PredictionsLine
LINE: TypeAdapter[_Lines] = TypeAdapter(Annotated[_Lines, Field(discriminator="type")])


@dataclass(slots=True)
class Reported:
    """What the lines have reported so far. `problem` is the first line that is unreadable or has an impossible value.

    `config` is the trial's and says which values are possible; `reason` is the kind of the problem.
    """

    config: TrialConfig | None = None
    dataset: DatasetFacts | None = None
    software: SoftwareLine | None = None
    result: ResultLine | None = None
    predictions: PredictionsLine | None = None
    curves: list[EpochPoint] = field(default_factory=list)
    lines: int = 0
    problem: str | None = None
    reason: str = "InvalidReport"

    @property
    def _own(self) -> Mapping[str, str]:
        """The keys of the metrics that the job declares, by the names that programs report."""
        return by_name((self.config and self.config.declared) or ())

    def take(self, text: str) -> EpochPoint | None:
        """Adds a line, and returns the epoch's point if it ended an epoch. An unreadable line only sets `problem`."""
        self.lines += 1
        if not text.strip():
            return None
        try:
            line = LINE.validate_json(text, context=self._own)
        except ValidationError as error:
            self._complain(_words(error))
            return None
        match line:
            case EpochLine():
                return self._epoch(line)
            case DatasetLine():
                self.dataset = DatasetFacts.model_validate(line.model_dump())
                self._look(impossible_dataset(self.dataset))
            case SoftwareLine():
                self.software = line
            case PredictionsLine():
                self.predictions = line
            case ResultLine() if self.result is None:
                samples = self.dataset.test_samples if self.dataset else None
                self.result = line.model_copy(update={"metrics": _rounded(line.metrics, samples)})
            case ResultLine():
                self._complain("a second result: report one, at the end")
        return None

    def _epoch(self, line: EpochLine) -> EpochPoint | None:
        if self.curves and line.epoch <= self.curves[-1].epoch:
            self._complain(f"epoch {line.epoch} after epoch {self.curves[-1].epoch}: count upwards")
            return None
        samples = self.dataset.validation_samples if self.dataset else None
        named = {self._own.get(name, name): value for name, value in line.validation.items()}
        validation = _rounded(named, samples)
        point = EpochPoint.model_validate(line.model_dump() | {"validation": validation})
        before = self.curves[-1:]
        wrong = None if self.config is None else impossible_curves((*before, point), self.config)
        if wrong is not None:
            self._look(wrong.partition(".")[2].partition(".")[2])
            return None
        self.curves.append(point)
        return point

    def _look(self, wrong: str | None) -> None:
        """Notes an impossible value."""
        if wrong is not None and self.problem is None:
            self.reason = "ImpossibleValue"
            self._complain(wrong)

    def _complain(self, what: str) -> None:
        self.problem = self.problem or f"line {self.lines}: {what}"


def _rounded(values: Mapping[str, float], samples: int | None) -> dict[str, float]:
    """The values, without the rounding of float32 in shares of that many samples."""
    return {key: without_rounding(key, value, samples) for key, value in values.items()}


def _words(error: ValidationError) -> str:
    """The first problem, with its field."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:])
    return f"{where}: {first['msg']}" if where else str(first["msg"])

"""The catalogue: every metric that Velodrome knows, its unit, its good direction and what its value depends on. Pure.

A *key* names a measured value: the metric's name, and its parameters, if any, sorted and in braces: `accuracy`,
`f1{average=micro}`, `f1{label=3}`, `latency_p50_seconds{batch_size=1}`. Records, stores and rankings use keys.
`precision`, `recall` and `f1` without parameters are macro averages: the unweighted mean over classes. Metrics that a
team declares have keys that describe themselves (`velodrome.metrics.declared`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import Literal

from velodrome.metrics.declared import NAME, PREFIX, Declared

Direction = Literal["higher", "lower"]
Kind = Literal["quality", "speed", "efficiency"]
Parameter = Literal["average", "label", "batch_size"]
Scale = Literal["ratio", "bounded", "interval"]

# Squares of values inside these bounds neither overflow nor vanish. Every metric of a trial lies inside.
SMALLEST, LARGEST = 1e-100, 1e100


def measurable(value: float) -> bool:
    """Whether a finite value has a mean and a variance: a double holds its square."""
    return value == 0 or SMALLEST <= abs(value) <= LARGEST


# The range of every honest measurement, by unit: (least, most), both included. A clock counts nanoseconds, the longest
# training budget is a year, and no machine has an exbibyte.
LONGEST_SECONDS = 366 * 86_400.0
_RANGES: Mapping[str, tuple[float, float]] = {
    "ratio": (0.0, 1.0),
    "nats": (0.0, LARGEST),
    "bits": (0.0, LARGEST),
    "choices": (1.0, LARGEST),  # among how many equally likely tokens a model is as unsure
    "seconds": (1e-9, LONGEST_SECONDS),
    "samples_per_second": (0.0, 1e15),
    "bytes": (0.0, 2.0**60),
    "count": (0.0, 1e18),
    "joules": (0.0, 1e15),
    "price": (0.0, 1e15),
    "correlation": (-1.0, 1.0),
    "determination": (-LARGEST, 1.0),
    "target": (0.0, LARGEST),  # the unit of the column that is predicted
}
# Units whose 0 does not mean "none", with the length that a change is relative to: for R², from 0 to 1.
_SPANS: Mapping[str, float] = {"correlation": 2.0, "determination": 1.0}
_BOUNDED = frozenset({"ratio", "correlation", "determination"})  # units with a best value
_WHOLE = frozenset({"bytes", "count"})  # units without fractions
# Former names of metrics, which stored records and jobs may have for ever.
ALIASES: Mapping[str, str] = MappingProxyType({"mean_average_precision": "average_precision"})
# By how much a ratio may exceed 1 because sums in float32 are rounded.
RATIO_ROUNDING = 1e-6


# What a value depends on. Two values can be compared only if all of these agree, as the runner observed them.
QUALITY_CONDITIONS = ("dataset", "preprocessing", "evaluation", "budget")
SPEED_CONDITIONS = (*QUALITY_CONDITIONS, "hardware", "software", "resources")
# A model's own size follows from the data's shape alone.
MODEL_CONDITIONS = ("dataset", "preprocessing")

# Fields below spec that metrics need.
SERVING = "evaluation.serving"
OFFLINE = "evaluation.offline"


@dataclass(frozen=True, slots=True)
class Metric:
    """One line of the catalogue.

    `unit` is Prometheus's (seconds, bytes, ratio, …); `depends_on` names the conditions that make its cohort;
    `parameters` are those that a key of this metric may have; `tasks` are those that it belongs to, all if it is empty;
    `per_epoch` says that it is also measured on the validation split at the end of each epoch, so that early stopping
    and targets may use it. `deterministic` says that the value follows from the model alone, whatever the
    seed: two values that differ are different, without a test. `limits` and `interval` are those of a declared metric:
    its range, and whether its scale is one of differences alone. `needs` is the field below spec without which it is
    not measured.
    """

    name: str
    unit: str
    direction: Direction
    kind: Kind
    depends_on: tuple[str, ...]
    description: str
    parameters: tuple[Parameter, ...] = ()
    per_epoch: bool = False
    requires: tuple[Parameter, ...] = ()
    deterministic: bool = False
    tasks: tuple[str, ...] = ()
    limits: tuple[float, float] | None = None
    interval: bool = False
    needs: str = ""

    @property
    def times_inference(self) -> bool:
        """Whether it is measured by timing predictions, after the test split."""
        return "batch_size" in self.requires or self.needs in (SERVING, OFFLINE)

    @property
    def range(self) -> tuple[float, float]:
        """The least and the most that a value can be, both included."""
        return self.limits or _RANGES[self.unit]

    @property
    def scale(self) -> Scale:
        """How values are compared.

        - **ratio**: by factors. Values are above 0 and have no natural end above: seconds, bytes, joules, a loss.
        - **bounded**: by differences. There is a best value, such as an accuracy of 1.
        - **interval**: by differences. The value 0 does not mean none, as a team declared.

        A declared ratio scale is bounded only for shares: the unit ratio, or percent up to 100 at most.
        """
        if self.interval:
            return "interval"
        share = self.unit == "percent" and self.range[1] <= 100
        return "bounded" if share or self.unit in _BOUNDED else "ratio"

    @property
    def span(self) -> float | None:
        """The length that a change is relative to, where values may be 0 or negative; None: to the earlier value."""
        if self.limits is None:
            return _SPANS.get(self.unit)
        return self.limits[1] - self.limits[0] if self.interval else None

    @property
    def whole(self) -> bool:
        """Whether values are whole numbers."""
        return self.unit in _WHOLE

    def impossible(self, value: float) -> str | None:
        """Why this value is impossible, and what to write instead; None if it is possible."""
        least, most = self.range
        if least <= value <= most:
            return f"{value:g} is no whole number of {self.unit}" if self.whole and value % 1 else None
        if not math.isfinite(value):
            return f"{value} is not finite"
        if self.unit in ("ratio", "correlation", "determination"):
            if self.unit != "ratio":
                return f"{value!r} is not between {least:g} and {most:g}"
            hint = f": write {value / 100:g} for {value:g} %" if 1 < value <= 100 else ""
            return f"{value!r} is not between {least:g} and {most:g}{hint}"
        where = f"below {least:g}" if value < least else f"above {most:g}"
        return f"{value!r} is {where} {self.unit}"


def _quality(
    name: str,
    description: str,
    *,
    direction: Direction = "higher",
    unit: str = "ratio",
    parameters: tuple[Parameter, ...] = (),
    per_epoch: bool = True,
    tasks: tuple[str, ...] = ("classification",),
) -> Metric:
    return Metric(name, unit, direction, "quality", QUALITY_CONDITIONS, description, parameters, per_epoch, tasks=tasks)


def _cost(
    name: str,
    unit: str,
    direction: Direction,
    kind: Kind,
    description: str,
    *,
    parameters: tuple[Parameter, ...] = (),
    of_model: bool = False,
    needs: str = "",
) -> Metric:
    return Metric(
        name, unit, direction, kind, MODEL_CONDITIONS if of_model else SPEED_CONDITIONS, description, parameters,
        requires=parameters, deterministic=of_model, needs=needs,
    )  # fmt: skip


_AVERAGED: tuple[Parameter, ...] = ("average", "label")

CATALOGUE: Mapping[str, Metric] = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            _quality("accuracy", "Share of test samples whose most likely class is the right one."),
            _quality("top5_accuracy", "Share of test samples whose right class is among the five most likely."),
            _quality("precision", "Of the samples called a class, the share that are of it.", parameters=_AVERAGED),
            _quality("recall", "Of a class's samples, the share that are called it.", parameters=_AVERAGED),
            _quality("f1", "Harmonic mean of precision and recall.", parameters=_AVERAGED),
            _quality(
                "average_precision",
                "Area under each class's precision-recall curve, averaged over classes.",
            ),
            _quality(
                "auroc",
                "Area under each class's ROC curve against all others, averaged over classes.",
            ),
            _quality(
                "balanced_accuracy", "Recall, averaged over the classes that occur, so that rare ones count as much."
            ),
            _quality(
                "mcc",
                "Matthews' correlation of predicted and right classes; 0 is as good as guessing.",
                unit="correlation",
            ),
            _quality(
                "calibration_error",
                "Mean distance between confidence and accuracy, over 15 bins of confidence.",
                direction="lower",
            ),
            _quality(
                "loss", "Mean cross-entropy on the test split, without label smoothing.",
                direction="lower",
                unit="nats",
                per_epoch=False,
                tasks=("classification", "language-modelling", "segmentation"),
            ),
            _quality(
                "validation_loss",
                "Mean loss on the validation split, of the weights that were kept: cross-entropy in nats, or in"
                " regression the squared error divided by the variance of the training targets.",
                direction="lower",
                unit="nats",
                tasks=("classification", "regression", "language-modelling", "segmentation"),
            ),
            _quality(
                "perplexity",
                "Exponential of the mean cross-entropy in nats of each predicted token, a character or a byte.",
                direction="lower",
                unit="choices",
                tasks=("language-modelling",),
            ),
            _quality(
                "bits_per_byte",
                "Bits to code the text by the model's predictions, for each byte of its UTF-8 form.",
                direction="lower",
                unit="bits",
                tasks=("language-modelling",),
            ),
            _quality(
                "bits_per_character",
                "Bits to code the text by the model's predictions, for each character; not where tokens are bytes.",
                direction="lower",
                unit="bits",
                tasks=("language-modelling",),
            ),
            _quality(
                "rmse",
                "Root of the mean squared error, in the target's unit.",
                direction="lower",
                unit="target",
                tasks=("regression",),
            ),
            _quality(
                "mae",
                "Mean absolute error, in the target's unit.",
                direction="lower",
                unit="target",
                tasks=("regression",),
            ),
            _quality(
                "r2",
                "Share of the target's variance that is explained; 0 is as good as always predicting the mean.",
                unit="determination",
                tasks=("regression",),
            ),
            *(
                _quality(
                    f"box_map{suffix}",
                    f"Mean average precision of detected boxes as COCO defines it, over classes{what}.",
                    tasks=("detection",),
                )
                for suffix, what in (
                    ("", " and over overlaps (IoU) of 0.5 to 0.95"),
                    ("_50", ", at an overlap (IoU) of 0.5"),
                    ("_small", " and overlaps, of objects below 32 x 32 pixels"),
                    ("_medium", " and overlaps, of objects from 32 x 32 to 96 x 96 pixels"),
                    ("_large", " and overlaps, of objects above 96 x 96 pixels"),
                )
            ),
            _quality(
                "miou",
                "Intersection over union of predicted and right pixels, averaged over the classes that occur; with a"
                " label, of that class alone.",
                parameters=("label",),
                tasks=("segmentation",),
            ),
            _quality(
                "pixel_accuracy",
                "Share of the labelled pixels whose most likely class is the right one.",
                tasks=("segmentation",),
            ),
            _cost("train_seconds", "seconds", "lower", "speed", "Time spent in training steps, without evaluation."),
            _cost(
                "time_to_target_seconds",
                "seconds",
                "lower",
                "speed",
                "Training time until budget.target was first reached on the validation split.",
                needs="budget.target",
            ),
            _cost(
                "train_samples_per_second", "samples_per_second", "higher", "speed", "Training samples per second."
            ),
            _cost(
                "data_loading_share",
                "ratio",
                "lower",
                "speed",
                "Share of train_seconds in which the training loop waited for its next batch.",
            ),
            *(
                _cost(
                    f"latency_p{percent}_seconds",
                    "seconds",
                    "lower",
                    "speed",
                    f"{text} of the time to predict one batch.",
                    parameters=("batch_size",),
                )
                for percent, text in ((50, "Median"), (90, "90th percentile"), (99, "99th percentile"))
            ),
            _cost(
                "inference_samples_per_second",
                "samples_per_second",
                "higher",
                "speed",
                "Samples predicted per second, one batch after another.",
                parameters=("batch_size",),
            ),
            *(
                _cost(
                    f"served_latency_p{percent}_seconds",
                    "seconds",
                    "lower",
                    "speed",
                    f"{text} of the time from a query's arrival to its answer, at evaluation.serving's rate: a bound"
                    " that it keeps with a confidence of 99 %.",
                    needs=SERVING,
                )
                for percent, text in ((50, "Median"), (90, "90th percentile"), (99, "99th percentile"))
            ),
            _cost(
                "offline_samples_per_second",
                "samples_per_second",
                "higher",
                "speed",
                "Samples predicted per second at the best batch size up to evaluation.offline.maxBatchSize.",
                needs=OFFLINE,
            ),
            _cost(
                "offline_batch_size",
                "count",
                "lower",
                "speed",
                "Batch size at which offline_samples_per_second was reached.",
                needs=OFFLINE,
            ),
            _cost(
                "peak_memory_bytes",
                "bytes",
                "lower",
                "efficiency",
                "Most memory held at once for data, model and training: of the device, or resident on a CPU.",
            ),
            _cost(
                "model_bytes",
                "bytes",
                "lower",
                "efficiency",
                "Size of the model's parameters and buffers.",
                of_model=True,
            ),
            _cost(
                "parameters",
                "count",
                "lower",
                "efficiency",
                "Number of trainable parameters.",
                of_model=True,
            ),
            Metric(
                "nonzero_parameters",
                "count",
                "lower",
                "efficiency",
                QUALITY_CONDITIONS,
                "Number of trainable parameters that are not 0 after training and pruning.",
            ),
            _cost(
                "flops",
                "count",
                "lower",
                "efficiency",
                "Floating-point operations of products, convolutions and attention, to predict one sample.",
                of_model=True,
            ),
            _cost(
                "conversion_seconds",
                "seconds",
                "lower",
                "efficiency",
                "Time to prune, quantize and export the trained model, of an entry whose optimize says so.",
            ),
            _cost(
                "compile_seconds",
                "seconds",
                "lower",
                "efficiency",
                "Time to compile the trained model, with its first calls, of an entry whose optimize says so.",
            ),
            _cost(
                "cpu_seconds",
                "seconds",
                "lower",
                "efficiency",
                "CPU time of training with its validation: of all threads, and of processes that it started.",
            ),
            _cost(
                "cost",
                "price",
                "lower",
                "efficiency",
                "Price of the training time, train_seconds, at evaluation.pricePerHour.",
                needs="evaluation.pricePerHour",
            ),
            _cost(
                "energy_joules",
                "joules",
                "lower",
                "efficiency",
                "Energy of training, as the device's own counter measured it; absent where there is no counter.",
            ),
        )
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True, order=True)
class MetricKey:
    """A metric's name with its parameters, sorted by name. `parse` is the inverse of `str()`, and reads old names."""

    name: str
    parameters: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        if not self.parameters:
            return self.name
        return self.name + "{" + ",".join(f"{name}={value}" for name, value in self.parameters) + "}"

    @property
    def metric(self) -> Metric:
        """The catalogue's line for this key, or what the key of a declared metric says itself."""
        return CATALOGUE.get(self.name) or _declared(self.name, self.parameters)

    @property
    def label(self) -> str:
        """The key for people: a declared metric has its plain name."""
        return self.name.removeprefix(PREFIX) if self.name.startswith(PREFIX) else str(self)

    @classmethod
    def of(
        cls, name: str, *, average: str | None = None, label: int | None = None, batch_size: int | None = None
    ) -> MetricKey:
        """The key of a metric. The default `average="macro"` is left out of the key."""
        given = {"average": None if average == "macro" else average, "batch_size": batch_size, "label": label}
        return cls(name, tuple((key, str(value)) for key, value in sorted(given.items()) if value is not None))

    @classmethod
    def declared(cls, definition: Declared) -> MetricKey:
        """The key of a declared metric."""
        return cls(PREFIX + definition.name, definition.parameters)

    @classmethod
    def parse(cls, text: str) -> MetricKey:
        """The inverse of `str()`; a former name of a metric gives its present key.

        Raises:
            ValueError: the metric is not in the catalogue, or it does not take such a parameter.
        """
        return _parse(text)


def label_of(text: str) -> str:
    """A key, or any other text, for people: see `MetricKey.label`."""
    return text.partition("{")[0].removeprefix(PREFIX) if text.startswith(PREFIX) else text


def metric_of(text: str) -> Metric | None:
    """The metric of a key, or of a name of the catalogue whatever its parameters; None if there is none."""
    if not text.startswith(PREFIX):
        return CATALOGUE.get(text.partition("{")[0])
    try:
        return _parse(text).metric
    except ValueError:
        return None


def may_be_declared(name: str) -> bool:
    """Whether a metric may have this name: it is no name, and no former name, of the catalogue."""
    return re.fullmatch(NAME, name) is not None and present_name(name) not in CATALOGUE


def by_name(keys: Iterable[str]) -> dict[str, str]:
    """The keys of declared metrics by their plain names."""
    return {label_of(key): key for key in keys}


@dataclass(frozen=True)
class MeasuredKeys:
    """The metric keys that the trials of a job can have: for labels 0 to `classes` - 1, and at these batch sizes.

    `declared` are the keys of the metrics that the job declares.
    """

    classes: int
    batch_sizes: tuple[int, ...]
    declared: tuple[str, ...] = ()

    @cached_property
    def ranges(self) -> Mapping[str, tuple[float, float, bool]]:
        """Every key with its least and largest value, and whether values are whole numbers."""
        found: dict[str, tuple[float, float, bool]] = {}
        for metric in CATALOGUE.values():
            keys = [] if metric.requires else [MetricKey.of(metric.name)]
            if "average" in metric.parameters:
                keys += (MetricKey.of(metric.name, average=average) for average in _AVERAGES)
            if "label" in metric.parameters:
                keys += (MetricKey.of(metric.name, label=label) for label in range(self.classes))
            if "batch_size" in metric.parameters:
                keys += (MetricKey.of(metric.name, batch_size=size) for size in self.batch_sizes)
            found |= dict.fromkeys(map(str, keys), (*metric.range, metric.whole))
        for key in self.declared:
            metric = MetricKey.parse(key).metric
            found[key] = (*metric.range, metric.whole)
        return found

    def impossible(self, text: str, value: float) -> str | None:
        """Why no trial of the job can have this value for this key, and what to write instead; None if one can."""
        text = present_name(text)
        least, most, whole = self.ranges.get(text, _NOTHING)
        if least <= value <= most and not (whole and value % 1):
            return None
        try:
            key = MetricKey.parse(text)
        except ValueError as error:
            return str(error)[:_QUOTED]
        if text in self.ranges:
            return key.metric.impossible(value)
        if key.name.startswith(PREFIX):
            return f"spec.metrics of this job does not declare {key.label} so"
        name, given = key.parameters[0]
        if name == "label":
            return f"there is no class {given}: classes are 0 to {self.classes - 1}"
        sizes = ", ".join(map(str, self.batch_sizes))
        return f"batch size {given} is none of evaluation.inference.batchSizes: {sizes}"


def cost(train_seconds: float, price_per_hour: float) -> float:
    """What that training time costs, in the currency of the price."""
    return train_seconds * price_per_hour / 3600


_NOTHING = (1.0, 0.0, False)  # the range of a key without values
_QUOTED = 200  # length of an error that quotes text of others
_AVERAGES = ("micro", "weighted")


def without_rounding(text: str, value: float, samples: int | None = None) -> float:
    """The value without the rounding of float32; unchanged if rounding does not explain the difference.

    A ratio slightly above 1 becomes 1. A share of `samples`, if their number is known, becomes a whole number divided
    by that number: 0.97222221 of 360 is 350 / 360.
    """
    name, _, parameters = text.partition("{")
    if name not in CATALOGUE or CATALOGUE[name].unit != "ratio":
        return value
    if 1 < value <= 1 + RATIO_ROUNDING:
        return 1.0
    of_samples = name in ("accuracy", "top5_accuracy") or parameters == "average=micro}"
    if samples is not None and of_samples and 0 <= value <= 1 and 0 < samples * RATIO_ROUNDING < 0.1:
        nearest = round(value * samples) / samples
        return nearest if abs(value - nearest) <= RATIO_ROUNDING else value
    return value


def unit_range(unit: str) -> tuple[float, float] | None:
    """The range of a unit of the catalogue; None for another word."""
    return _RANGES.get(unit)


def present_name(text: str) -> str:
    """A metric's name or key, with its present name in place of a former one."""
    return ALIASES.get(text, text)


def first_name(text: str) -> str:
    """A metric's name or key, with the name that it had first: identities and digests keep it for ever."""
    return _FIRST.get(text, text)


_FIRST = {present: former for former, present in ALIASES.items()}


@lru_cache(maxsize=4096)  # every report repeats the same two dozen keys
def _parse(text: str) -> MetricKey:
    text = present_name(text)
    if text.startswith(PREFIX):
        return _parse_declared(text)
    match = re.fullmatch(r"([a-z0-9_]+)(?:\{([a-z0-9_=,]+)\})?", text)
    metric = CATALOGUE.get(match[1]) if match else None
    if match is None or metric is None:
        raise ValueError(f"{text!r} names no metric of the catalogue")
    pairs = [part.partition("=")[::2] for part in (match[2] or "").split(",") if part]
    for name, value in pairs:
        if name not in metric.parameters or not _PARAMETER_VALUES[name].fullmatch(value):
            raise ValueError(f"{text!r}: {metric.name} takes no {name}={value}")
    given = dict(pairs)
    if missing := [name for name in metric.requires if name not in given]:
        raise ValueError(f"{text!r}: {metric.name} needs a {missing[0]}")
    key = MetricKey(metric.name, tuple(sorted(given.items())))
    if str(key) != text or {"average", "label"} <= set(given):
        raise ValueError(f"{text!r} is no key: parameters are sorted, each once, and one class has no average")
    return key


def _parse_declared(text: str) -> MetricKey:
    match = re.fullmatch(r"([a-z0-9_]+)\{([a-z0-9_=,.-]+)\}", text)
    if match is None:
        raise ValueError(f"{text[:_QUOTED]!r} is no key of a declared metric")
    key = MetricKey(
        match[1], tuple((name, value) for name, _, value in (p.partition("=") for p in match[2].split(",")))
    )
    _declared(key.name, key.parameters)
    if str(key) != text or list(key.parameters) != sorted(dict(key.parameters).items()):
        raise ValueError(f"{text[:_QUOTED]!r} is no key: parameters are sorted, each once")
    return key


@lru_cache(maxsize=256)
def _declared(name: str, parameters: tuple[tuple[str, str], ...]) -> Metric:
    """The metric that a key describes.

    Raises:
        ValueError: the key describes none.
    """
    found = Declared.read(name.removeprefix(PREFIX), dict(parameters))
    least, most = _RANGES.get(found.unit, (0.0, LARGEST))
    limits = (max(least, 0.0) if found.low is None else found.low, most if found.high is None else found.high)
    kind, depends_on = _DECLARED_KINDS[found.kind]
    return Metric(
        name, found.unit, found.better, kind, depends_on, "Declared by the job, in spec.metrics.",
        limits=limits, interval=found.interval,
    )  # fmt: skip


_DECLARED_KINDS: Mapping[str, tuple[Kind, tuple[str, ...]]] = {
    "quality": ("quality", QUALITY_CONDITIONS),
    "speed": ("speed", SPEED_CONDITIONS),
    "model": ("efficiency", MODEL_CONDITIONS),
}
_PARAMETER_VALUES = {
    "average": re.compile("|".join(_AVERAGES)),
    "label": re.compile(r"0|[1-9][0-9]{0,5}"),
    "batch_size": re.compile(r"[1-9][0-9]{0,6}"),
}

"""Which values may be ranked together: values with the same conditions, as the runner observed them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from velodrome.canonical import digest
from velodrome.metrics.catalogue import (
    OFFLINE,
    Metric,
    MetricKey,
    by_name,
    first_name,
    label_of,
    metric_of,
    present_name,
)
from velodrome.plan import TrialConfig
from velodrome.results.records import DatasetFacts, GrantedResources, Observed, TrialRecord
from velodrome.spec import Strict
from velodrome.spec.paths import removed
from velodrome.tasks import kind_of
from velodrome.vocabulary import LENGTH, SECONDS, SOUNDS, TOKENS, VOCABULARY, WINDOW, DataKind

# This number changes with the definition of any metric, so that old and new values are not ranked together.
EVALUATION_PROTOCOL = 1
# Stands for the number of trials that shared a node.
SEVERAL = "several"


@dataclass(frozen=True, slots=True)
class Cohort:
    """The conditions that all values of a ranking share. `conditions` is what was observed, and `id` its digest."""

    id: str
    conditions: Mapping[str, Any]

    @property
    def words(self) -> str:
        """The conditions in one line, for people."""
        found = (words(self.conditions[name]) for name, words in _WORDS.items() if name in self.conditions)
        return " · ".join(filter(None, found))


def cohort_of(record: TrialRecord, key: MetricKey) -> Cohort | None:
    """The cohort of a record's value of `key`, from what was observed. None if too little was observed.

    With a budget in seconds, quality depends on speed. Then hardware, software and resources belong to every cohort.
    """
    metric, result = key.metric, record.result
    if result.dataset is None or result.environment is None:
        return None
    names = list(metric.depends_on)
    if record.config.budget.max_seconds is not None and "budget" in names:
        names += [name for name in ("hardware", "software", "resources") if name not in names]
    facts = {
        "dataset": _dataset_facts(record.config, result.dataset),
        "preprocessing": _preprocessing_facts(record.config, result.dataset),
        "evaluation": _evaluation_facts(record.config, metric),
        "budget": _budget_facts(record.config, metric),
        "hardware": result.environment.hardware.model_dump(mode="json"),
        "software": result.environment.software.model_dump(mode="json", exclude={"model_libraries"}),
        "resources": _resources_facts(result.environment.resources, record.observed),
    }
    conditions: dict[str, Any] = {name: facts[name] for name in names}
    definition = result.environment.flops_definition
    if metric.name == "flops" and definition is not None:
        conditions["counting"] = {"flops": definition}
    return Cohort(digest(conditions), conditions)


def _written(part: Strict) -> dict[str, Any]:
    """A part of the spec without its nulls, so that a field which a later version adds changes no cohort."""
    return part.model_dump(mode="json", exclude_none=True)


def _dataset_facts(config: TrialConfig, dataset: DatasetFacts) -> dict[str, Any]:
    facts = {
        "name": dataset.name,
        "digest": dataset.digest,
        "validationFraction": config.dataset.validation_fraction,
        "samples": [dataset.train_samples, dataset.validation_samples, dataset.test_samples],
    }
    # The digest is of the files, and the size is what a model sees of them.
    size = config.dataset.image_size
    if _kind(config) == "text":
        facts |= {"tokens": config.dataset.tokens or TOKENS, "window": config.dataset.window or WINDOW}
    if config.dataset.format in SOUNDS:
        facts |= {"seconds": config.dataset.seconds or SECONDS}
    return facts if size is None else facts | {"imageSize": size}


def _kind(config: TrialConfig) -> DataKind | None:
    return kind_of(config.dataset.name, config.dataset.format)


def _preprocessing_facts(config: TrialConfig, dataset: DatasetFacts) -> dict[str, Any]:
    """The preprocessing as it is written, and on how many training samples it was fitted if not on all."""
    facts = _written(config.preprocessing)
    if _kind(config) in ("text", "documents"):  # which have nothing to normalise
        del facts["normalize"]
    if _kind(config) == "documents":  # what is absent is the default
        facts = {"vocabulary": VOCABULARY, "maxLength": LENGTH} | facts
    if config.chosen is not None:  # the condition that entries share is what was searched, and not what was found
        for path in config.chosen:
            facts = removed(facts, path.split(".")[1:])
        facts = facts | {"searched": list(config.chosen)}
    fitted = dataset.fitted_samples
    return facts if fitted is None else facts | {"fittedSamples": fitted}


def _evaluation_facts(config: TrialConfig, metric: Metric) -> dict[str, Any]:
    facts: dict[str, Any] = {"protocol": EVALUATION_PROTOCOL}
    if "batch_size" in metric.parameters:
        facts["minRunSeconds"] = config.evaluation.inference.min_run_seconds
    part, _, field = metric.needs.partition(".")
    if part == "evaluation":
        facts[field] = _written(config.evaluation).get(field)
    if metric.needs == OFFLINE:
        facts["minRunSeconds"] = config.evaluation.inference.min_run_seconds
    return facts


def _budget_facts(config: TrialConfig, metric: Metric) -> dict[str, Any]:
    """The budget. The target stops no training, so it is included only if the time to reach it is measured."""
    facts = _written(config.budget)
    if metric.name != "time_to_target_seconds":
        facts.pop("target", None)
    elif "target" in facts:
        name = facts["target"]["metric"]
        facts["target"]["metric"] = by_name(config.declared or ()).get(name) or first_name(name)
    return facts


def _resources_facts(resources: GrantedResources, observed: Observed) -> dict[str, Any]:
    """The share of the machine. If the executor observed how many trials shared it, its number counts.

    On a cluster it is chance how many trials ran on one node. So there it counts only whether the node was shared.
    """
    facts = resources.model_dump(mode="json")
    if observed.shared is not None:
        facts["concurrent_trials"] = SEVERAL if observed.shared else 1
    elif observed.concurrent_trials is not None:
        facts["concurrent_trials"] = observed.concurrent_trials
    return facts


def _dataset_words(facts: Mapping[str, Any]) -> str:
    train, validation, _ = facts["samples"]
    # The data may declare their own validation split, so its size says more than the fraction that was asked for.
    # Counts that no data can have are excluded elsewhere, and are shown here like all others.
    some = train >= 0 and validation > 0
    held_out = f", {validation / (train + validation):.0%} held out" if some else ", nothing held out"
    size = f" at {facts['imageSize']} pixels" if "imageSize" in facts else ""
    window = f" in windows of {facts['window']} {facts['tokens']}" if "window" in facts else ""
    window += f" in clips of {facts['seconds']:g} s" if "seconds" in facts else ""
    return f"{facts['name']} {facts['digest'].removeprefix('sha256:')[:8]}{size}{window}{held_out}"


def _preprocessing_words(facts: Mapping[str, Any]) -> str:
    parts = []
    if "logMel" in facts:
        parts.append(_call("log-mel", facts["logMel"]))
    if "normalize" in facts:
        parts.append(_SCALED[facts.get("scaling")] if facts["normalize"] else "not normalised")
    if "vocabulary" in facts:
        parts.append(f"{facts['vocabulary']:,} words")
    if "maxLength" in facts:
        parts.append(f"the first {facts['maxLength']:,} of a text")
    parts += [f"{word} {facts[field]}" for field, word in _PARTS.items() if field in facts]
    parts += [
        _call(augmentation.get("name", "augmentation"), augmentation.get("args", {}))
        for augmentation in facts.get("augmentations", ())
    ]
    if "featureSelection" in facts:
        selection = dict(facts["featureSelection"])
        parts.append(_call(selection.pop("method", "feature selection"), selection))
    if "reduction" in facts:
        reduction = dict(facts["reduction"])
        parts.append(_call(reduction.pop("method", "reduction"), reduction))
    if "searched" in facts:
        parts.append(f"searched: {', '.join(path.removeprefix('preprocessing.') for path in facts['searched'])}")
    if "fittedSamples" in facts:
        parts.append(f"fitted on {facts['fittedSamples']:,} samples")
    return ", ".join(parts)


_PARTS = {"imputation": "imputed by", "encoding": "encoded by"}
_SCALED = {None: "normalised", "StandardScaler": "normalised", "MinMaxScaler": "scaled from 0 to 1"}


def _call(name: str, arguments: Mapping[str, Any]) -> str:
    """A name with its arguments, as in Python."""
    return name + (f"({', '.join(f'{key}={value}' for key, value in arguments.items())})" if arguments else "")


def _evaluation_words(facts: Mapping[str, Any]) -> str:
    """The load of queries; other facts of the evaluation are the same on most boards."""
    if serving := facts.get("serving"):
        most = f", batches ≤ {serving['maxBatchSize']}" if serving["maxBatchSize"] > 1 else ""
        return f"{serving['arrivalRate']:g} queries/s{most}"
    if offline := facts.get("offline"):
        return f"batches ≤ {offline['maxBatchSize']}"
    return ""


def _budget_words(facts: Mapping[str, Any]) -> str:
    epochs = facts["maxEpochs"]
    words = f"≤ {epochs} epoch{'' if epochs == 1 else 's'}"
    if "maxSteps" in facts:
        words += f", ≤ {facts['maxSteps']:,} step{'' if facts['maxSteps'] == 1 else 's'}"
    if "maxSeconds" in facts:
        words += f", ≤ {facts['maxSeconds']:g} s"
    if "target" in facts:
        name = present_name(facts["target"]["metric"])
        metric = metric_of(name)
        words += f", to {label_of(name)}"
        words += (
            "" if metric is None else f" {'≥' if metric.direction == 'higher' else '≤'} {facts['target']['value']:g}"
        )
    return words


def _hardware_words(facts: Mapping[str, Any]) -> str:
    return str(facts["accelerator"] or facts["cpu_model"])


def _software_words(facts: Mapping[str, Any]) -> str:
    return str(facts["framework"])


def _resources_words(facts: Mapping[str, Any]) -> str:
    parts = [f"{facts['cpus']:g} CPU{'' if facts['cpus'] == 1 else 's'}"]
    if facts["accelerators"]:
        parts.append(f"{facts['accelerators']} GPU{'' if facts['accelerators'] == 1 else 's'}")
    if facts["concurrent_trials"] != 1:
        parts.append(f"{facts['concurrent_trials']} trials at once")
    return ", ".join(parts)


_WORDS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "dataset": _dataset_words,
    "preprocessing": _preprocessing_words,
    "evaluation": _evaluation_words,
    "budget": _budget_words,
    "hardware": _hardware_words,
    "software": _software_words,
    "resources": _resources_words,
}

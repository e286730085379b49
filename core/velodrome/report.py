"""How your own training program reports to Velodrome. Uses only the standard library: any image and framework works.

    from velodrome import report

    trial = report.trial()
    trial.dataset("digits", digest=report.digest(train=(x, y), test=(u, v)), …)
    for epoch in trial.epochs():
        with trial.training():
            …
        trial.epoch(epoch, train_loss=loss, samples=len(x), validation={"accuracy": 0.97})
    trial.predictions(labels, predicted)
    trial.result({"accuracy": 0.98})

Each call appends a line of JSON to the file that VELODROME_REPORT names. Without that variable, it writes the line to
standard output, so that the program also runs by itself. docs/own-code.md describes the lines, for other languages.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import statistics
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, SupportsFloat, SupportsIndex

from velodrome.keys import ENV_REPORT, ENV_TRIAL
from velodrome.metrics.calls import call_times, fastest_batch, too_few
from velodrome.metrics.catalogue import MetricKey, by_name, may_be_declared, without_rounding
from velodrome.metrics.counts import ClassCounts, share
from velodrome.metrics.scalars import number, whole
from velodrome.metrics.served import batch_sizes, served_latency

Whole = SupportsIndex | SupportsFloat  # of any library; a fraction is refused


class Array(Protocol):
    """The part of a NumPy array that this module uses."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def astype(self, dtype: str) -> Any: ...


@dataclass
class TrialReport:
    """One trial and its stopwatch. Without instructions, each field has the default for a run by hand.

    `data` is the folder that holds the data set's files, `cpus` the number of threads to compute with, `metrics` the
    keys that the race measures, and `declared` the keys of the metrics that spec.metrics declares. `conditions` has
    dataset, preprocessing, budget, training and evaluation, as in the BenchmarkJob. `parameters` has what a search
    chose, by the names in spec.search.parameters. `missing` has why `time_inference` found no value, by metric key.
    """

    entry: str = "by-hand"
    repeat: int = 0
    seed: int = 0
    cpus: int = 1
    data: str = "."
    metrics: Sequence[str] = ()
    conditions: Mapping[str, Any] = field(default_factory=dict)
    path: str | None = None
    clock: Callable[[], float] = time.perf_counter
    seconds: float = 0.0
    samples: int = 0
    done: int = 0
    time_to_target: float | None = None
    validation_samples: int | None = None
    test_samples: int | None = None
    declared: Sequence[str] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)

    @property
    def training_parameters(self) -> Mapping[str, Any]:
        """The values of `spec.training`: batchSize, optimizer, regularization and so on."""
        found: Mapping[str, Any] = self.conditions.get("training", {})
        return found

    def epochs(self) -> Iterator[int]:
        """1, 2, … up to `budget.maxEpochs`; ends earlier once `budget.maxSeconds` of training are over."""
        budget = self.conditions.get("budget", {})
        most = budget.get("maxSeconds")
        for epoch in range(1, budget.get("maxEpochs", 1) + 1):
            if most is not None and self.seconds >= most:
                return
            yield epoch

    @contextmanager
    def training(self) -> Iterator[None]:
        """Times the code inside as training time. Load data and evaluate outside."""
        begin = self.clock()
        try:
            yield
        finally:
            self.seconds += self.clock() - begin

    def dataset(
        self,
        name: str,
        *,
        digest: str,
        train_samples: Whole,
        validation_samples: Whole,
        test_samples: Whole,
        shape: Sequence[Whole],
        classes: Sequence[str],
    ) -> None:
        """Reports which data were read. Values are ranked together only if the digests agree (`digest`).

        Raises:
            ValueError: a count is not a whole number; nothing was reported.
        """
        validation, test = whole(validation_samples, "validation_samples"), whole(test_samples, "test_samples")
        self._write(
            type="dataset",
            name=name,
            digest=digest,
            train_samples=whole(train_samples, "train_samples"),
            validation_samples=validation,
            test_samples=test,
            shape=[whole(size, "shape") for size in shape],
            classes=[str(label) for label in classes],
        )
        self.validation_samples, self.test_samples = validation, test

    def software(self, framework: str, libraries: Mapping[str, str] | None = None) -> None:
        """Reports the framework, such as `numpy 2.4.1`. Speeds are ranked together only if it agrees."""
        self._write(type="software", framework=framework, libraries=dict(libraries or {}))

    def epoch(
        self,
        epoch: Whole,
        *,
        train_loss: SupportsFloat,
        samples: Whole,
        learning_rate: SupportsFloat = 0.0,
        validation: Mapping[str, SupportsFloat] | None = None,
    ) -> None:
        """Reports an epoch that has ended, with its number of samples and its values on the validation split.

        Numbers may come from any library: a single value, such as a NumPy scalar or a tensor without axes, is accepted.

        Raises:
            ValueError: a value is not a finite number, or outside its metric's range; nothing was reported.
        """
        values = self._possible(validation or {}, "validation", self.validation_samples)
        done, more = whole(epoch, "epoch"), whole(samples, "samples")
        loss, rate = number(train_loss, "train_loss"), number(learning_rate, "learning_rate")
        self.done = done
        self.samples += more
        self._look_at_target(values)
        self._write(
            type="epoch",
            epoch=done,
            seconds=self.seconds,
            train_loss=loss,
            learning_rate=rate,
            samples_per_second=self.samples / self.seconds if self.seconds else 0.0,
            validation=values,
        )

    def time_inference(self, predict: Callable[[int], object]) -> dict[str, float]:
        """Latency and throughput of `predict(batch_size)`, for the batch sizes of the race, by metric key; and latency
        as served and the highest throughput, if the race asks for them.

        `predict` classifies one batch and waits for the answer. It is called once before the timing starts, and then as
        long and as often as for Velodrome's own models. `result` says why a value is missing.
        """
        evaluation = self.conditions.get("evaluation", {})
        inference = evaluation.get("inference", {})
        found: dict[str, float] = {}
        for size in inference.get("batchSizes", [1]):
            predict(size)
            times = call_times(lambda size=size: predict(size), inference.get("minRunSeconds", 1.0), self.clock)  # type: ignore[misc]
            found[f"inference_samples_per_second{{batch_size={size}}}"] = size * len(times) / sum(times)
            quantiles = statistics.quantiles(times, n=100, method="inclusive")
            for percent in (50, 90, 99):
                if too_few(times, percent) is None:
                    found[f"latency_p{percent}_seconds{{batch_size={size}}}"] = quantiles[percent - 1]
        if offline := evaluation.get("offline"):
            rate, best = fastest_batch(
                predict, batch_sizes(offline["maxBatchSize"]), inference.get("minRunSeconds", 1.0), self.clock
            )
            found |= {"offline_samples_per_second": rate, "offline_batch_size": float(best)}
        if serving := evaluation.get("serving"):
            served, self.missing = served_latency(
                lambda _, count: predict(count),
                rate=serving["arrivalRate"],
                queries=serving["queries"],
                largest_batch=serving["maxBatchSize"],
                draw=random.Random(self.seed).random,  # noqa: S311 - no secret # nosec B311
                clock=self.clock,
                sleep=time.sleep,
            )
            found |= served
        return found

    def predictions(
        self,
        targets: Iterable[SupportsFloat],
        predicted: Iterable[SupportsFloat],
        *,
        losses: Iterable[SupportsFloat] | None = None,
        groups: Iterable[Whole] | None = None,
    ) -> None:
        """Reports what was predicted for each test sample, in the order of the test split, so that entries can be
        compared sample by sample: the right classes, numbered from 0, and the predicted ones; or values and predicted
        values. `losses` are cross-entropies in nats. `groups` has a number for the group that each sample is of.

        `evaluation.keepSamples` says what is kept. `accuracy` must be that of the same predictions.

        Raises:
            ValueError: the lengths differ, or a value is not a finite number; nothing was reported.
        """
        line: dict[str, Any] = {
            "targets": [number(value, "targets") for value in targets],
            "predicted": [number(value, "predicted") for value in predicted],
        }
        if losses is not None:
            line["losses"] = [number(value, "losses") for value in losses]
        if groups is not None:
            line["groups"] = [whole(value, "groups") for value in groups]
        for name, values in line.items():
            if len(values) != len(line["targets"]):
                raise ValueError(f"{name} has {len(values)} samples, and targets has {len(line['targets'])}")
        self._write(type="predictions", **line)

    def result(self, metrics: Mapping[str, SupportsFloat], unavailable: Mapping[str, str] | None = None) -> None:
        """Reports the final values, by metric key. Training time and throughput are added from the stopwatch.

        Raises:
            ValueError: a value is not a finite number, or outside its metric's range, or no trial of the race has such
            a
                key; nothing was reported.
        """
        values = self._possible(metrics, "metrics", self.test_samples)
        if self.seconds:
            values.setdefault("train_seconds", self.seconds)
            values.setdefault("train_samples_per_second", self.samples / self.seconds)
        if self.time_to_target:
            values.setdefault("time_to_target_seconds", self.time_to_target)
        reasons = {key: why for key, why in self.missing.items() if key not in values} | dict(unavailable or {})
        self._write(type="result", metrics=values, unavailable=reasons, epochs=self.done)

    def _look_at_target(self, validation: Mapping[str, float]) -> None:
        target = self.conditions.get("budget", {}).get("target")
        if self.time_to_target is not None or not target or target["metric"] not in validation:
            return
        value, wanted = validation[target["metric"]], target["value"]
        higher = self._key(target["metric"]).metric.direction == "higher"
        if value >= wanted if higher else value <= wanted:
            self.time_to_target = self.seconds

    def _key(self, name: str) -> MetricKey:
        """The key of a metric by the name that a program reports it by.

        Raises:
            ValueError: neither the catalogue nor the job has such a metric.
        """
        return MetricKey.parse(by_name(self.declared).get(name, name))

    def _possible(self, values: Mapping[str, SupportsFloat], where: str, samples: int | None) -> dict[str, float]:
        """The values as floats, without visible rounding of float32. A run by hand may report any name.

        Raises:
            ValueError: a key names no metric, or a value is not a finite number, or outside its metric's range.
        """
        found: dict[str, float] = {}
        sizes = self.conditions.get("evaluation", {}).get("inference", {}).get("batchSizes")
        for name, given in values.items():
            value = found[name] = without_rounding(name, number(given, f"{where}.{name}"), samples)
            if self.path is None and may_be_declared(name):
                continue
            key = self._key(name)
            why = key.metric.impossible(value)
            size = dict(key.parameters).get("batch_size")
            if why is None and sizes and size is not None and int(size) not in sizes:
                why = f"batch size {size} is none of evaluation.inference.batchSizes: {', '.join(map(str, sizes))}"
            if why is not None:
                raise ValueError(f"{where}.{name}: {why}")
        return found

    def _write(self, **line: Any) -> None:
        text = json.dumps(line, allow_nan=False)
        if self.path is None:
            sys.stdout.write(f"{text}\n")
            return
        with open(self.path, "a", encoding="utf-8") as file:  # noqa: PTH123 - one write to the end of the file
            file.write(f"{text}\n")


Trial = TrialReport  # its name in programs that were written for version 0.1.0


def trial(environ: Mapping[str, str] = os.environ) -> TrialReport:
    """The trial of this process. In a run by hand, a trial with seed 0 and one epoch."""
    path = environ.get(ENV_TRIAL)
    if not path:
        return TrialReport()
    with open(path, encoding="utf-8") as file:  # noqa: PTH123 - pathlib costs an import
        facts = json.load(file)
    names = ("entry", "repeat", "seed", "cpus", "data", "metrics", "conditions")
    declared = facts.get("declared", ())  # runners before 0.2.0 know no metrics of a job
    chosen = facts.get("parameters", {})  # runners before 0.2.0 know no search
    return TrialReport(
        path=environ.get(ENV_REPORT), declared=declared, parameters=chosen, **{name: facts[name] for name in names}
    )


def digest(*, train: tuple[Array, Array], test: tuple[Array, Array]) -> str:
    """The digest of a data set, as Velodrome computes it: each split is (images, labels) as NumPy arrays.

    Images are 8-bit values of shape n x channels x height x width, before any preprocessing. `train` is the training
    split as it was published, before a validation split is taken out of it.
    """
    hasher = hashlib.sha256()
    for name, (images, labels) in (("train", train), ("test", test)):
        if len(images.shape) != 4:
            raise ValueError(
                f"images of the {name} split have {len(images.shape)} axes: give n x channels x height x width"
            )
        hasher.update(name.encode("ascii"))
        hasher.update(struct.pack("<4q", *images.shape))
        hasher.update(images.astype("<u1").tobytes())
        hasher.update(labels.astype("<i8").tobytes())
    return f"sha256:{hasher.hexdigest()}"


def classification(labels: Sequence[int], predicted: Sequence[int]) -> dict[str, float]:
    """Accuracy, and macro-averaged precision, recall and F1, as the catalogue of metrics defines them.

    Classes that occur neither in the labels nor in the predictions are left out of the averages.
    """
    pairs = [(int(label), int(guess)) for label, guess in zip(labels, predicted, strict=True)]
    if not pairs:
        raise ValueError("there are no samples to score")
    names = sorted({name for pair in pairs for name in pair})
    hits = Counter(label for label, guess in pairs if label == guess)
    guessed, there = Counter(guess for _, guess in pairs), Counter(label for label, _ in pairs)
    counts = ClassCounts(*([each[name] for name in names] for each in (hits, guessed, there)))
    found = {"accuracy": share(sum(counts.hits), len(pairs))}
    for metric in ("precision", "recall", "f1"):
        found[metric] = counts.score(MetricKey(metric)) or 0.0
    return found

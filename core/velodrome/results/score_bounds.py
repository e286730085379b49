"""Bounds of what a report says of each test sample: it must agree with everything else in the report. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import compress
from typing import NamedTuple

from velodrome.metrics.counts import share
from velodrome.results.records import DatasetFacts
from velodrome.results.scores import LARGEST_LOSS, MOST_CHARACTERS, SampleScores, SampleSet, labels_digest

# How far a mean of the kept numbers may be from the reported one: they are rounded to half precision.
_RELATIVE, _ABSOLUTE = 0.01, 0.001


Confusion = Sequence[Sequence[int]]


def impossible_scores(
    scores: SampleScores,
    facts: DatasetFacts | None,
    metrics: Mapping[str, float],
    confusion: Confusion | None,
    task: str,
) -> Iterator[str]:
    """Each field of what was kept of the test samples that no trial of this task can have, and why. The trial read the
    data of these facts, and measured these metrics and this confusion matrix.
    """
    if facts is None:
        yield "scores: they are of no data set"
        return
    if scores.of.samples != facts.test_samples:
        yield f"scores.of.samples: {scores.of.samples}, and dataset.test_samples is {facts.test_samples}"
    if scores.of.dataset != facts.digest:
        yield f"scores.of.dataset: {scores.of.dataset} is not the digest of the data set, {facts.digest}"
    if scores.characters > MOST_CHARACTERS:
        yield f"scores: {scores.characters} characters, and {MOST_CHARACTERS} are the most"
    try:
        if task == "classification":
            yield from _of_classification(scores, len(facts.classes), metrics, confusion)
        else:
            yield from _of_regression(scores, metrics)
        scores.of.group_of_each()
    except ValueError as error:
        yield f"scores.{error}"


def _of_classification(
    scores: SampleScores, classes: int, metrics: Mapping[str, float], confusion: Confusion | None
) -> Iterator[str]:
    bits = scores.right_bits()
    if bits is None or scores.of.labels is None or scores.errors is not None:
        yield "scores: in classification it has right and of.labels, and no errors"
        return
    samples, hits = scores.of.samples, int.from_bytes(bits, "big").bit_count()
    accuracy = metrics.get("accuracy")
    if accuracy is not None and accuracy != share(hits, samples):
        yield (
            f"scores.right: {hits} of {samples} samples are right, which is an accuracy of {share(hits, samples)!r}, "
            f"and metrics.accuracy is {accuracy!r}: report both of the same predictions"
        )
    named = _named(scores.of)
    if named.highest >= classes:
        yield f"scores.of.labels: there is a class {named.highest}: classes are 0 to {classes - 1}"
        return
    if named.digest != scores.of.targets:
        yield "scores.of.targets: it is not the digest of the labels"
    if confusion is not None:
        yield from _of_confusion(confusion, named, bits)
    losses = scores.loss_of_each()
    if losses is not None:
        yield from _sizes("losses", losses)
        if max(losses) < LARGEST_LOSS:
            yield from _mean("losses", math.fsum(losses) / samples, metrics, "loss")


class _Named(NamedTuple):
    """The classes of a set's samples: each, how often each occurs, the highest, and their digest."""

    labels: tuple[int, ...]
    there: Mapping[int, int]
    highest: int
    digest: str


@lru_cache(maxsize=32)  # all trials of a job have the same set
def _named(of: SampleSet) -> _Named:
    labels = of.class_of_each() or ()
    return _Named(labels, Counter(labels), max(labels), labels_digest(labels))


_ZEROS_AND_ONES = bytes.maketrans(b"01", b"\0\1")


def _of_confusion(confusion: Confusion, named: _Named, bits: bytes) -> Iterator[str]:
    each = f"{int.from_bytes(bits, 'big'):0{8 * len(bits)}b}".encode().translate(_ZEROS_AND_ONES)
    right = Counter(compress(named.labels, each))
    for label, row in enumerate(confusion):
        if (sum(row), row[label]) != (named.there.get(label, 0), right[label]):
            yield (
                f"scores.right: {right[label]} of {named.there.get(label, 0)} samples of class {label} are right, and "
                f"confusion has {row[label]} of {sum(row)}"
            )


def _of_regression(scores: SampleScores, metrics: Mapping[str, float]) -> Iterator[str]:
    errors = scores.error_of_each()
    if errors is None or scores.right is not None or scores.losses is not None or scores.of.labels is not None:
        yield "scores: in regression it has errors alone"
        return
    yield from _sizes("errors", errors)
    yield from _mean("errors", math.fsum(errors) / len(errors), metrics, "mae")


def _sizes(field: str, values: Sequence[float]) -> Iterator[str]:
    wrong = next((place for place, value in enumerate(values) if not 0 <= value < math.inf), None)
    if wrong is not None:
        yield f"scores.{field}: that of sample {wrong} is {values[wrong]!r}, and none is below 0 or not finite"


def _mean(field: str, mean: float, metrics: Mapping[str, float], metric: str) -> Iterator[str]:
    reported = metrics.get(metric)
    if reported is not None and not math.isclose(mean, reported, rel_tol=_RELATIVE, abs_tol=_ABSOLUTE):
        yield f"scores.{field}: their mean is {mean:g}, and metrics.{metric} is {reported:g}"

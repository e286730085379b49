"""Results with scores of their test samples, for tests."""

from __future__ import annotations

from collections.abc import Sequence

from velodrome.results.records import TrialRecord
from velodrome.results.scores import (
    SampleScores,
    SampleSet,
    labels_digest,
    packed_bits,
    packed_errors,
    packed_groups,
    packed_labels,
    packed_losses,
    values_digest,
)


def scored(
    record: TrialRecord,
    right: Sequence[bool],
    *,
    losses: Sequence[float] | None = None,
    labels: Sequence[int] | None = None,
    groups: Sequence[int] | None = None,
    digest: str | None = None,
) -> TrialRecord:
    """The record of a trial that was right on these test samples, which are of each class in turn."""
    facts = record.result.dataset
    assert facts is not None
    classes = labels or [place % max(1, len(facts.classes)) for place in range(len(right))]
    facts = facts.model_copy(update={"test_samples": len(right), "digest": digest or facts.digest})
    of = SampleSet(
        dataset=facts.digest,
        samples=len(right),
        targets=labels_digest(classes),
        labels=packed_labels(classes),
        groups=None if groups is None else packed_groups(groups),
    )
    scores = SampleScores(of=of, right=packed_bits(right), losses=None if losses is None else packed_losses(losses))
    metrics = {**record.result.metrics, "accuracy": sum(right) / len(right)}
    update = {"scores": scores, "dataset": facts, "metrics": metrics, "confusion": None}
    return record.model_copy(update={"result": record.result.model_copy(update=update)})


def with_errors(record: TrialRecord, errors: Sequence[float]) -> TrialRecord:
    """The record of a trial of a regression with these errors."""
    facts = record.result.dataset
    assert facts is not None
    of = SampleSet(
        dataset=facts.digest, samples=len(errors), targets=values_digest([float(one) for one in range(len(errors))])
    )
    update = {"scores": SampleScores(of=of, errors=packed_errors(errors))}
    return record.model_copy(update={"result": record.result.model_copy(update=update)})

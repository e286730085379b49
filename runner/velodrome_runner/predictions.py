"""What a program of one's own predicted, as what is kept of each test sample. Pure; does not import torch."""

from __future__ import annotations

from collections.abc import Sequence

from velodrome.plan import TrialConfig
from velodrome.results.bounds import MOST_CLASSES
from velodrome.results.records import DatasetFacts
from velodrome.results.scores import (
    SampleScores,
    keeping,
    packed_bits,
    packed_errors,
    packed_losses,
    sample_set,
    within_a_report,
)
from velodrome_runner.lines import PredictionsLine


def kept_of(line: PredictionsLine, config: TrialConfig, facts: DatasetFacts) -> SampleScores | None:
    """What the job asks to keep of these predictions.

    Raises:
        ValueError: a target or a prediction is no class; the message starts with the field.
    """
    what = keeping(config.task_name, config.evaluation.keep_samples, len(line.targets))
    if what == "none":
        return None
    if config.task_name == "regression":
        of = sample_set(facts.digest, line.targets, line.groups, labelled=False)
        errors = [abs(guess - target) for guess, target in zip(line.predicted, line.targets, strict=True)]
        return within_a_report(SampleScores(of=of, errors=packed_errors(errors)))
    labels, guesses = _classes("targets", line.targets), _classes("predicted", line.predicted)
    of = sample_set(facts.digest, labels, line.groups, labelled=True)
    right = packed_bits(guess == label for guess, label in zip(guesses, labels, strict=True))
    losses = packed_losses(line.losses) if what == "losses" and line.losses is not None else None
    return within_a_report(SampleScores(of=of, right=right, losses=losses))


def _classes(field: str, values: Sequence[float]) -> list[int]:
    for place, value in enumerate(values):
        if not (0 <= value < MOST_CLASSES and float(value).is_integer()):
            raise ValueError(f"{field}: that of sample {place} is {value:g}, and classes are whole numbers from 0")
    return [int(value) for value in values]

"""Two entries compared sample by sample: who is better, as an answer to each of three questions, and on which samples.
Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from velodrome.stats.persample import Answer, EntryScores, PairedAnswers, Question, compare_samples
from velodrome.stats.samples import Floats, Integers
from velodrome.text import counted

# What is compared of each sample: whether it is right, its cross-entropy, or its error or that squared (regression).
Measure = Literal["accuracy", "loss", "mae", "mse"]
MEASURES: tuple[Measure, ...] = get_args(Measure)

ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class SampleRow:
    """One test sample, by its place in the test split: its class, and the mean score of each side's trials."""

    sample: int
    label: str
    a: float
    b: float


@dataclass(frozen=True, slots=True)
class ClassRow:
    """The samples of one class: the mean scores, and on how many samples each side is better."""

    label: str
    samples: int
    a: float
    b: float
    a_better: int
    b_better: int


@dataclass(frozen=True, slots=True)
class Pairing:
    """Entry `a` against entry `b`. `lost` are the samples on which b is worse, `gained` those on which it is better;
    the largest differences first. `equal` counts the others.
    """

    a: str
    b: str
    measure: Measure
    mean_a: float
    mean_b: float
    answers: PairedAnswers
    lost: tuple[SampleRow, ...]
    gained: tuple[SampleRow, ...]
    equal: int
    classes: tuple[ClassRow, ...]

    @property
    def percent(self) -> bool:
        """Whether scores are shares, which are shown in per cent."""
        return self.measure == "accuracy"


def paired(
    a: EntryScores,
    b: EntryScores,
    measure: Measure,
    labels: Sequence[int] | None = None,
    classes: Sequence[str] = (),
    groups: Sequence[int] | None = None,
) -> Pairing:
    """The comparison of two entries' scores of the same samples. `labels` are the samples' places in `classes`.

    Raises:
        ValueError: the numbers of samples differ.
    """
    of_group = None if groups is None else np.asarray(groups, dtype=np.int64)
    answers = compare_samples(a, b, of_group, 1 - ALPHA, binary=measure == "accuracy")
    of_a, of_b = a.of(answers.seeds_a).mean(axis=0), b.of(answers.seeds_b).mean(axis=0)
    better = (of_a - of_b) if measure == "accuracy" else (of_b - of_a)
    names = [""] * len(of_a) if labels is None else [_named(classes, label) for label in labels]
    order = np.argsort(-np.abs(better), kind="stable")
    rows = {int(at): SampleRow(int(at), names[at], float(of_a[at]), float(of_b[at])) for at in order if better[at]}
    lost = tuple(row for at, row in rows.items() if better[at] > 0)
    gained = tuple(row for at, row in rows.items() if better[at] < 0)
    by_class = () if labels is None else _by_class(np.asarray(labels), classes, of_a, of_b, better)
    equal = len(of_a) - len(rows)
    means = float(of_a.mean()), float(of_b.mean())
    return Pairing(a.name, b.name, measure, *means, answers, lost, gained, equal, by_class)


def _named(classes: Sequence[str], label: int) -> str:
    return classes[label] if label < len(classes) else str(label)


def _by_class(
    labels: Integers, classes: Sequence[str], of_a: Floats, of_b: Floats, better: Floats
) -> tuple[ClassRow, ...]:
    found = []
    for label in np.unique(labels):
        own = labels == label
        found.append(
            ClassRow(
                _named(classes, int(label)),
                int(own.sum()),
                float(of_a[own].mean()),
                float(of_b[own].mean()),
                int((better[own] > 0).sum()),
                int((better[own] < 0).sum()),
            )
        )
    return tuple(found)


def question(found: Pairing, which: Question) -> str:
    """The question in words, for these two entries."""
    answers = found.answers
    trained = f"{len(answers.seeds_a)} of {found.a}, {len(answers.seeds_b)} of {found.b}"
    others = "other samples like these" if answers.groups is None else "samples of other groups like these"
    return _QUESTIONS[which].format(trained=trained, others=others)


_QUESTIONS: Mapping[Question, str] = {
    "weights": "These trained weights ({trained}), on {others}",
    "recipe": "These recipes, trained with other seeds, on {others}",
    "test_set": "These recipes, trained with other seeds, on these same samples",
}


def verdict(found: Pairing, answer: Answer) -> str:
    """What the scores say about the question, in words."""
    if answer.p_value is None or answer.low is None or answer.high is None:
        return f"not known: {answer.why_not}"
    span = f"95 %: {difference(found, answer.low)} to {difference(found, answer.high, unit=True)}"
    if answer.p_value > ALPHA:
        return f"no difference is shown ({span}; {p_text(answer.p_value)})"
    better = found.a if (answer.difference > 0) == (found.measure == "accuracy") else found.b
    by = difference(found, abs(answer.difference), unit=True, sign=False)
    return f"{better} is better, by {by} ({span}; {p_text(answer.p_value)})"


def difference(found: Pairing, value: float, *, unit: bool = False, sign: bool = True) -> str:
    """A difference of scores: points of a per cent, nats, or the target's unit."""
    number = f"{100 * value:{'+' if sign else ''}.2f}" if found.percent else f"{value:{'+' if sign else ''}.4g}"
    return f"{number} {_UNITS[found.measure]}".rstrip() if unit else number


_UNITS: Mapping[Measure, str] = {"accuracy": "points", "loss": "nats", "mae": "", "mse": ""}


def score(found: Pairing, value: float) -> str:
    """A mean score, with its unit."""
    return f"{100 * value:.2f} %" if found.percent else f"{value:.4g} {_UNITS[found.measure]}".rstrip()


def of_seeds(found: Pairing, value: float, seeds: int) -> str:
    """A sample's mean score over the trials of one side: how many of them were right, or the mean."""
    return f"{round(value * seeds)} of {seeds}" if found.percent else f"{value:.4g}"


def p_text(value: float) -> str:
    """A p-value with two digits."""
    return "p < 1e-12" if value < 1e-12 else f"p = {value:.2g}"


def lost_words(found: Pairing) -> str:
    """On how many samples each side is better, in a sentence."""
    if not found.lost and not found.gained:
        return "Both do the same on every sample."
    worse, better = ("right less often", "more often") if found.percent else ("worse", "better")
    lost, gained = counted(len(found.lost), "sample"), len(found.gained)
    return f"{found.b} is {worse} than {found.a} on {lost}, {better} on {gained}, and equal on {found.equal}."

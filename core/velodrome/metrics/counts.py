"""Metrics that come from counts of samples or pixels, each by one division of whole numbers in double precision. Pure.

Every such metric is computed here. So two entries with the same counts have exactly the same value, and a target that
is reached exactly counts as reached. Uses only the standard library.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import mul

from velodrome.metrics.catalogue import MetricKey

# Means over the classes that occur, and what of each class they are the mean of.
_OF_OCCURRING = {"balanced_accuracy": "recall", "miou": "miou"}


@dataclass(frozen=True, slots=True)
class ClassCounts:
    """Samples or pixels by class: predicted correctly (`hits`), predicted (`guessed`), and occurring (`there`)."""

    hits: Sequence[int]
    guessed: Sequence[int]
    there: Sequence[int]

    def score(self, key: MetricKey) -> float | None:
        """The value of a counted metric; of `precision`, `recall` and `f1` for the key's `average` or `label`.

        - Macro: the mean over classes, without those that neither occur nor are predicted.
        - Weighted: the mean, weighted by how often a class occurs.
        - Micro: the share of samples that are predicted correctly.

        `balanced_accuracy` is the mean recall of the classes that occur. `mcc` is the correlation of predicted and
        right classes (J. Gorodkin, "Comparing two K-category assignments by a K-category correlation coefficient",
        2004).

        `miou` is the mean intersection over union of the classes that occur, as Pascal VOC measures segmentation: of a
        class, hits / (predicted + occurring - hits).

        A ratio with the denominator 0 is 0. A label that does not occur has no value: None.
        """
        if key.name == "mcc":
            return self._correlation()
        parameters = dict(key.parameters)
        if "label" in parameters:
            label = int(parameters["label"])
            return self._of(key.name, label) if self.there[label] else None
        if key.name in _OF_OCCURRING:
            occurring = [label for label, there in enumerate(self.there) if there]
            return math.fsum(self._of(_OF_OCCURRING[key.name], label) for label in occurring) / len(occurring)
        average = parameters.get("average", "macro")
        samples = sum(self.there)
        # The recall of a class, multiplied by how often the class occurs, is its number of hits.
        if average == "micro" or (average == "weighted" and key.name == "recall"):
            return share(sum(self.hits), samples)
        classes = [label for label in range(len(self.there)) if self.there[label] or self.guessed[label]]
        if average == "weighted":
            return math.fsum(self._of(key.name, label) * self.there[label] for label in classes) / samples
        return math.fsum(self._of(key.name, label) for label in classes) / len(classes)

    def _correlation(self) -> float:
        samples = sum(self.there)
        both = samples * sum(self.hits) - sum(map(mul, self.guessed, self.there))
        guessed, there = (samples**2 - sum(count**2 for count in counts) for counts in (self.guessed, self.there))
        # Whole numbers up to here. Their product may be too large for a double, so the roots are taken first.
        return max(-1.0, min(1.0, both / math.sqrt(guessed) / math.sqrt(there))) if guessed and there else 0.0

    def _of(self, name: str, label: int) -> float:
        hits, guessed, there = self.hits[label], self.guessed[label], self.there[label]
        if name == "precision":
            return share(hits, guessed)
        if name == "miou":
            return share(hits, guessed + there - hits)
        return share(hits, there) if name == "recall" else share(2 * hits, guessed + there)


def share(part: int, whole: int) -> float:
    """Part divided by whole; 0 if both are 0."""
    return part / whole if whole else 0.0

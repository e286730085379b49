"""ClassificationTask: one label for each sample, whatever kind of data the sample is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from velodrome.errors import ConfigurationError
from velodrome.metrics.catalogue import MetricKey
from velodrome.metrics.counts import ClassCounts, share
from velodrome.results.bounds import MOST_CONFUSED
from velodrome.spec import Training
from velodrome.tasks import TASKS
from velodrome.vocabulary import Keeping
from velodrome_runner.data import SampleSource, Schema
from velodrome_runner.inputs import Transform
from velodrome_runner.tasks.base import Batch, QualityMeter, Reading, Task, refuse_labels

# Bins of the calibration error, of equal width.
_BINS = 15
# The scores by which samples are ordered, for metrics over all thresholds.
_ORDERED = frozenset({"average_precision", "auroc"})


class ClassificationTask(Task):
    """Cross-entropy over `classes` classes, also for labels that MixUp and CutMix mixed.

    A model returns one logit for each class, (n, classes).
    """

    name = "classification"
    scores = TASKS["classification"].scores
    watched = frozenset({"validation_loss", "accuracy"})

    def __init__(self, classes: int, label_smoothing: float, transform: Transform) -> None:
        super().__init__(transform)
        self.classes = classes
        self.criterion = torch.nn.CrossEntropyLoss(label_smoothing=label_smoothing)

    @classmethod
    def fit(cls, train: SampleSource, schema: Schema, training: Training, transform: Transform) -> Self:
        if schema.classes is None or train.targets.is_floating_point():
            raise ConfigurationError(
                f"the target{f' {schema.target}' if schema.target else ''} is a number, so there are no classes: write "
                "spec.task: regression, or give labels as whole numbers",
                "WrongTask",
            )
        return cls(len(schema.classes), training.regularization.label_smoothing, transform)

    @property
    def told(self) -> Mapping[str, Any]:
        return {"classes": self.classes, "outputs": self.classes}

    def refuse(self, keys: Iterable[str]) -> None:
        refuse_labels(keys, self.classes)

    def problem(self, outputs: Tensor, samples: int) -> str | None:
        if tuple(outputs.shape) == (samples, self.classes):
            return None
        return f"it must return one logit for each class, {(samples, self.classes)}"

    def augment(self, batch: Batch, generator: torch.Generator) -> Batch:
        """The batch with random changes. If samples are mixed, targets are shares of the classes, (n, classes)."""
        batch = super().augment(batch, generator)
        mixing = self.transform.mixing
        return batch if mixing is None else Batch(*mixing(batch.inputs, batch.targets, self.classes, generator))

    def loss(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, int]:
        """The mean cross-entropy for labels (n,), or for shares of the classes (n, classes)."""
        return self.criterion(outputs.float(), targets), len(targets)

    def meter(self, keys: Iterable[str], keeping: Keeping = "none") -> ClassificationMeter:
        return ClassificationMeter(self.classes, keys, keeping)


class ClassificationMeter(QualityMeter):
    """The quality of logits (n, classes) for labels (n,) of 0 to classes - 1.

    - `loss` and `validation_loss`: mean cross-entropy in nats, without label smoothing.
    - `accuracy`: the share of samples whose largest output is the right class. `top5_accuracy`: the share with the
      right class among the five largest outputs, or among all outputs if there are fewer than five classes.
    - `precision`, `recall`, `f1`: macro (the mean leaves out a class that neither occurs nor is predicted, as in
      scikit-learn), `average=micro`, `average=weighted` (by how often a class occurs), or of one class by `label`. A
      ratio with the denominator 0 is 0.
    - `balanced_accuracy` is the mean recall of the classes that occur, and `mcc` Matthews' correlation.
    - `average_precision`: each class's average precision (the sum of precision x the step in recall over all
      thresholds, no interpolation), averaged over the classes that occur. `auroc`: each class against all others,
      averaged over the classes that occur but are not all there is.
    - `calibration_error`: the mean distance between confidence and accuracy over 15 bins of confidence, weighted by
      their samples (C. Guo et al., "On calibration of modern neural networks", 2017).

    Counted metrics are divisions of counts in double precision (`velodrome.metrics.counts`).
    """

    def __init__(self, classes: int, keys: Iterable[str], keeping: Keeping = "none") -> None:
        super().__init__()
        self.classes = classes
        self._keeping = keeping
        self.keys = {text: MetricKey.parse(text) for text in keys}
        self._names = {key.name for key in self.keys.values()}

    @torch.inference_mode()
    def update(self, outputs: Tensor, targets: Tensor) -> None:
        logits = outputs.float()
        called, labels = logits.argmax(1), targets.cpu()
        self.finite = self.finite and bool(logits.isfinite().all())
        self._check(labels)
        # Counted on the CPU: a GPU's bincount has no deterministic form.
        guesses = called.cpu()
        for name, values in (("hits", labels[guesses == labels]), ("guessed", guesses), ("there", labels)):
            self.add(name, values.bincount(minlength=self.classes))
        if self.classes <= MOST_CONFUSED:
            pairs = (labels * self.classes + guesses).bincount(minlength=self.classes**2)
            self.add("confusion", pairs.view(self.classes, self.classes))
        if self._keeping != "none":
            self.keep("right", guesses == labels)
        if self._keeping == "losses":
            self.keep("losses", F.cross_entropy(logits.double(), targets, reduction="none"))
        if self._names & {"loss", "validation_loss"}:
            self.add("loss", F.cross_entropy(logits.double(), targets, reduction="sum"))
        if "top5_accuracy" in self._names:
            # argmax and topk may choose differently among equal outputs.
            most = logits.topk(min(5, self.classes), dim=1).indices
            self.add("top5", (most == targets[:, None]).sum())
        if "calibration_error" in self._names:
            confidence = logits.double().softmax(1).gather(1, called[:, None]).squeeze(1).cpu()
            place = (confidence * _BINS).ceil().long().clamp(1, _BINS) - 1
            for name, weights in (("confidence", confidence), ("right", (guesses == labels).double())):
                self.add(name, place.bincount(weights, minlength=_BINS))
        if self._names & _ORDERED:
            self.keep("scores", log_odds(logits.double()))
            self.keep("labels", labels)

    def read(self) -> Reading:
        counts = self.counts
        return Reading.of(self.keys, lambda key: self._value(key, counts))

    @property
    def confusion(self) -> tuple[tuple[int, ...], ...] | None:
        matrix = self.sums.get("confusion")
        return None if matrix is None else tuple(map(tuple, matrix.tolist()))

    @property
    def counts(self) -> ClassCounts:
        """The counts of each class."""
        return ClassCounts(*(self.sums[name].tolist() for name in ("hits", "guessed", "there")))

    def _check(self, labels: Tensor) -> None:
        lowest, highest = int(labels.min()), int(labels.max())
        if lowest < 0 or highest >= self.classes:
            raise ConfigurationError(
                f"labels go from {lowest} to {highest}, but the model has {self.classes} classes, 0 to "
                f"{self.classes - 1}",
                "LabelOutOfRange",
            )

    def _value(self, key: MetricKey, counts: ClassCounts) -> float | str:
        samples = sum(counts.there)
        match key.name:
            case "loss" | "validation_loss":
                return float(self.sums["loss"]) / samples
            case "accuracy":
                return share(sum(counts.hits), samples)
            case "top5_accuracy":
                return share(int(self.sums["top5"]), samples)
            case "calibration_error":
                return float((self.sums["confidence"] - self.sums["right"]).abs().sum()) / samples
            case "average_precision":
                return self._over_classes("average_precision_score", counts)
            case "auroc":
                return self._over_classes("roc_auc_score", counts)
        found = counts.score(key)
        return f"no sample is of class {dict(key.parameters)['label']}" if found is None else found

    def _over_classes(self, name: str, counts: ClassCounts) -> float | str:
        """The mean of scikit-learn's score of each class against all others."""
        from sklearn import metrics

        score, samples = getattr(metrics, name), sum(counts.there)
        whole = samples + 1 if name == "average_precision_score" else samples
        classes = [label for label, there in enumerate(counts.there) if 0 < there < whole]
        if not classes:
            return "all samples are of one class"
        scores, labels = self.all("scores").numpy(), self.all("labels").numpy()
        return math.fsum(score(labels == label, scores[:, label]) for label in classes) / len(classes)


def log_odds(logits: Tensor) -> Tensor:
    """log(p / (1 - p)) of each class's softmax p, from logits (n, classes) in double precision.

    It orders samples as p does, and where p is so close to 1 that it is rounded to 1, it still does.
    """
    if logits.shape[1] == 1:
        return logits
    top = logits.argmax(1, keepdim=True)
    others = logits.scatter(1, top, -torch.inf).logsumexp(1, keepdim=True)
    rest = logits - logits.logsumexp(1, keepdim=True)
    # For all but the largest, p is at most 1/2, so 1 - p loses nothing.
    odds = rest - torch.log1p(-rest.exp().clamp(max=1 - np.finfo(np.float64).eps))
    return odds.scatter(1, top, logits.gather(1, top) - others)


TASK = ClassificationTask

"""What a reader should know of an entry's values: conditions that did not hold while they were measured. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from velodrome.metrics.catalogue import MetricKey
from velodrome.store.types import Row, TrialSummary

Trials = Mapping[str, Iterable[TrialSummary]]


def remarks(key: MetricKey, rows: Iterable[Row], trials: Trials) -> dict[tuple[str, str], str]:
    """By job uid and entry, which conditions of a row's trials did not hold. `trials` has those of each job, by uid.

    A deterministic metric depends on no seed and on no neighbour, so it has no remarks.
    """
    if key.metric.deterministic:
        return {}
    found = {}
    for row in rows:
        own = [one for one in trials.get(row.job_uid, ()) if one.entry == row.entry and one.seed in row.samples]
        said = [text for text in (_start(own), _disturbed(own) if depends_on_speed(key) else "") if text]
        if said:
            found[row.job_uid, row.entry] = "; ".join(said)
    return found


def depends_on_speed(key: MetricKey) -> bool:
    """Whether the metric's values change with the machine's speed, and so with what disturbs it."""
    return "hardware" in key.metric.depends_on


def _start(trials: list[TrialSummary]) -> str:
    """Whether seeds started from equal weights. Then they differ by less than new weights would make them differ."""
    known = [one.initial_weights for one in trials if one.initial_weights is not None]
    alike = max((known.count(weights) for weights in set(known)), default=0)
    if alike < 2:
        return ""
    which = f"all {alike}" if alike == len(trials) else f"{alike} of {len(trials)}"
    if any(one.pretrained for one in trials):
        return f"{which} seeds started from the same pretrained weights, and the interval holds for these"
    return f"{which} seeds started from the same weights: if its code sets a seed, the interval is too narrow"


def _disturbed(trials: list[TrialSummary]) -> str:
    said = [one.disturbed for one in trials if one.disturbed]
    if not said:
        return ""
    return f"{len(said)} of {len(trials)} trials were disturbed while they were measured: {said[0]}"

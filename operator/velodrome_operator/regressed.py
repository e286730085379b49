"""The status condition Regressed of a BenchmarkJob that has ended, and the job that confirms it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from velodrome import keys
from velodrome.canonical import digest
from velodrome.spec import BenchmarkJob
from velodrome.text import percent
from velodrome.trends.verdicts import AWAITING_CONFIRMATION, SIGNIFICANTLY_WORSE
from velodrome_operator import shapes
from velodrome_operator.children import Manifest

if TYPE_CHECKING:
    from velodrome.trends.regressions import Comparison

NO_REGRESSION = "NoRegression"
ACCEPTED = "RegressionAccepted"
NOTHING_MEASURED = "NothingMeasured"

# How many comparisons a message names, and how long the message may be: an Event's note has 1,024 characters.
_NAMED = 3
_LONGEST = 900


@dataclass(frozen=True, slots=True)
class Regressed:
    """The content of the condition."""

    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str


def regressed(found: Sequence[Comparison], confirming: str = "") -> Regressed:
    """The condition for a job's comparisons. `confirming` says what follows for those that need a second job.

    True if any entry regressed and no person accepted that. Otherwise Unknown if one waits for a second job, or if
    nothing could be compared. In the last case the reason is the most frequent one among the comparisons.
    """
    worse = sorted((one for one in found if one.verdict == "Regressed" and not one.acknowledged), key=_size)
    if worse:
        kinds = {one.reason for one in worse}
        return Regressed("True", kinds.pop() if len(kinds) == 1 else SIGNIFICANTLY_WORSE, _message(worse))
    awaiting = sorted((one for one in found if one.awaits_confirmation), key=_size)
    if awaiting:
        words = _message(awaiting)
        return Regressed("Unknown", AWAITING_CONFIRMATION, f"{words} {confirming}".strip())
    accepted = [one for one in found if one.verdict == "Regressed"]
    if accepted:
        return Regressed("False", ACCEPTED, _message(sorted(accepted, key=_size)))
    compared = [one for one in found if one.verdict != "Unknown"]
    if not found:
        return Regressed("Unknown", NOTHING_MEASURED, "no entry has a value of an objective")
    if not compared:
        reasons = [one.reason for one in found]
        most = max(dict.fromkeys(reasons), key=reasons.count)
        return Regressed("Unknown", most, _message([one for one in found if one.reason == most]))
    rest = f"; {len(found) - len(compared)} could not be compared" if len(compared) < len(found) else ""
    words = f"{len(compared)} of {len(found)} comparisons show no regression{rest}{_seen(compared)}"
    return Regressed("False", NO_REGRESSION, words)


def _seen(compared: Sequence[Comparison]) -> str:
    """Which changes the comparisons would have shown."""
    sizes = sorted(one.visible for one in compared if one.visible is not None)
    if not sizes:
        return ""
    half, every = (percent(size, "") for size in (sizes[(len(sizes) - 1) // 2], sizes[-1]))
    if half == every:
        return f". A change for the worse of {every} would have been seen"
    return f". A change for the worse of {half} would have been seen in half of them, and one of {every} in all"


def _size(one: Comparison) -> tuple[float, str, str]:
    """A key that sorts by how much worse a comparison is, the worst first."""
    return -abs(one.relative_change or 0.0), one.entry, one.objective


def _message(named: Sequence[Comparison]) -> str:
    alone = [one.sentence for one in named if not one.together]
    said = [*dict.fromkeys(one.together for one in named if one.together), *alone]
    text = " ".join(said[:_NAMED])
    more = f" And {len(said) - _NAMED} more." if len(said) > _NAMED else ""
    return (text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…") + more


def confirms(annotations: Mapping[str, Any] | None) -> str | None:
    """The uid of the job that a job with these annotations was made to confirm."""
    return shapes.text_or_none((annotations or {}).get(keys.ANNOTATION_CONFIRMS))


def confirming(raw: Mapping[str, Any], job: BenchmarkJob, uid: str) -> Manifest:
    """A BenchmarkJob that runs the same again, with seeds that no trial of this job had.

    Its name follows from the job's, so that to make it a second time changes nothing. It has no owner: its results are
    wanted even if the first job is deleted.
    """
    metadata, seed = raw["metadata"], job.spec.trials.fresh_seed
    trials = {name: value for name, value in (raw["spec"].get("trials") or {}).items() if name != "from"}
    found: Manifest = {
        "apiVersion": keys.API_VERSION,
        "kind": keys.KIND,
        "metadata": {
            "name": f"{metadata['name'][:46].rstrip('-')}-confirm-{digest(uid, 8)}",
            "namespace": metadata["namespace"],
            "labels": dict(metadata.get("labels") or {}),
            "annotations": {keys.ANNOTATION_CONFIRMS: uid},
        },
        "spec": {**raw["spec"], "trials": {**trials, "baseSeed": seed}},
    }
    return found

"""Says whether a job is worse than before: from accepted results to a verdict, with its reason, for each entry and
objective.

`velodrome.trends.baselines` decides what is compared, and `velodrome.stats.regression` whether it differs. Reasons:
docs/decisions/0012-regressions-and-change-points.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from velodrome.metrics.catalogue import MetricKey
from velodrome.results.conditions import differences
from velodrome.results.objectives import board_objectives
from velodrome.spec import Regression
from velodrome.stats.regression import Change, holm
from velodrome.trends import verdicts
from velodrome.trends.baselines import Compared, Marks, called, walk
from velodrome.trends.history import JOBS_BACK, BoardHistory, read_history
from velodrome.trends.verdicts import Verdict
from velodrome.units import quantity

if TYPE_CHECKING:
    from velodrome.results.records import JobInfo
    from velodrome.store import Reader

# A sentence names at most this many of the facts in which two cohorts differ.
_FACTS_NAMED = 3


@dataclass(frozen=True, slots=True)
class Comparison:
    """One entry's objective in one job, compared with its baseline.

    - `relative_change` is (new - old) / |old|. Whether a positive change is good depends on the metric.
    - `p_value` is corrected for all comparisons of the job (Holm).
    - `low` and `high` bound the change, at the level that the correction leaves for this comparison. They exclude 0
      exactly if `p_value` is less than alpha.
    - `acknowledged` says that a person accepted the change: no alarm.

    If there is nothing to compare with, the verdict is Unknown, and what is not known is None.
    """

    board: str
    entry: str
    objective: str
    metric_key: str
    cohort_id: str
    verdict: Verdict
    reason: str
    relative_change: float | None
    low: float | None
    high: float | None
    p_value: float | None
    samples: int
    baseline_samples: int
    mean: float | None
    baseline_mean: float | None
    baseline_uid: str | None
    job_uid: str
    sentence: str
    acknowledged: bool

    @property
    def awaits_confirmation(self) -> bool:
        """Whether a second job must confirm this."""
        return self.reason == verdicts.AWAITING_CONFIRMATION and not self.acknowledged


def judge(reader: Reader, uid: str) -> tuple[Comparison, ...]:
    """A verdict for each entry and objective of the job that has values. Empty for an unknown job.

    The rules are those of the job's `spec.regression`. The baseline is an older job of the same board:

    1. the job that the spec names;
    2. else the pinned job;
    3. else the newest job with complete values in the same cohort that is no regression, or an accepted one. So a bad
       level never becomes normal by itself.

    If the rules ask to confirm regressions, the next job that has the values decides. Until then the verdict is
    Unknown, AwaitingConfirmation.

    Raises:
        As the store does.
    """
    job = reader.job(uid)
    if job is None:
        return ()
    found = judge_in(reader, read_history(reader, job.board, uid))
    if not _awaiting(found):
        return found
    history = read_history(reader, job.board, limit=2 * JOBS_BACK)
    own = next((place for place, other in enumerate(history.jobs) if other.uid == uid), len(history.jobs))
    return _confirmed(reader, history, own, found)


def judge_at(reader: Reader, history: BoardHistory, place: int) -> tuple[Comparison, ...]:
    """`judge` for the job at this place of a history. The history has `JOBS_BACK` jobs before it, or all that exist."""
    found = judge_in(reader, history.until(place))
    return _confirmed(reader, history, place, found) if _awaiting(found) else found


def _awaiting(found: tuple[Comparison, ...]) -> bool:
    return any(one.reason == verdicts.AWAITING_CONFIRMATION for one in found)


def judge_in(reader: Reader, history: BoardHistory) -> tuple[Comparison, ...]:
    """`judge` as if the last job of a history were the newest job: no later job confirms anything."""
    job = history.jobs[-1]
    rules, marks = rules_of(job), marks_of(job, history)
    found = [
        (objective.name, compared)
        for objective in board_objectives([job])
        for entry in job.entries
        if (compared := compare_last(history, entry, objective.key, rules, marks)) is not None
    ]
    # A comparison that is not complete yet counts already. So it can't change the verdicts of a running race later.
    to_come = sum(step.reason == verdicts.INCOMPLETE for _, step in found)
    family = [*(step.p_value for _, step in found if step.p_value is not None), *[1.0] * to_come]
    adjusted = iter(holm(family))
    corrected = [_Corrected(step, None if step.p_value is None else next(adjusted), len(family)) for _, step in found]
    return tuple(_comparison(reader, job, name, one, rules) for (name, _), one in zip(found, corrected, strict=True))


@dataclass(frozen=True, slots=True)
class _Corrected:
    """A step with its p-value, corrected for `family` comparisons. `adjusted` is None if the step can't be tested."""

    step: Compared
    adjusted: float | None
    family: int

    def change(self, alpha: float) -> Change | None:
        """The change, bounded at the level that the correction leaves for it. So its bounds agree with the verdict."""
        found, adjusted = self.step.change, self.adjusted
        if found is None or adjusted is None or not found.p_value:
            return found and found.bounded(1 - alpha / max(1, self.family))
        return found.bounded(1 - alpha * found.p_value / adjusted)


def _confirmed(
    reader: Reader, history: BoardHistory, own: int, found: tuple[Comparison, ...]
) -> tuple[Comparison, ...]:
    """The comparisons of a job. Those that await confirmation are decided by the next job that has the values."""
    final = {(one.entry, one.metric_key): one for one in found}
    for place in range(own + 1, len(history.jobs)):
        awaiting = {where for where, one in final.items() if one.reason == verdicts.AWAITING_CONFIRMATION}
        points = (history.point(place, *where) for where in awaiting)
        if not any(point is not None and point.complete for point in points):
            continue
        for later in judge_in(reader, history.until(place)):
            where = later.entry, later.metric_key
            if where in awaiting and later.verdict != "Unknown" and later.cohort_id == final[where].cohort_id:
                final[where] = _decided(final[where], history.jobs[place].name, again=later.verdict == "Regressed")
    return tuple(final.values())


def _decided(one: Comparison, job_name: str, *, again: bool) -> Comparison:
    reason = verdicts.SIGNIFICANTLY_WORSE if again else verdicts.NOT_CONFIRMED
    words = f"worse, as job {job_name} confirmed" if again else f"looked worse, which job {job_name} did not confirm"
    sentence = one.sentence.replace(_VERDICT_WORDS[verdicts.AWAITING_CONFIRMATION], words, 1)
    return replace(one, verdict="Regressed" if again else "Unchanged", reason=reason, sentence=sentence)


def rules_of(job: JobInfo) -> Regression:
    """The job's `spec.regression`."""
    return Regression.model_validate(job.document.get("spec", {}).get("regression") or {})


def marks_of(job: JobInfo, history: BoardHistory) -> Marks:
    """The marks on the job's board. The spec's baseline is a uid, or a name, which means the newest older job of it."""
    named = rules_of(job).baseline
    if named is not None:
        older = [other for other in history.jobs if other.uid != job.uid]
        named = next((other.uid for other in reversed(older) if named in (other.uid, other.name)), named)
    return Marks.of(history.baselines, history.accepted, named)


def compare_last(history: BoardHistory, entry: str, key: MetricKey, rules: Regression, marks: Marks) -> Compared | None:
    """Compares the entry's values in the last job of a history with their baseline. None if the job has no values."""
    job, points = history.jobs[-1], history.points(entry, str(key))
    if not points or points[-1].job_uid != job.uid:
        return None
    return walk(points, key, rules, marks, last_alone=True)[-1]


def _comparison(reader: Reader, job: JobInfo, objective: str, one: _Corrected, rules: Regression) -> Comparison:
    step = one.step
    verdict, reason = outcome(step, rules, one.adjusted)
    found, baseline = one.change(rules.alpha), step.baseline
    return Comparison(
        board=job.board,
        entry=step.point.entry,
        objective=objective,
        metric_key=str(step.key),
        cohort_id=step.point.cohort_id,
        verdict=verdict,
        reason=reason,
        relative_change=found.relative if found else None,
        low=found.low if found else None,
        high=found.high if found else None,
        p_value=one.adjusted,
        samples=len(step.point.values),
        baseline_samples=len(baseline.values) if baseline else 0,
        mean=step.point.mean,
        baseline_mean=baseline.mean if baseline else None,
        baseline_uid=baseline.job_uid if baseline else None,
        job_uid=job.uid,
        sentence=f"{step.point.entry}, {objective}: {_words(reader, one, reason, rules)}",
        acknowledged=step.acknowledged,
    )


def outcome(step: Compared, rules: Regression, adjusted: float | None) -> tuple[Verdict, str]:
    """The verdict with its reason, by the corrected p-value, which may be None."""
    verdict = called(step, rules, adjusted)
    if verdict == "Unknown" or step.change is None:
        return "Unknown", step.reason
    if verdict == "Regressed" and rules.confirm and not step.repeated:
        return "Unknown", verdicts.AWAITING_CONFIRMATION
    if verdict == "Unchanged":
        small = abs(step.change.relative or 0) < rules.min_relative_change
        significant = adjusted is not None and adjusted <= rules.alpha
        return verdict, verdicts.TOO_SMALL if small and significant else verdicts.NOT_SIGNIFICANT
    return verdict, verdicts.SIGNIFICANTLY_WORSE if verdict == "Regressed" else verdicts.SIGNIFICANTLY_BETTER


def _words(reader: Reader, one: _Corrected, reason: str, rules: Regression) -> str:
    step, found = one.step, one.change(rules.alpha)
    point = step.point
    if found is not None and step.baseline is not None and reason in _VERDICT_WORDS:
        unit = step.key.metric.unit
        floor = "; the spread between earlier jobs decided" if found.floor else ""
        numbers = f"n {len(step.baseline.values)} and {len(point.values)}"
        return (
            f"{_VERDICT_WORDS[reason]}: {quantity(unit, found.baseline_mean)} in job {step.baseline.job_name}, now "
            f"{quantity(unit, found.mean)} ({_change_words(found, rules, one.family)}, {numbers}{floor})."
        )
    if reason == verdicts.NEW_COHORT and step.previous_cohort is not None:
        apart = differences(reader.conditions(point.cohort_id), reader.conditions(step.previous_cohort))
        named = "; ".join(str(one) for one in apart[:_FACTS_NAMED]) or "they differ"
        more = f"; and {len(apart) - _FACTS_NAMED} more" if len(apart) > _FACTS_NAMED else ""
        return f"new conditions, so a new baseline starts here ({named}{more})."
    return {
        verdicts.NO_BASELINE: "the first complete result under these conditions: later ones are compared with it.",
        verdicts.NEW_COHORT: "the baseline was measured under other conditions, so nothing compares with it.",
        verdicts.TOO_FEW_SAMPLES: f"fewer than {rules.min_samples} trials on one side say too little.",
        verdicts.INCOMPLETE: "its trials ran different code, so they have no mean."
        if point.mixed_code
        else f"{len(point.values)} of {point.planned} trials gave a value under the same conditions.",
        verdicts.BASELINE_MISSING: "the pinned baseline has no value of it, or lies too far back.",
        verdicts.BASELINE_ZERO: "the baseline is 0, so no change is relative to it.",
    }.get(reason, "too little is known.")


_VERDICT_WORDS = {
    verdicts.SIGNIFICANTLY_WORSE: "worse",
    verdicts.SIGNIFICANTLY_BETTER: "better",
    verdicts.NOT_SIGNIFICANT: "no significant change",
    verdicts.TOO_SMALL: "changed by less than what matters",
    verdicts.AWAITING_CONFIRMATION: "looks worse, which a second job has to confirm",
}


def _change_words(found: Change, rules: Regression, family: int) -> str:
    if found.relative is None or found.low is None or found.high is None:
        return "change unknown"
    level = f"{100 * (1 - rules.alpha):g} % interval"
    corrected = f" corrected for {family} comparisons" if family > 1 else ""
    whole = " of the range" if found.span is not None else ""
    between = f"{100 * found.low:+.2g} to {100 * found.high:+.2g} %"
    return f"{100 * found.relative:+.2g} %{whole}, {level}{corrected} {between}"

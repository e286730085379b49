"""The words of verdicts: one sentence for each comparison, and one for what entries have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from velodrome.results.conditions import differences
from velodrome.spec import Regression
from velodrome.text import percent
from velodrome.trends import verdicts
from velodrome.trends.scales import Of
from velodrome.units import quantity

if TYPE_CHECKING:
    from velodrome.store import Reader
    from velodrome.trends.baselines import Compared, JudgedObjective, Level

# A sentence names at most this many of the facts in which two cohorts, or two environments, differ.
_FACTS_NAMED = 3

VERDICTS = {
    verdicts.SIGNIFICANTLY_WORSE: "worse",
    verdicts.DRIFTED: "worse by drift",
    verdicts.SIGNIFICANTLY_BETTER: "better",
    verdicts.MOVED_TOGETHER: "moved together with the other entries",
    verdicts.WITH_OTHERS: "changed with the other entries, by no more than jobs of this board differ",
    verdicts.NOT_SIGNIFICANT: "no significant change",
    verdicts.TOO_SMALL: "changed by less than what matters",
    verdicts.AWAITING_CONFIRMATION: "looks worse, which a second job has to confirm",
}


@dataclass(frozen=True, slots=True)
class Said:
    """What the words are about: the fields of a comparison."""

    reason: str
    relative: float | None
    low: float | None
    high: float | None
    relative_to: Of
    visible: float | None
    family: int
    common: float | None


def of(reader: Reader, step: Compared, objective: JudgedObjective, said: Said, rules: Regression) -> str:
    """The sentence of a comparison, without the names of the entry and the objective. Raises as the store does."""
    if step.level is None or said.reason not in VERDICTS:
        return _without_level(reader, step, said.reason, rules)
    unit, now = step.key.metric.unit, objective.scale.back(step.level.centre + step.difference)
    newest = f" over the last {step.jobs} jobs" if step.jobs > 1 else ""
    numbers = f"n {step.level.samples} and {len(step.point.values)}"
    before = f"{quantity(unit, step.level.mean)} {_jobs(step.level, drift=step.drift)}"
    change = f"{quantity(unit, now)}{newest} ({_change(said, rules)}, {numbers})"
    return f"{VERDICTS[said.reason]}: {before}, now {change}.{_common(said)}{_visible(step, said)}"


def together(objective: JudgedObjective, along: int, tested: int, job: str, apart: Sequence[str]) -> str:
    """The sentence of what the entries have in common. `apart` is what differs in the environments since the job."""
    assert objective.common is not None
    assert objective.rule is not None
    better = objective.common.change * objective.rule.better > 0
    who = f"all {along} entries" if along == tested else f"{along} of {tested} entries"
    by = percent(objective.common_relative)
    what = (
        f"{objective.name}: {who} became {'better' if better else 'worse'} together, by about {by}. One cause for all "
        "is likelier than one in each: the machine, its software or the data."
    )
    if not apart:
        return f"{what} Nothing that Velodrome observes differs from job {job}."
    more = f"; and {len(apart) - _FACTS_NAMED} more" if len(apart) > _FACTS_NAMED else ""
    return f"{what} Since job {job} this differs: {'; '.join(apart[:_FACTS_NAMED])}{more}."


def _jobs(level: Level, *, drift: bool) -> str:
    if level.jobs == 1:
        return f"in job {level.last.name}"
    when = f" of {level.last.created_at:%Y-%m-%d}, and drifting since" if drift else ""
    return f"over {level.jobs} jobs up to {level.last.name}{when}"


def _change(said: Said, rules: Regression) -> str:
    if said.relative is None:
        return "from none" if said.relative_to == "errors" else "change relative to nothing"
    sign, whole = (-1, "errors ") if said.relative_to == "errors" else (1, "")
    of_range = " of the range" if said.relative_to == "range" else ""
    found = f"{whole}{percent(sign * said.relative)}{of_range}"
    if said.low is None or said.high is None:
        return found
    ends = sorted((sign * said.low, sign * said.high))
    corrected = f" corrected for {said.family} comparisons" if said.family > 1 else ""
    return f"{found}, {100 * (1 - rules.alpha):g} % interval{corrected} {percent(ends[0])[:-2]} to {percent(ends[1])}"


def _common(said: Said) -> str:
    return "" if said.common is None else f" The entries of this job have {percent(said.common)} in common."


def _visible(step: Compared, said: Said) -> str:
    """What would have been seen, where no change was."""
    unclear = said.reason in (verdicts.NOT_SIGNIFICANT, verdicts.TOO_SMALL)
    if not unclear or said.visible is None:
        return ""
    if said.relative_to == "errors":
        return f" {percent(said.visible, '')} more errors would have been seen."
    worse = "drop" if step.key.metric.direction == "higher" else "rise"
    of_range = " of the range" if said.relative_to == "range" else ""
    return f" A {worse} of {percent(said.visible, '')}{of_range} would have been seen."


def _without_level(reader: Reader, step: Compared, reason: str, rules: Regression) -> str:
    point = step.point
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

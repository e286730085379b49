"""Says whether a job is worse than before: from accepted results to a verdict, with its reason, for each entry and
objective.

`velodrome.trends.baselines` compares, and `velodrome.trends.sentences` has the words. Reasons:
docs/decisions/0012-regressions-and-change-points.md and 0043-a-level-not-a-job.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from velodrome.results.objectives import board_objectives
from velodrome.spec import Regression
from velodrome.stats import metric_mean
from velodrome.stats.holm import holm
from velodrome.stats.spread import Bools
from velodrome.trends import sentences, verdicts
from velodrome.trends.baselines import Compared, JudgedObjective, Marks, RowFigures, compare
from velodrome.trends.environment import environment
from velodrome.trends.history import JOBS_BACK, BoardHistory, read_history
from velodrome.trends.scales import Of
from velodrome.trends.verdicts import Verdict

if TYPE_CHECKING:
    from velodrome.results.records import JobInfo
    from velodrome.store import Reader


@dataclass(frozen=True, slots=True)
class Comparison:
    """One entry's objective in one job, compared with its level: the mean of `baseline_jobs` jobs of the same entry.

    - `mean` is that of the newest `jobs` jobs, mostly of this job alone; of amounts such as seconds, the geometric one.
    - `relative_change` is relative to `relative_to`: the value of the level, its errors (of a share such as accuracy
      that is above a half), or the length of the range. Its sign is that of (new - old). None: relative to nothing.
    - `p_value` is corrected for all comparisons of the job (Holm).
    - `low` and `high` bound the change, at the level that the correction leaves for this comparison. They exclude 0
      exactly if `p_value` is less than alpha, unless the entry moved together with the others.
    - `visible` is the smallest change for the worse, relative like the others, that would have been called with a
      probability of 80 %.
    - `common` is the change that the entries of this job have in common. It is None if they did not move together.
      `together` says it if it is significant. Then `p_value` is that of the common change.
    - `baseline_uid` is the newest job of the level. `baseline_samples` counts the trials of all its jobs.
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
    baseline_jobs: int = 0
    jobs: int = 1
    relative_to: Of = "value"
    visible: float | None = None
    common: float | None = None
    together: str = ""

    @property
    def awaits_confirmation(self) -> bool:
        """Whether a second job must confirm this."""
        return self.reason == verdicts.AWAITING_CONFIRMATION and not self.acknowledged


def judge(reader: Reader, uid: str) -> tuple[Comparison, ...]:
    """A verdict for each entry and objective of the job that has values. Empty for an unknown job.

    The rules are those of the job's `spec.regression`. The baseline is, of the older jobs of the same board:

    1. the job that the spec names;
    2. else the pinned job;
    3. else the newest good jobs: those with complete values in the same cohort since the level last changed. A
       regression does not change it, so a bad level never becomes normal by itself. An accepted job does, and so does
       an improvement that lasts.

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
    found = [compare(history, one.name, one.key, rules, marks) for one in board_objectives([job])]
    steps = [(objective, step) for objective in found for step in objective.steps]
    tested = [step.p_value for _, step in steps if step.p_value is not None]
    shared = [one.common.p_value for one in found if one.common is not None and one.common.large]
    # A comparison that is not complete yet counts already. So it can't change the verdicts of a running race later.
    to_come = sum(step.reason == verdicts.INCOMPLETE for _, step in steps)
    family = len(tested) + len(shared) + to_come
    adjusted = iter(holm([*tested, *shared, *[1.0] * to_come]))
    own = [[None if step.p_value is None else next(adjusted) for step in objective.steps] for objective in found]
    answers: list[Comparison] = []
    for objective, p_values in zip(found, own, strict=True):
        move, together = None, 1.0
        if objective.common is not None and objective.common.large:
            together = next(adjusted)
            if objective.common.moved and together <= rules.alpha:
                move = _Move(reader, history, objective, together)
        of_rows = [p_value for step, p_value in zip(objective.steps, p_values, strict=True) if step.row >= 0]
        corrected = np.array([1.0 if p_value is None else p_value for p_value in of_rows])
        figures, explained = objective.figures(corrected, family), None
        if together > rules.alpha and (corrected <= rules.alpha).any():
            explained = objective.explained()
        answers += (
            _comparison(reader, job, _Judged(objective, step, p_value, family, rules, move, figures, explained))
            for step, p_value in zip(objective.steps, p_values, strict=True)
        )
    return tuple(answers)


class _Move:
    """What the entries of a job have in common for one objective, with the p-value and the words of it."""

    def __init__(self, reader: Reader, history: BoardHistory, objective: JudgedObjective, p_value: float) -> None:
        assert objective.common is not None
        self.common, self.p_value = objective.common, p_value
        along = [step for step in objective.steps if step.row >= 0 and self.common.along[step.row]]
        level = along[0].level
        assert level is not None
        places = {job.uid: place for place, job in enumerate(history.jobs)}
        apart = environment(reader, history, places[level.last.uid])
        tested = sum(step.level is not None for step in objective.steps)
        self.words = sentences.together(objective, len(along), tested, level.last.name, apart)


@dataclass(frozen=True, slots=True)
class _Judged:
    """A step with its p-value, corrected for `family` comparisons. `p_value` is None if the step can't be tested."""

    objective: JudgedObjective
    step: Compared
    p_value: float | None
    family: int
    rules: Regression
    move: _Move | None
    figures: RowFigures | None
    explained: Bools | None

    @property
    def along(self) -> _Move | None:
        """The common move, if this entry moved with it."""
        return (
            self.move
            if self.move is not None and self.step.row >= 0 and self.move.common.along[self.step.row]
            else None
        )

    def decision(self) -> tuple[Verdict, str]:
        """The verdict with its reason."""
        step, objective = self.step, self.objective
        if step.level is None or self.p_value is None or objective.rule is None or self.figures is None:
            return "Unknown", step.reason
        if self.along is not None:
            worse = self.along.common.change * objective.rule.better < 0
            return self._confirmed("Regressed" if worse else "Improved", verdicts.MOVED_TOGETHER)
        large = self.figures.large[step.row]
        significant = self.p_value <= self.rules.alpha
        if not large or not significant:
            return "Unchanged", verdicts.TOO_SMALL if significant else verdicts.NOT_SIGNIFICANT
        if self.explained is not None and self.explained[step.row]:
            return "Unchanged", verdicts.WITH_OTHERS
        if step.difference * objective.rule.better > 0:
            return "Improved", verdicts.SIGNIFICANTLY_BETTER
        return self._confirmed("Regressed", verdicts.DRIFTED if step.drift else verdicts.SIGNIFICANTLY_WORSE)

    def _confirmed(self, verdict: Verdict, reason: str) -> tuple[Verdict, str]:
        if verdict == "Regressed" and self.rules.confirm and not self.step.repeated:
            return "Unknown", verdicts.AWAITING_CONFIRMATION
        return verdict, reason


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
    worse = verdicts.MOVED_TOGETHER if one.together else verdicts.SIGNIFICANTLY_WORSE
    reason = worse if again else verdicts.NOT_CONFIRMED
    words = f"worse, as job {job_name} confirmed" if again else f"looked worse, which job {job_name} did not confirm"
    sentence = one.sentence.replace(sentences.VERDICTS[verdicts.AWAITING_CONFIRMATION], words, 1)
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


def _comparison(reader: Reader, job: JobInfo, one: _Judged) -> Comparison:
    step, level, objective = one.step, one.step.level, one.objective
    verdict, reason = one.decision()
    relative, low, high, mean, visible = None, None, None, None, None
    if level is not None and one.figures is not None:
        of_row = (one.figures.change, one.figures.low, one.figures.high, one.figures.visible)
        relative, low, high, visible = (figures[step.row] for figures in of_row)
        mean = objective.scale.back(level.centre + step.difference)
    along = one.along
    said = sentences.Said(
        reason, relative, low, high, objective.scale.of(level.centre) if level is not None else "value", visible,
        one.family, objective.common_relative if along is not None or reason == verdicts.WITH_OTHERS else None,
    )  # fmt: skip
    return Comparison(
        board=job.board,
        entry=step.point.entry,
        objective=objective.name,
        metric_key=str(step.key),
        cohort_id=step.point.cohort_id,
        verdict=verdict,
        reason=reason,
        relative_change=relative,
        low=low,
        high=high,
        p_value=one.p_value if along is None else along.p_value,
        samples=len(step.point.values),
        baseline_samples=level.samples if level is not None else 0,
        mean=metric_mean(step.key.metric, list(step.point.values.values())) if mean is None else mean,
        baseline_mean=level.mean if level is not None else None,
        baseline_uid=level.last.uid if level is not None else None,
        job_uid=job.uid,
        sentence=f"{step.point.entry}, {objective.name}: {sentences.of(reader, step, objective, said, one.rules)}",
        acknowledged=step.acknowledged,
        baseline_jobs=level.jobs if level is not None else 0,
        jobs=step.jobs,
        relative_to=said.relative_to,
        visible=visible,
        common=said.common,
        together="" if along is None else along.words,
    )

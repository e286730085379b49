"""The cohorts of one objective on a board: which one is shown, and in what they differ. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from velodrome.results.conditions import fact_words, facts, shown

if TYPE_CHECKING:
    from velodrome.store.types import CohortSummary


def chosen_cohort(cohorts: Sequence[CohortSummary], wanted: str | None = None) -> CohortSummary | None:
    """The wanted cohort, or else the newest. `cohorts` is newest first. None if there is no cohort."""
    return next((cohort for cohort in cohorts if cohort.cohort_id == wanted), cohorts[0] if cohorts else None)


def cohort_labels(cohorts: Sequence[CohortSummary]) -> dict[str, str]:
    """A text for each cohort id, with exactly the facts in which the cohorts differ.

    A single cohort has its words.
    """
    by_cohort = {cohort.cohort_id: dict(facts(cohort.conditions)) for cohort in cohorts}
    paths = dict.fromkeys(path for found in by_cohort.values() for path in found)
    varying = [path for path in paths if len({shown(found.get(path)) for found in by_cohort.values()}) > 1]
    if not varying:
        return {cohort.cohort_id: cohort.words for cohort in cohorts}
    return {
        name: " · ".join(f"{fact_words(path)}: {shown(found.get(path))}" for path in varying)
        for name, found in by_cohort.items()
    }

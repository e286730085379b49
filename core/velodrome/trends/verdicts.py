"""The verdicts of comparisons, and their reasons. Pure, and light: importing this module imports no statistics."""

from __future__ import annotations

from typing import Literal

Verdict = Literal["Regressed", "Improved", "Unchanged", "Unknown"]

# Reasons of verdicts, in CamelCase as in status conditions of Kubernetes.
SIGNIFICANTLY_WORSE = "SignificantlyWorse"
SIGNIFICANTLY_BETTER = "SignificantlyBetter"
DRIFTED = "Drifted"  # worse than the level far back, in steps that are too small to see
MOVED_TOGETHER = "MovedTogether"  # all entries of the job changed by as much: the cause is not the entry
WITH_OTHERS = "ChangedWithOthers"  # it and the others changed alike, by no more than the jobs of this board differ
NOT_SIGNIFICANT = "NotSignificant"
TOO_SMALL = "TooSmallToMatter"
NO_BASELINE = "NoBaseline"
NEW_COHORT = "NewCohort"
TOO_FEW_SAMPLES = "TooFewSamples"
INCOMPLETE = "Incomplete"
BASELINE_MISSING = "BaselineMissing"
BASELINE_ZERO = "BaselineZero"
AWAITING_CONFIRMATION = "AwaitingConfirmation"
NOT_CONFIRMED = "NotConfirmed"
NO_OBJECTIVE = "NoObjective"  # the job measured the metric, but it is no objective of the job
TOO_LONG_AGO = "TooLongAgo"  # only newer jobs count for boards

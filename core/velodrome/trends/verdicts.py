"""What a comparison is called, and the reasons beside that. Pure, and light: reading them needs no statistics."""

from __future__ import annotations

from typing import Literal

Verdict = Literal["Regressed", "Improved", "Unchanged", "Unknown"]

# Reasons, beside the verdict: CamelCase, as conditions of Kubernetes have them.
SIGNIFICANTLY_WORSE = "SignificantlyWorse"
SIGNIFICANTLY_BETTER = "SignificantlyBetter"
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
NO_OBJECTIVE = "NoObjective"  # of that job, which measured it nevertheless
TOO_LONG_AGO = "TooLongAgo"  # boards look back at newer jobs only

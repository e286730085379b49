"""What a trial keeps of each test sample, in the order of the test split."""

from __future__ import annotations

from dataclasses import dataclass

from velodrome.plan import TrialConfig
from velodrome.results.records import DatasetFacts
from velodrome.results.scores import (
    MOST_SCORED,
    SampleScores,
    SampleSet,
    keeping,
    packed_bits,
    packed_errors,
    packed_losses,
    sample_set,
    within_a_report,
)
from velodrome.vocabulary import Keeping
from velodrome_runner.data import Contents
from velodrome_runner.log import complain
from velodrome_runner.tasks.base import QualityMeter


@dataclass(frozen=True, slots=True)
class Keeper:
    """What to keep of each test sample, and which samples these are; `of` is None where nothing is kept."""

    keeping: Keeping = "none"
    of: SampleSet | None = None

    @classmethod
    def made(cls, config: TrialConfig, contents: Contents, facts: DatasetFacts) -> Keeper:
        """The keeper of a trial that read these data. Says so in the log if there are too many samples to keep."""
        test, asked = contents.splits["test"], config.evaluation.keep_samples
        what = keeping(config.task_name, asked, len(test))
        if what == "none":
            if asked not in (None, "none"):
                complain(f"evaluation.keepSamples: {len(test):,} test samples, and {MOST_SCORED:,} are the most")
            return cls()
        targets = test.targets
        groups = None if contents.test_groups is None else contents.test_groups.tolist()
        labelled = not targets.is_floating_point()
        return cls(what, sample_set(facts.digest, targets.tolist(), groups, labelled=labelled))

    def scores(self, meter: QualityMeter) -> SampleScores | None:
        """What the meter kept of the test split; without losses and groups where they are too long for a report."""
        if self.of is None:
            return None
        found = meter.of_each
        return within_a_report(
            SampleScores(
                of=self.of,
                right=packed_bits(found["right"].tolist()) if "right" in found else None,
                losses=packed_losses(found["losses"].tolist()) if "losses" in found else None,
                errors=packed_errors(found["errors"].tolist()) if "errors" in found else None,
            )
        )

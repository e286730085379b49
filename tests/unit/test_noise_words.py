"""What people read of a noise floor: units, directions, and what is missing."""

from __future__ import annotations

import math

import pytest

from velodrome.board.noise import NoiseComparison, ObjectiveNoise, Smallest
from velodrome.board.noise_words import amount, called, estimate, sentences, visible, worse
from velodrome.metrics.catalogue import MetricKey
from velodrome.results.objectives import BoardObjective
from velodrome.stats import Sample
from velodrome.stats.noise import Differences, Estimate, Share
from velodrome.trends.twins import Remeasured, scale_of

LATENCY = "latency_p50_seconds{batch_size=1}"
RATE = "train_samples_per_second"
NOTHING = NoiseComparison((), Differences((), None, None))


def noise(
    key: str,
    *,
    seeds: Estimate | None = None,
    smallest: tuple[Smallest, ...] = (),
    measured: Remeasured | None = None,
) -> ObjectiveNoise:
    parsed = MetricKey.parse(key)
    return ObjectiveNoise(
        BoardObjective("objective", parsed),
        scale_of(parsed.metric),
        "cohort",
        "the conditions",
        measured or Remeasured(),
        NOTHING,
        NOTHING,
        seeds,
        None,
        smallest,
        None,
        0.05,
        0.01,
    )


@pytest.mark.parametrize(
    ("key", "difference", "words"),
    [
        ("accuracy", 0.0123, "1.2 points"),
        (LATENCY, math.log(1.5), "50 %"),
        (LATENCY, math.log(5), "400 %"),
        ("mcc", 0.0123, "0.012"),
        ("own_word_error_rate{better=lower,high=100,kind=quality,low=0,unit=percent}", 1.23, "1.2 points"),
        (
            "own_temperature{better=lower,high=50,kind=quality,low=-50,scale=interval,unit=celsius}",
            1.23,
            "1.2 celsius",
        ),
    ],
)
def test_a_size_has_the_unit_of_its_scale(key: str, difference: float, words: str) -> None:
    assert amount(noise(key), difference) == words


def test_a_change_for_the_worse_is_a_rise_of_times_and_a_fall_of_rates() -> None:
    """Twice the time is + 100 %. Half the rate is - 50 %, and no rate falls by more than all of it."""
    assert worse(noise(LATENCY), math.log(2)) == "100 %"
    assert worse(noise(RATE), math.log(2)) == "50 %"
    assert worse(noise("accuracy"), 0.02) == "2 points"


def test_an_estimate_has_its_interval_and_its_unit_once() -> None:
    assert estimate(noise("accuracy"), None) == "unknown"
    assert estimate(noise("accuracy"), Estimate(0.004, None, None)) == "0.4 points"
    assert estimate(noise("accuracy"), Estimate(0.004, 0.003, 0.006)) == "0.4 points (0.3 to 0.6 points)"
    assert called(None) == "–"
    assert called(Share(2, 25, 0.01, 0.26)) == "2 of 25"


def test_changes_that_are_unknown_are_not_made_up() -> None:
    seen = (Smallest(5, 0.011, None), Smallest(10, 0.007, None))
    assert visible(noise("accuracy", smallest=seen), "in_job") == "1.1 points, 0.7 points"
    assert visible(noise("accuracy", smallest=seen), "job_to_job") == "unknown"
    said = list(sentences(noise("accuracy", seeds=Estimate(0.004, None, None), smallest=seen)))
    seen_by_five = "With 5 seeds, this board sees in 80 of 100 cases a difference of 1.1 points"
    assert any(sentence.startswith(seen_by_five) for sentence in said)
    assert not any(sentence.startswith("With") and "from job to job" in sentence for sentence in said)
    assert "there are 0" in said[-1]


def test_what_was_left_out_is_told() -> None:
    seen = Remeasured(samples=[Sample("one", {0: 1.0, 1: 2.0})], copied=1, accepted=2, not_positive=3)
    said = " ".join(sentences(noise(LATENCY, measured=seen)))
    assert "Left out: 1 entry of jobs that took values over from another job." in said
    assert "Left out: 2 pairs of jobs whose change a person accepted." in said
    assert "Left out: 3 entries of jobs with a value of 0 or less" in said
    assert "there are 1" in said

"""What a race can see before it runs, from its plan and from what is known of its board's noise."""

from __future__ import annotations

from typing import Any

import pytest

from velodrome.board.foresight import Noise, Wanted, foresee, one_line, sentences
from velodrome.board.rounds import until_of
from velodrome.metrics.catalogue import MetricKey
from velodrome.plan import Plan, plan
from velodrome.spec import BenchmarkJob
from velodrome.stats.power import corrected, last_level, smallest_gap

ACCURACY = MetricKey.parse("accuracy")
LATENCY = MetricKey.parse("latency_p50_seconds{batch_size=1}")
OBJECTIVES = [
    {"name": "quality", "metric": "accuracy"},
    {"name": "speed", "metric": "latency_p50_seconds", "batchSize": 1},
    {"name": "size", "metric": "parameters"},
]
NOISES = {ACCURACY: Noise(0.004, 3, logs=False), LATENCY: Noise(0.02, 1, logs=True)}


def made(entries: int = 5, **trials: Any) -> Plan:
    document = {
        "apiVersion": "velodrome.dev/v1alpha1",
        "kind": "BenchmarkJob",
        "metadata": {"name": "race"},
        "spec": {
            "objectives": OBJECTIVES,
            "dataset": {"name": "digits"},
            "budget": {"maxEpochs": 1},
            "entries": [
                {"name": f"e{row}", "model": {"name": "velodrome/mlp", "args": {"hidden": 8 + row}}}
                for row in range(entries)
            ],
            "trials": {"repeats": 5, **trials},
        },
    }
    return plan(BenchmarkJob.model_validate(document))


def test_every_objective_that_varies_is_seen_by_its_own_noise() -> None:
    sight = foresee(made(), NOISES)
    assert sight.gap == pytest.approx(smallest_gap(5, corrected(0.05, 5)))
    assert [one.objective for one in sight.sights] == ["quality", "speed"], "parameters are the same for every seed"
    assert [one.visible for one in sight.sights] == pytest.approx([sight.gap * 0.004, sight.gap * 0.02])
    assert (sight.fewest, sight.most) == (25, 25)
    assert sentences(sight) == [
        "5 seeds tell apart what is 3.2 standard deviations apart, with these 5 entries, in 80 % of races or more",
        "quality: about 1.3 points, by 3 jobs of this board",
        "speed: about 6.6 %, by 1 job of this board",
    ]
    assert one_line(sight) == "5 seeds tell apart about 1.3 points of quality, by this board's history"


def test_a_wanted_difference_says_how_many_seeds_it_needs() -> None:
    wanted = {"quality": Wanted("0.5 points", 0.005, "unit"), "speed": Wanted("1 %", 0.01, "share")}
    sight = foresee(made(), NOISES, wanted)
    level = corrected(0.05, 5)
    for one, gap in zip(sight.sights, (0.005 / 0.004, 0.01 / 0.02), strict=True):
        assert one.needed is not None
        assert smallest_gap(one.needed, level) <= gap * 1.01
        assert smallest_gap(one.needed - 1, level) > gap * 0.99
    assert sentences(sight)[1].endswith(f"; {sight.sights[0].needed} seeds for 0.5 points")


def test_standard_deviations_need_no_history_and_units_do() -> None:
    wanted = {
        "quality": Wanted("0.5 points", 0.005, "unit"),
        "speed": Wanted("1 standard deviation", 1.0, "deviations"),
    }
    lines = sentences(foresee(made(), {}, wanted))
    assert "how many seeds tell apart 0.5 points is unknown" in lines[1]
    assert "seeds for 1 standard deviation" in lines[2]
    tiny = sentences(foresee(made(), NOISES, {"quality": Wanted("a hair", 1e-7, "unit")}))
    assert "more than 10,000 seeds for a hair" in tiny[1]


def test_without_any_history_the_units_are_told_once() -> None:
    assert len(sentences(foresee(made(), {}))) == 2
    assert one_line(foresee(made(), {})) == (
        "5 seeds tell apart what is 3.2 standard deviations apart, with these 5 entries"
    )


def test_a_race_until_decided_tells_its_looks_and_its_most_seeds() -> None:
    until = {"decided": ["quality"], "maxRepeats": 20, "alpha": 0.05}
    race = made(until=until)
    rule = until_of(race.job.spec.trials)
    assert rule is not None
    sight = foresee(race, NOISES)
    assert sight.looks == (5, 7, 10, 14, 20)
    assert (sight.fewest, sight.most) == (25, 100)
    assert sight.gap == pytest.approx(smallest_gap(20, last_level(rule, 5)))
    assert sentences(sight)[0] == "looks at 5, 7, 10, 14 and 20 seeds, and stops entries that are decided"
    assert sentences(sight)[1].startswith("up to 20 seeds tell apart")
    stricter = foresee(made(until=until | {"alpha": 0.01}), NOISES)
    assert stricter.gap > sight.gap


def test_where_there_is_nothing_to_tell_apart() -> None:
    assert sentences(foresee(made(1), NOISES)) == ["one entry: there is nothing to tell it apart from"]
    assert "set trials.repeats" in sentences(foresee(made(repeats=1), NOISES))[0]
    assert one_line(foresee(made(1), NOISES)) is None
    assert one_line(foresee(made(repeats=1), NOISES)) is None

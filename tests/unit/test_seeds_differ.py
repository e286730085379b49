"""Seeds that differ in what the catalogue calls deterministic are not trials of one model."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from velodrome.metrics.catalogue import CATALOGUE, MetricKey
from velodrome.ranking.places import rank_objective, seeds_differ
from velodrome.store.types import Row

AT = datetime(2026, 5, 4, tzinfo=UTC)
PARAMETERS = MetricKey.parse("parameters")


def row(entry: str, *values: float) -> Row:
    return Row(entry, f"id-{entry}", "job-1", "night", len(values), dict(enumerate(values)), AT)


def test_the_sentence_names_the_metric_and_both_values() -> None:
    assert seeds_differ(PARAMETERS, [310.0, 310.0, 19_210.0]) == (
        "its seeds did not train the same model: parameters is 310 for one and 19,210 for another"
    )
    assert seeds_differ(PARAMETERS, [310.0, 310.0]) is None
    assert seeds_differ(PARAMETERS, [310.0]) is None


def test_weights_that_training_leaves_at_0_in_one_seed_make_no_other_model() -> None:
    key = MetricKey.parse("nonzero_parameters")
    assert seeds_differ(key, [122_490.0, 122_492.0]) is None
    ranking = rank_objective(str(key), [row("unet", 122_490.0, 122_492.0), row("cnn", 900.0, 901.0)])
    assert [one.entry for one in ranking.ranked] == ["cnn", "unet"]


@pytest.mark.parametrize("name", [name for name, metric in CATALOGUE.items() if not metric.deterministic])
def test_values_of_no_other_metric_say_so(name: str) -> None:
    parameters = ",".join(f"{one}=1" for one in CATALOGUE[name].requires)
    key = MetricKey.parse(f"{name}{{{parameters}}}" if parameters else name)
    assert seeds_differ(key, [0.25, 0.5]) is None


def test_such_an_entry_is_listed_with_the_reason_and_takes_no_part() -> None:
    ranking = rank_objective(
        "parameters",
        [row("own", 310.0, 19_210.0), row("fine", 500.0, 500.0)],
        differing={("job-1", "own"): "they differ", ("job-0", "fine"): "in another job"},
    )
    assert [one.entry for one in ranking.ranked] == ["fine"]
    assert [(one.entry, one.why, one.reason) for one in ranking.unranked] == [("own", "SeedsDiffer", "they differ")]

"""Changes are measured on the scale that the metric's values are compared on."""

from __future__ import annotations

import pytest

from velodrome.metrics.catalogue import CATALOGUE, MetricKey
from velodrome.trends.scales import ChangeScale, scale_of
from velodrome.trends.twins import scale_of as twins_scale_of

OWN = "own_x{{better=higher,high={high},kind=quality,low=0,unit={unit}}}"
DECLARED = [
    (OWN.format(high=80, unit="percent"), ChangeScale("share", 100.0)),
    (OWN.format(high=100, unit="percent"), ChangeScale("share", 100.0)),
    (OWN.format(high=1000, unit="percent"), ChangeScale("log")),
    (OWN.format(high=1, unit="correlation"), ChangeScale("plain")),
    (OWN.format(high=1, unit="ratio"), ChangeScale("share", 1.0)),
    (OWN.format(high=1000, unit="seconds"), ChangeScale("log")),
]


@pytest.mark.parametrize(("key", "scale"), DECLARED)
def test_a_declared_metric_has_the_scale_of_its_unit_and_range(key: str, scale: ChangeScale) -> None:
    assert scale_of(MetricKey.parse(key).metric, positive=True) == scale


def test_values_that_are_not_above_0_have_no_logarithm() -> None:
    assert scale_of(CATALOGUE["latency_p50_seconds"], positive=False) == ChangeScale("plain")


@pytest.mark.parametrize("key", [*CATALOGUE, *(key for key, _ in DECLARED)])
def test_factors_everywhere_or_nowhere(key: str) -> None:
    metric = CATALOGUE.get(key) or MetricKey.parse(key).metric
    by_factors = metric.scale == "ratio"
    assert (scale_of(metric, positive=True).kind == "log") == by_factors
    assert (twins_scale_of(metric) == "relative") == by_factors

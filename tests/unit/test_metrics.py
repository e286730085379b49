"""The catalogue, and the keys that values are stored under."""

from __future__ import annotations

import re
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from velodrome.metrics.catalogue import (
    ALIASES,
    CATALOGUE,
    QUALITY_CONDITIONS,
    SPEED_CONDITIONS,
    Metric,
    MetricKey,
    first_name,
    present_name,
    without_rounding,
)

# What every report of a race may count on.
PROMISED = [
    *("accuracy", "top5_accuracy", "precision", "recall", "f1", "average_precision", "auroc"),
    *("balanced_accuracy", "mcc", "calibration_error", "loss", "validation_loss"),
    *("perplexity", "bits_per_byte", "bits_per_character", "rmse", "mae", "r2"),
    *("box_map", "box_map_50", "box_map_small", "box_map_medium", "box_map_large"),
    *("miou", "pixel_accuracy"),
    *("train_seconds", "time_to_target_seconds", "train_samples_per_second", "data_loading_share"),
    *("latency_p50_seconds", "latency_p90_seconds", "latency_p99_seconds", "inference_samples_per_second"),
    *("served_latency_p50_seconds", "served_latency_p90_seconds", "served_latency_p99_seconds"),
    *("offline_samples_per_second", "offline_batch_size"),
    *("peak_memory_bytes", "model_bytes", "parameters", "nonzero_parameters", "flops", "conversion_seconds"),
    *("compile_seconds", "cpu_seconds", "cost", "energy_joules"),
]

LOWER = re.compile(
    r"loss|error|^perplexity$|^bits_per_|rmse|mae|_seconds$|_bytes$|parameters|flops|joules|_share$|_batch_size$|^cost$"
)


def test_the_catalogue_has_what_was_promised() -> None:
    assert list(CATALOGUE) == PROMISED


@pytest.mark.parametrize("metric", CATALOGUE.values(), ids=lambda metric: metric.name)
def test_a_metric_is_whole(metric: Metric) -> None:
    assert CATALOGUE[metric.name] is metric
    assert re.fullmatch(r"[a-z][a-z0-9_]*", metric.name)
    assert metric.direction == ("lower" if LOWER.search(metric.name) else "higher")
    assert metric.description.endswith(".")
    assert set(metric.requires) <= set(metric.parameters)
    assert metric.depends_on
    assert set(metric.depends_on) <= set(SPEED_CONDITIONS)


@pytest.mark.parametrize("metric", CATALOGUE.values(), ids=lambda metric: metric.name)
def test_a_name_ends_in_the_unit_where_prometheus_would_have_it_so(metric: Metric) -> None:
    if metric.unit in ("seconds", "bytes", "joules", "samples_per_second"):
        assert metric.name.endswith(f"_{metric.unit}")
    else:
        assert metric.unit in (
            *("ratio", "nats", "bits", "choices", "count", "correlation", "determination", "target", "price"),
        )


def test_quality_depends_on_no_machine_and_speed_does() -> None:
    for metric in CATALOGUE.values():
        if metric.kind == "quality":
            assert metric.depends_on == QUALITY_CONDITIONS
        if metric.kind == "speed":
            assert set(metric.depends_on) == set(SPEED_CONDITIONS)


def test_what_a_model_is_made_of_depends_on_the_data_alone() -> None:
    for name in ("parameters", "flops", "model_bytes"):
        assert set(CATALOGUE[name].depends_on) == {"dataset", "preprocessing"}


def test_what_a_model_is_made_of_and_nothing_else_is_deterministic() -> None:
    deterministic = {name for name, metric in CATALOGUE.items() if metric.deterministic}
    assert deterministic == {"parameters", "flops", "model_bytes"}


@pytest.mark.parametrize("name", ["accuracy", "top5_accuracy", "f1{average=micro}", "recall{average=micro}"])
@pytest.mark.parametrize(("right", "samples"), [(35, 355), (5700, 6000), (0, 10), (10, 10), (1, 3), (49_999, 50_000)])
def test_a_share_that_float32_rounded_is_the_share(name: str, right: int, samples: int) -> None:
    rounded = struct.unpack("f", struct.pack("f", right / samples))[0]
    assert without_rounding(name, rounded, samples) == right / samples
    assert without_rounding(name, right / samples, samples) == right / samples
    assert without_rounding(name, rounded) == rounded


@pytest.mark.parametrize(
    ("name", "value", "samples"),
    [
        ("accuracy", 0.12345, 100),  # no share of 100
        ("f1", 0.33333334, 3),  # a mean over classes is no share of samples
        ("precision{label=1}", 0.33333334, 3),
        ("accuracy", 0.33333334, 3_000_000),  # float32 can't tell so many apart
        ("loss", 0.33333334, 3),
        ("accuracy", -0.00000001, 3),
    ],
)
def test_what_is_no_share_stays_as_it_is(name: str, value: float, samples: int) -> None:
    assert without_rounding(name, value, samples) == value


def test_only_quality_is_measured_each_epoch_and_never_on_the_test_split() -> None:
    assert all(metric.kind == "quality" for metric in CATALOGUE.values() if metric.per_epoch)
    assert not CATALOGUE["loss"].per_epoch
    assert CATALOGUE["validation_loss"].per_epoch


# Keys


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (MetricKey.of("accuracy"), "accuracy"),
        (MetricKey.of("f1"), "f1"),
        (MetricKey.of("f1", average="macro"), "f1"),
        (MetricKey.of("f1", average="micro"), "f1{average=micro}"),
        (MetricKey.of("precision", label=0), "precision{label=0}"),
        (MetricKey.of("latency_p99_seconds", batch_size=64), "latency_p99_seconds{batch_size=64}"),
    ],
)
def test_a_key_is_spelt_one_way(key: MetricKey, text: str) -> None:
    assert str(key) == text
    assert MetricKey.parse(text) == key
    assert key.metric is CATALOGUE[text.partition("{")[0]]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "acuracy",
        "Accuracy",
        "accuracy ",
        "accuracy{}",
        "accuracy{average=micro}",
        "f1{average=macro}",
        "f1{average=best}",
        "f1{average}",
        "f1{label=}",
        "f1{label=03}",
        "f1{label=-1}",
        "f1{label=1,label=2}",
        "f1{label=1,}",
        "f1{,label=1}",
        "f1{average=micro,label=1}",
        "f1{label=1",
        "f1{label=1}}",
        "f1{batch_size=1}",
        "latency_p50_seconds",
        "latency_p50_seconds{batch_size=0}",
        "inference_samples_per_second{label=1}",
        "parameters{batch_size=1}",
        "accuracy\n",
    ],
    ids=repr,
)
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(text))):
        MetricKey.parse(text)


@given(st.text(max_size=30) | st.from_regex(r"(f1|accuracy|latency_p50_seconds)(\{[a-z_=,0-9]*\})?", fullmatch=True))
def test_a_text_that_is_a_key_is_its_own_spelling(text: str) -> None:
    try:
        key = MetricKey.parse(text)
    except ValueError:
        return
    assert str(key) == text


def test_a_former_name_is_read_as_the_present_one() -> None:
    assert str(MetricKey.parse("mean_average_precision")) == "average_precision"
    assert set(ALIASES.values()) <= set(CATALOGUE)
    assert not set(ALIASES) & set(CATALOGUE)
    for former, present in ALIASES.items():
        assert (present_name(former), first_name(present)) == (present, former)


def test_keys_sort_by_name_then_parameters() -> None:
    keys = [MetricKey.of("recall", label=1), MetricKey.of("f1", label=2), MetricKey.of("f1")]
    assert [str(key) for key in sorted(keys)] == ["f1", "f1{label=2}", "recall{label=1}"]

"""Which values may be ranked together."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from velodrome.metrics.catalogue import CATALOGUE, MetricKey
from velodrome.results.cohorts import Cohort, cohort_of
from velodrome.results.conditions import differences
from velodrome.results.records import TrialRecord
from velodrome.store.rankings import Shapes

RECORD = json.loads((Path(__file__).parent / "records" / "v1-record-succeeded.json").read_text(encoding="utf-8"))

# One key of each way in which a value depends on its conditions.
QUALITY = "accuracy"
TIME = "train_seconds"
TARGET = "time_to_target_seconds"
LATENCY = "latency_p50_seconds{batch_size=1}"
MEMORY = "peak_memory_bytes"
SERVED = "served_latency_p99_seconds"
OFFLINE = "offline_samples_per_second"
SIZE = "parameters"
FLOPS = "flops"
ALL = {QUALITY, TIME, TARGET, LATENCY, SERVED, OFFLINE, MEMORY, SIZE, FLOPS}
MODELS = {SIZE, FLOPS}
COSTS = ALL - {QUALITY, *MODELS}
NONE: set[str] = set()


def record(changes: dict[str, Any] | None = None) -> TrialRecord:
    """The example with some values replaced, by their dotted path."""
    found = copy.deepcopy(RECORD)
    for path, value in (changes or {}).items():
        *parents, last = path.split(".")
        inside = found
        for part in parents:
            inside = inside[part]
        inside[last] = value
    return TrialRecord.model_validate(found)


def cohort(key: str, changes: dict[str, Any] | None = None) -> Cohort:
    found = cohort_of(record(changes), MetricKey.parse(key))
    assert found is not None
    return found


LETTERS: dict[str, Any] = {"config.dataset.format": "Text"}
CHANGES: list[tuple[dict[str, Any], set[str]]] = [
    # What was observed: data, hardware, software, share of the machine.
    ({"result.dataset.digest": "sha256:" + 64 * "0"}, ALL),
    ({"result.dataset.train_samples": 1000}, ALL),
    ({"result.dataset.fitted_samples": 16384}, ALL),
    ({"result.dataset.shared_samples": 3}, NONE),
    ({"result.environment.hardware.cpu_model": "Xeon"}, COSTS),
    ({"result.environment.hardware.accelerator": None}, COSTS),
    ({"result.environment.hardware.driver": "999"}, COSTS),
    ({"result.environment.software.framework": "torch 3.0"}, COSTS),
    ({"result.environment.software.libraries": {"numpy": "9"}}, COSTS),
    ({"result.environment.software.model_libraries": {"timm": "9"}}, NONE),
    ({"result.environment.flops_definition": "0123456789ab"}, {FLOPS}),
    ({"result.environment.resources.cpus": 4}, COSTS),
    ({"result.environment.resources.concurrent_trials": 2}, COSTS),
    ({"observed.concurrent_trials": 2}, COSTS),
    ({"observed.concurrent_trials": 2, "observed.shared": True}, COSTS),
    ({"observed.concurrent_trials": 1, "observed.shared": True}, COSTS),
    ({"observed.concurrent_trials": 1, "observed.shared": False}, NONE),
    ({"observed.concurrent_trials": 1}, NONE),
    ({"observed.shared": False, "result.environment.resources.concurrent_trials": 2}, NONE),
    # What was asked of every entry.
    ({"config.dataset.validationFraction": 0.2}, ALL),
    ({"config.dataset.imageSize": 64}, ALL),
    (LETTERS, ALL),
    (LETTERS | {"config.dataset.tokens": "bytes"}, ALL),
    (LETTERS | {"config.dataset.window": 64}, ALL),
    ({"config.preprocessing.normalize": False}, ALL),
    ({"config.preprocessing.augmentations": []}, ALL),
    ({"config.budget.maxEpochs": 3}, ALL - MODELS),
    ({"config.budget.maxSeconds": 10}, ALL - MODELS),
    ({"config.budget.target": {"metric": "accuracy", "value": 0.5}}, {TARGET}),
    ({"config.budget.target": None}, {TARGET}),
    ({"config.evaluation.inference.minRunSeconds": 5}, {LATENCY, OFFLINE}),
    ({"config.evaluation.serving": {"arrivalRate": 100}}, {SERVED}),
    ({"config.evaluation.offline": {"maxBatchSize": 32}}, {OFFLINE}),
    # What is the entry's own, or says nothing about a value.
    ({"config.training.batchSize": 1}, NONE),
    ({"config.training.precision": "bfloat16", "result.environment.precision": "bfloat16"}, NONE),
    ({"config.model.args": {}}, NONE),
    ({"config.evaluation.metrics": ["loss"]}, NONE),
    ({"config.evaluation.inference.batchSizes": [1]}, NONE),
    ({"config.dataset.source": {"path": "elsewhere"}}, NONE),
    ({"observed.node": "other", "result.attempt": "x", "result.seed": 9}, NONE),
]


@pytest.mark.parametrize(
    ("changes", "split"), CHANGES, ids=[" ".join(changes) + str(n) for n, (changes, _) in enumerate(CHANGES)]
)
def test_a_change_splits_the_cohorts_of_what_depends_on_it(changes: dict[str, Any], split: set[str]) -> None:
    assert {key for key in ALL if cohort(key, changes).id != cohort(key).id} == split


def test_perplexities_of_other_windows_and_tokens_are_never_compared() -> None:
    small: dict[str, Any] = {"config.dataset.window": 64}
    found = [LETTERS, LETTERS | small, LETTERS | {"config.dataset.tokens": "bytes"}]
    assert len({cohort(QUALITY, changes).id for changes in found}) == 3
    declared: dict[str, Any] = LETTERS | {"config.dataset.window": 128, "config.dataset.tokens": "characters"}
    assert cohort(QUALITY, declared).id == cohort(QUALITY, LETTERS).id, "what is absent is the default"


def test_accuracies_of_other_vocabularies_and_lengths_are_never_compared() -> None:
    mail: dict[str, Any] = {"config.dataset.format": "Documents"}
    fields = ("config.preprocessing.vocabulary", "config.preprocessing.maxLength")
    others = [mail | {field: 50} for field in fields]
    assert len({cohort(QUALITY, changes).id for changes in (mail, *others)}) == 3
    declared = mail | dict(zip(fields, (10_000, 200), strict=True))
    assert cohort(QUALITY, declared).id == cohort(QUALITY, mail).id, "what is absent is the default"
    assert "10,000 words, the first 200 of a text" in cohort(QUALITY, mail).words


def test_accuracies_of_other_bands_and_lengths_of_sounds_are_never_compared() -> None:
    sounds: dict[str, Any] = {"config.dataset.format": "SpeechCommands"}
    bands: dict[str, Any] = sounds | {"config.preprocessing.logMel": {"bins": 40}}
    others = [
        bands | {"config.preprocessing.logMel": {"bins": 40, field: 0.02}} for field in ("windowSeconds", "hopSeconds")
    ]
    others += [sounds, sounds | {"config.dataset.seconds": 0.5}, bands | {"config.preprocessing.logMel": {"bins": 64}}]
    assert len({cohort(QUALITY, changes).id for changes in (bands, *others)}) == 6
    assert cohort(QUALITY, sounds | {"config.dataset.seconds": 1.0}).id == cohort(QUALITY, sounds).id
    words = cohort(QUALITY, bands).words
    assert "in clips of 1 s" in words
    assert "log-mel(bins=40, windowSeconds=0.025, hopSeconds=0.01), normalised" in words


def test_how_many_met_on_a_node_is_luck_and_splits_nothing() -> None:
    two, five = ({"observed.concurrent_trials": number, "observed.shared": True} for number in (2, 5))
    for key in ALL:
        assert cohort(key, two) == cohort(key, five)
    assert cohort(QUALITY, two) == cohort(QUALITY)


def test_a_store_that_knows_a_records_conditions_sees_who_shared_its_node() -> None:
    shapes = Shapes()
    alone, shared = record({"observed.shared": False}), record({"observed.shared": True})
    assert shapes.of(alone) is shapes.of(record({"observed.shared": False, "observed.node": "other"}))
    assert shapes.of(alone) != shapes.of(shared)


def test_what_the_executor_saw_stands_over_what_the_runner_said() -> None:
    said, seen = {"result.environment.resources.concurrent_trials": 3}, {"observed.concurrent_trials": 3}
    assert cohort(TIME, said) == cohort(TIME, seen)
    assert cohort(TIME, said | {"observed.concurrent_trials": 1}) == cohort(TIME)


def test_a_rate_of_queries_is_told_and_its_difference_has_words() -> None:
    slow, fast = ({"config.evaluation.serving": {"arrivalRate": rate, "maxBatchSize": 4}} for rate in (10, 200))
    assert "200 queries/s, batches ≤ 4" in cohort(SERVED, fast).words
    assert "queries" not in cohort(LATENCY, fast).words
    (told,) = differences(cohort(SERVED, slow).conditions, cohort(SERVED, fast).conditions)
    assert str(told) == "queries a second differs: 10 here, 200 there"


def test_figures_of_two_definitions_of_flops_are_never_compared() -> None:
    old, new = ({"result.environment.flops_definition": digits * 6} for digits in ("01", "02"))
    assert len({cohort(FLOPS, changes).id for changes in ({}, old, new)}) == 3
    (told,) = differences(cohort(FLOPS, old).conditions, cohort(FLOPS, new).conditions)
    assert str(told) == "definition of FLOPs differs: 010101010101 here, 020202020202 there"


def test_a_budget_in_seconds_makes_quality_depend_on_the_machine() -> None:
    seconds = {"config.budget.maxSeconds": 10}
    faster = {"result.environment.hardware.cpu_model": "Xeon"}
    assert cohort(QUALITY, seconds).id != cohort(QUALITY, seconds | faster).id
    assert cohort(SIZE, seconds).id == cohort(SIZE, seconds | faster).id
    assert list(cohort(QUALITY, seconds).conditions) == [
        *("dataset", "preprocessing", "evaluation", "budget", "hardware", "software", "resources")
    ]


@pytest.mark.parametrize("part", ["dataset", "environment"])
def test_what_was_not_observed_is_ranked_nowhere(part: str) -> None:
    assert cohort_of(record({f"result.{part}": None}), MetricKey.of("accuracy")) is None


def test_batch_sizes_share_their_conditions_and_the_key_tells_them_apart() -> None:
    assert cohort("latency_p50_seconds{batch_size=1}").id == cohort("latency_p50_seconds{batch_size=64}").id


def test_cohorts_are_the_same_in_every_version(golden: Callable[[str, str], None]) -> None:
    lines = []
    for metric in CATALOGUE.values():
        found = cohort(str(MetricKey.of(metric.name, batch_size=1 if metric.requires else None)))
        lines.append(f"{metric.name}\n  {found.id}\n  {found.words}\n")
    golden("cohorts.txt", "".join(lines))


# Words


@pytest.mark.parametrize(
    ("changes", "key", "words"),
    [
        ({}, QUALITY, "digits 1f1f1f1f, 10% held out · normalised, RandomCrop(padding=1) · ≤ 2 epochs"),
        (
            {"result.dataset.fitted_samples": 16384},
            SIZE,
            "digits 1f1f1f1f, 10% held out · normalised, RandomCrop(padding=1), fitted on 16,384 samples",
        ),
        (
            LETTERS | {"config.dataset.window": 64, "config.preprocessing": {}},
            QUALITY,
            "digits 1f1f1f1f in windows of 64 characters, 10% held out · ≤ 2 epochs",
        ),
        ({"config.budget.maxEpochs": 1}, QUALITY, "≤ 1 epoch"),
        ({"config.preprocessing.normalize": False}, QUALITY, "· not normalised, RandomCrop(padding=1) ·"),
        (
            {"config.preprocessing.featureSelection": {"method": "SelectKBest", "k": 9}},
            QUALITY,
            "RandomCrop(padding=1), SelectKBest(k=9) ·",
        ),
        ({}, TIME, "· NVIDIA H200 · torch 2.12.0 · 2 CPUs, 1 GPU"),
        ({"result.environment.hardware.accelerator": None}, TIME, "· EPYC 9555 ·"),
        ({"result.environment.resources.concurrent_trials": 3}, TIME, "2 CPUs, 1 GPU, 3 trials at once"),
        ({"observed.shared": True}, TIME, "2 CPUs, 1 GPU, several trials at once"),
        ({"result.environment.resources.cpus": 1}, TIME, "· 1 CPU, 1 GPU"),
        ({"config.budget.maxSeconds": 10}, QUALITY, "≤ 2 epochs, ≤ 10 s · NVIDIA H200"),
        ({}, TARGET, "≤ 2 epochs, to accuracy ≥ 0.9 ·"),
        (
            {"config.budget.target": {"metric": "validation_loss", "value": 0.1}},
            TARGET,
            "≤ 2 epochs, to validation_loss ≤ 0.1 ·",
        ),
    ],
)  # fmt: skip
def test_a_cohort_is_described_in_words(changes: dict[str, Any], key: str, words: str) -> None:
    assert words in cohort(key, changes).words


def test_words_do_not_depend_on_the_order_in_which_conditions_were_kept() -> None:
    found = cohort(TIME)
    kept = json.loads(json.dumps(found.conditions, sort_keys=True))
    assert Cohort(found.id, kept).words == found.words


@given(st.permutations(sorted(RECORD["config"]["budget"])), st.permutations(sorted(RECORD["result"]["environment"])))
def test_the_order_of_fields_makes_no_difference(budget: list[str], environment: list[str]) -> None:
    shuffled = copy.deepcopy(RECORD)
    shuffled["config"]["budget"] = {name: RECORD["config"]["budget"][name] for name in budget}
    shuffled["result"]["environment"] = {name: RECORD["result"]["environment"][name] for name in environment}
    for key in ALL:
        assert cohort_of(TrialRecord.model_validate(shuffled), MetricKey.parse(key)) == cohort(key)


def test_costs_at_two_prices_are_of_two_cohorts_and_nothing_else_is() -> None:
    priced = [{"config.evaluation": RECORD["config"]["evaluation"] | {"pricePerHour": price}} for price in (1.0, 2.0)]
    for key, cohorts in (("cost", 2), (TIME, 1), (QUALITY, 1)):
        assert len({cohort(key, changes).id for changes in priced}) == cohorts

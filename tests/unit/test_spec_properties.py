"""What holds for every BenchmarkJob and for everything that is none."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Mapping
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from velodrome.canonical import canonical
from velodrome.errors import Problem, SpecError
from velodrome.metrics.catalogue import CATALOGUE
from velodrome.plan import TrialConfig, local_uid, plan
from velodrome.spec import BenchmarkJob, parse_jobs, validate
from velodrome.spec.rules import broken_rules
from velodrome.tasks import MODEL_KINDS, TASKS
from velodrome.vocabulary import MODEL_ARGS

Draw = st.DrawFn

NAMES = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True)
QUALITY = sorted(TASKS["classification"].quality)
IMAGE_MODELS = sorted(model for model in MODEL_ARGS if "images" in MODEL_KINDS[model])
EACH_EPOCH = [name for name in QUALITY if CATALOGUE[name].per_epoch]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)


def numbers(low: float, high: float) -> st.SearchStrategy[float]:
    """Finite numbers between bounds, as integers too where they are whole."""
    return st.floats(low, high, allow_nan=False).map(lambda x: int(x) if x.is_integer() else x)


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A mapping with any of these fields."""
    return st.fixed_dictionaries({}, optional=fields)


RATES = numbers(1e-6, 1000)
OPTIMIZERS = st.one_of(
    st.fixed_dictionaries(
        {"name": st.just("SGD"), "learningRate": RATES},
        optional={"momentum": numbers(0.1, 0.99), "nesterov": st.just(False)},
    ),
    st.fixed_dictionaries(
        {"name": st.sampled_from(["Adam", "AdamW"]), "learningRate": RATES},
        optional={"betas": st.tuples(numbers(0, 0.99), numbers(0, 0.99)).map(list), "eps": numbers(1e-12, 1)},
    ),
)
SCHEDULES = st.one_of(
    st.just({"name": "Constant"}),
    st.fixed_dictionaries({"name": st.just("Step")}, optional={"stepEpochs": st.integers(1, 99)}),
    st.fixed_dictionaries({"name": st.just("Cosine")}, optional={"finalFactor": numbers(0, 1)}),
    st.fixed_dictionaries({"name": st.just("OneCycle")}, optional={"warmupFraction": numbers(0.1, 0.9)}),
)
TRAININGS = some(
    batchSize=st.integers(1, 65536),
    optimizer=OPTIMIZERS,
    schedule=SCHEDULES,
    regularization=some(l1=numbers(0, 10), l2=numbers(0, 10), dropout=numbers(0, 0.9), labelSmoothing=numbers(0, 0.9)),
    earlyStopping=st.none() | some(metric=st.sampled_from(EACH_EPOCH), patience=st.integers(1, 99)),
    precision=st.sampled_from(["float32", "bfloat16", "float16"]),
    deterministic=st.booleans(),
)
MODELS = st.one_of(
    st.fixed_dictionaries({"name": st.sampled_from(IMAGE_MODELS)}),
    st.fixed_dictionaries(
        {"name": st.sampled_from(["my.models:net", "torchvision/resnet18"])},
        optional={
            "args": st.dictionaries(
                st.text(st.characters(codec="utf-8"), max_size=9),
                st.none() | st.booleans() | numbers(-1e9, 1e9) | st.text(st.characters(codec="utf-8"), max_size=9),
                max_size=3,
            )
        },
    ),
)
OBJECTIVES = st.one_of(
    st.fixed_dictionaries({"metric": st.sampled_from(QUALITY)}),
    st.fixed_dictionaries({"metric": st.just("f1"), "average": st.sampled_from(["macro", "micro", "weighted"])}),
    st.fixed_dictionaries({"metric": st.just("recall"), "label": st.integers(0, 9)}),
    st.fixed_dictionaries({"metric": st.just("latency_p99_seconds"), "batchSize": st.sampled_from([1, 64])}),
    st.fixed_dictionaries({"metric": st.sampled_from(["peak_memory_bytes", "parameters", "train_seconds"])}),
)
DATASETS = st.one_of(
    st.just({"name": "digits"}),
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["MNIST", "FashionMNIST", "CIFAR10", "CIFAR100"]),
            "source": st.sampled_from([{"download": True}, {"path": "data"}]),
        },
        optional={"digest": st.just("sha256:" + 64 * "a"), "validationFraction": numbers(0.01, 0.5)},
    ),
)


@st.composite
def documents(draw: Draw) -> dict[str, Any]:
    """BenchmarkJobs as a person might write them, all of them valid."""
    entries = []
    for name in draw(st.lists(NAMES, min_size=1, max_size=4, unique=True)):
        entry = {"name": name, "model": draw(MODELS)}
        if draw(st.booleans()):
            entry["training"] = draw(TRAININGS)
        entries.append(entry)
    spec = draw(
        some(
            board=NAMES,
            budget=some(
                maxEpochs=st.integers(1, 100_000),
                maxSeconds=st.none() | numbers(0.1, 1e6),
                target=st.fixed_dictionaries({"metric": st.sampled_from(EACH_EPOCH), "value": numbers(0, 1)}),
            ),
            preprocessing=some(
                normalize=st.booleans(),
                augmentations=st.just([{"name": "RandomCrop", "args": {"padding": 4}}, {"name": "RandomErasing"}]),
                featureSelection=st.none() | st.just({"method": "SelectKBest", "k": 10}),
            ),
            training=TRAININGS,
            evaluation=some(metrics=st.lists(st.sampled_from(QUALITY), min_size=1, unique=True)),
            trials=some(repeats=st.integers(1, 100), baseSeed=st.integers(0, 2**31 - 1), maxFailed=st.integers(0, 9)),
            execution=some(parallelism=st.integers(1, 99)),
            suspend=st.booleans(),
        )
    )
    names = draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))
    objectives = [{"name": name} | draw(OBJECTIVES) for name in names]
    return {
        "apiVersion": "velodrome.dev/v1alpha1",
        "kind": "BenchmarkJob",
        "metadata": {"name": draw(NAMES)},
        "spec": spec | {"dataset": draw(DATASETS), "entries": entries, "objectives": objectives},
    }


# Valid jobs


@given(documents())
def test_a_job_survives_json_whole(document: dict[str, Any]) -> None:
    job = validate(document)
    assert validate(job.model_dump(mode="json")) == job
    assert parse_jobs(job.model_dump_json()) == (job,)
    assert BenchmarkJob.model_validate(job.model_dump()) == job


@given(documents())
def test_what_was_written_alone_is_the_same_job(document: dict[str, Any]) -> None:
    job = validate(document)
    assert validate(job.model_dump(mode="json", exclude_unset=True)) == job


@given(documents())
def test_yaml_and_plain_values_are_read_alike(document: dict[str, Any]) -> None:
    assert parse_jobs(json.dumps(document)) == (validate(document),)


@given(documents())
def test_every_valid_job_has_a_plan_of_valid_trials(document: dict[str, Any]) -> None:
    job = validate(document)
    made = plan(job)
    assert len(made.trials) == len(job.spec.entries) * job.spec.trials.repeats
    for config in made.configs.values():
        assert TrialConfig.model_validate_json(config.model_dump_json(), strict=True) == config


def reordered(value: Any) -> Any:
    """The same value with every mapping's fields the other way round, and whole numbers as floats."""
    if isinstance(value, Mapping):
        return {key: reordered(item) for key, item in reversed(list(value.items()))}
    return [reordered(item) for item in value] if isinstance(value, list) else value


@given(documents())
def test_neither_the_order_of_fields_nor_a_way_through_json_changes_an_identity(document: dict[str, Any]) -> None:
    first, second = plan(validate(document)), plan(validate(reordered(document)))
    third = plan(validate(json.loads(validate(document).model_dump_json())))
    for other in (second, third):
        assert local_uid(other) == local_uid(first)
        assert [other.trial(i).id for i in range(min(3, len(first)))] == [
            first.trial(i).id for i in range(min(3, len(first)))
        ]


# Everything else


def is_reported(document: Any) -> bool:
    """Whether a document is a job; where it is none, every problem has a place, a message and a readable text."""
    problems: tuple[Problem, ...] | None = None
    try:
        validate(document)
    except SpecError as error:
        problems = error.problems
    assert problems != ()
    for problem in problems or ():
        assert problem.path
        assert problem.message
        assert "Input should" not in problem.message
        assert str(problem)
    return problems is None


@given(JSON)
@example({"spec": {"evaluation": {"metrics": [[1], {}]}, "objectives": [{"metric": []}], "dataset": {"name": {}}}})
@example({"spec": {"evaluation": {"inference": {"batchSizes": 3}}, "entries": [{"name": []}, {"name": {}}]}})
@example({"spec": {"trials": {"repeats": 10**400}, "budget": {"target": {"metric": "accuracy", "value": 10**400}}}})
def test_no_json_raises_anything_but_a_spec_error(document: Any) -> None:
    is_reported(document)
    broken_rules(document)


@given(st.text(max_size=60) | st.from_regex(r"[\[\]{}:,&*!<>|?%@`'\"#~\n\t a1-]{0,40}", fullmatch=True))
@example("&a a: *a")
@example("? &a [*a]\n: 1")
@example("!!float x")
@example("!!bool x")
@example("!!null x")
@example("!!int ''")
@example("!!merge x: 1")
@example("<<: {<<: 1}")
@example("--- |\n a\n...\n%TAG ! x\n---\n")
def test_no_text_raises_anything_but_a_spec_error(text: str) -> None:
    with contextlib.suppress(SpecError):
        parse_jobs(text)


def places(value: Any, here: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Every location inside of a value."""
    if isinstance(value, Mapping):
        return [here, *(place for key, item in value.items() for place in places(item, (*here, key)))]
    if isinstance(value, list):
        return [here, *(place for index, item in enumerate(value) for place in places(item, (*here, index)))]
    return [here]


def at(value: Any, place: tuple[str | int, ...]) -> Any:
    """What is at a location inside of a value."""
    for part in place:
        value = value[part]
    return value


@given(documents(), JSON, st.data())
def test_a_job_with_anything_in_any_place_is_read_or_refused_there(
    document: dict[str, Any], value: Any, data: st.DataObject
) -> None:
    place = data.draw(st.sampled_from([place for place in places(document) if place]))
    spoilt = copy.deepcopy(document)
    at(spoilt, place[:-1])[place[-1]] = value
    is_reported(spoilt)


@given(documents(), st.text(st.characters(codec="utf-8"), min_size=1, max_size=12), st.data())
def test_a_field_that_does_not_exist_is_always_reported(
    document: dict[str, Any], name: str, data: st.DataObject
) -> None:
    spoilt = copy.deepcopy(document)  # parts of what is generated are shared between examples
    mappings = [
        inside
        for place in places(spoilt)
        if place[:1] == ("spec",) and "args" not in place and isinstance(inside := at(spoilt, place), dict)
    ]
    data.draw(st.sampled_from(mappings))["x " + name] = None
    assert not is_reported(spoilt)


@given(JSON)
def test_equal_values_have_one_spelling(value: Any) -> None:
    try:
        text = canonical(value)
    except ValueError:
        return  # NaN or an infinity
    assert canonical(json.loads(text)) == text
    assert canonical(reordered(value)) == text

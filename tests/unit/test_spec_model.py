"""What the model promises of every field, and that the whole object can be written."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel, ValidationError

from velodrome.errors import SpecError
from velodrome.spec import BenchmarkJob, Dataset, Entry, Model, Objective, Optimizer, Training, parse_jobs, validate
from velodrome.spec.dataset import FORMAT
from velodrome.spec.types import IMAGE, PATTERNS, QUANTITY

FULL = (Path(__file__).parent / "jobs" / "full.yaml").read_text(encoding="utf-8")


def models(model: type[BaseModel] = BenchmarkJob) -> dict[str, type[BaseModel]]:
    """Every model of the object, by name."""
    found = {model.__name__: model}
    for field in model.model_fields.values():
        for below in nested(field.annotation):
            if below.__name__ not in found:
                found |= models(below)
    return found


def nested(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from nested(argument)


MODELS = models()
FIELDS = [f"{model}.{field}" for model, found in MODELS.items() for field in found.model_fields]


def test_the_walk_reaches_what_is_deepest() -> None:
    assert {"PersistentVolumeClaim", "AugmentationArgs", "OptimizerOverride", "LocalObjectReference"} <= set(MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_every_part_is_strict_frozen_and_described(name: str) -> None:
    model = MODELS[name]
    assert model.model_config.get("frozen") is True
    assert model.model_config.get("extra") == ("ignore" if name == "ObjectMeta" else "forbid")
    assert model.model_config.get("allow_inf_nan") is False
    assert (model.__doc__ or "").endswith(".")


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_has_one_sentence(name: str) -> None:
    model, _, field = name.partition(".")
    text = MODELS[model].model_fields[field].description or ""
    assert re.fullmatch(r"[^\n]{8,130}\.", text), text
    assert ". " not in text.replace("e.g. ", ""), f"{text!r} is more than a sentence"


# What bounds a value, by its JSON type, in the schema that is made from the model.
LIMITS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "integer": (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")),
    "number": (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")),
    "string": (("maxLength", "enum", "const"),),
    "array": (("maxItems",),),
    "object": (("maxProperties", "properties"),),
    "boolean": (),
    "null": (),
}
# Anything that JSON can say: its size is that of the object, its numbers fit in 64 bits.
FREE = "JsonValue"


def unlimited(schema: Any, here: str) -> Iterator[str]:
    """Where a schema lets a value through that has no limit."""
    if isinstance(schema, list):
        for item in schema:
            yield from unlimited(item, here)
    if not isinstance(schema, Mapping):
        return
    if isinstance(kind := schema.get("type"), str):
        for words in LIMITS[kind]:
            if not set(words) & set(schema):
                yield f"{here} ({kind}) has none of {', '.join(words)}"
    if isinstance(schema.get("additionalProperties"), Mapping) and "propertyNames" not in schema:
        yield f"{here} has keys without limits"
    for name, part in schema.get("properties", {}).items():
        yield from unlimited(part, f"{here}.{name}")
    for word in ("items", "prefixItems", "anyOf", "additionalProperties", "propertyNames"):
        yield from unlimited(schema.get(word), f"{here}[]")


def test_every_number_text_list_and_mapping_has_limits() -> None:
    schema = BenchmarkJob.model_json_schema()
    parts = {name: part for name, part in schema["$defs"].items() if name != FREE} | {"BenchmarkJob": schema}
    assert len(parts) > 30
    assert [fault for name, part in parts.items() for fault in unlimited(part, name)] == []


def test_a_field_without_limits_would_be_noticed() -> None:
    class Loose(BaseModel):
        number: int
        text: str
        things: list[str]
        table: dict[str, float]

    assert len(list(unlimited(Loose.model_json_schema(), "Loose"))) == 9


def patterns(schema: Any) -> Iterator[str]:
    """Every pattern that a schema holds strings to."""
    if isinstance(schema, Mapping):
        if isinstance(schema.get("pattern"), str):
            yield schema["pattern"]
        for part in schema.values():
            yield from patterns(part)
    if isinstance(schema, list):
        for part in schema:
            yield from patterns(part)


def test_every_pattern_is_described_in_words() -> None:
    own_words = {IMAGE, QUANTITY, FORMAT}  # their validators say what to write
    assert set(patterns(BenchmarkJob.model_json_schema())) - own_words == set(PATTERNS)


def test_no_field_has_a_name_that_yaml_reads_as_a_boolean() -> None:
    names = {field.alias or name for model in MODELS.values() for name, field in model.model_fields.items()}
    assert not names & {"n", "y", "on", "off", "yes", "no"}


# The whole object


def test_the_whole_object_can_be_written() -> None:
    (job,) = parse_jobs(FULL)
    assert job.board == "cifar10"
    assert [objective.name for objective in job.spec.objectives] == ["accuracy", "speed", "efficiency"]
    assert job.spec.dataset.source is not None
    assert job.spec.dataset.source.persistent_volume_claim is not None
    assert job.spec.dataset.source.persistent_volume_claim.claim_name == "datasets"
    assert job.spec.training.optimizer.learning_rate == 0.1
    assert job.spec.entries[1].model == Model(name="velodrome/resnet9", args={"width": 128})
    assert job.spec.entries[2].command == ("python", "-m", "ours.train")
    assert job.spec.runner.resources.limits == {"nvidia.com/gpu": 1, "memory": "16Gi"}
    assert job.spec.execution.isolation == "Node"
    assert job.spec.ttl_seconds_after_finished == 86400
    assert job.metadata.labels == {"kueue.x-k8s.io/queue-name": "gpu"}


def test_the_whole_object_survives_json() -> None:
    (job,) = parse_jobs(FULL)
    assert validate(job.model_dump(mode="json")) == job
    assert parse_jobs(job.model_dump_json()) == (job,)


def test_what_the_api_server_adds_is_let_through() -> None:
    (job,) = parse_jobs(FULL)
    document = job.model_dump(mode="json")
    document["metadata"] |= {"uid": "5f9d", "resourceVersion": "12", "generation": 1, "managedFields": [{}]}
    document["status"] = {"conditions": [], "observedGeneration": 1}
    again = validate(document)
    assert again.metadata.uid == "5f9d"
    assert again.spec == job.spec
    assert "status" not in again.model_dump(mode="json")


# Defaults and small jobs


def small(**spec: Any) -> dict[str, Any]:
    entries = [{"name": "mlp", "model": {"name": "velodrome/mlp"}}]
    return {
        "apiVersion": "velodrome.dev/v1alpha1",
        "kind": "BenchmarkJob",
        "metadata": {"name": "race"},
        "spec": {"dataset": {"name": "digits"}, "entries": entries} | spec,
    }


def test_a_dataset_and_an_entry_are_enough() -> None:
    job = validate(small())
    assert job.board == "digits"
    assert job.namespace == "default"
    assert job.spec.objectives == (Objective(name="accuracy", metric="accuracy"),)
    assert job.spec.trials.repeats == 5


def test_the_board_is_the_datasets_name_in_lower_case() -> None:
    job = validate(small(dataset={"name": "FashionMNIST", "source": {"download": True}}))
    assert job.board == "fashionmnist"


@pytest.mark.parametrize("name", ["api_version", "batch_size", "learning_rate"])
def test_python_names_of_fields_are_none_of_the_objects(name: str) -> None:
    with pytest.raises(SpecError, match="did you mean"):
        validate(small() | {name: 1} if name == "api_version" else small(training={"optimizer": {"learning_rate": 1}}))


def test_python_may_use_python_names() -> None:
    assert Training(batch_size=3, optimizer=Optimizer(learning_rate=0.5)).batch_size == 3


def test_a_job_made_in_python_is_held_to_the_rules_that_span_fields() -> None:
    job = validate(small())
    entries = (Entry(name="a", model=Model(name="velodrome/mlp")),) * 2
    with pytest.raises(ValidationError, match=r"spec\.entries\[1\]\.name: \"a\" is taken"):
        BenchmarkJob(
            api_version="velodrome.dev/v1alpha1",
            kind="BenchmarkJob",
            metadata=job.metadata,
            spec=type(job.spec)(dataset=Dataset(name="digits"), entries=entries),
        )


def test_a_job_cannot_be_changed() -> None:
    job = validate(small())
    with pytest.raises(ValidationError, match="frozen"):
        job.spec.trials.repeats = 100


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 2**63, [1, {"a": float("nan")}]], ids=str)
def test_a_models_arguments_are_what_json_and_64_bits_can_hold(value: Any) -> None:
    entry = {"name": "own", "model": {"name": "my.models:net", "args": {"x": value}}}
    with pytest.raises(SpecError, match=r"spec\.entries\[0\]\.model\.args: "):
        validate(small(entries=[entry]))


@pytest.mark.parametrize("quantity", [1, "1", "500m", "4Gi", "0.5", "1e3", "100k"], ids=repr)
def test_a_quantity_is_kubernetes_own(quantity: Any) -> None:
    job = validate(small(runner={"resources": {"limits": {"memory": quantity}}}))
    assert job.spec.runner.resources.limits == {"memory": quantity}


@pytest.mark.parametrize("quantity", ["", "4GB", "4 Gi", "-1", -1, 1.5, True, None, [], "1" * 65], ids=repr)
def test_what_is_no_quantity_is_refused(quantity: Any) -> None:
    with pytest.raises(SpecError, match="is no quantity"):
        validate(small(runner={"resources": {"limits": {"memory": quantity}}}))


@pytest.mark.parametrize("document", [None, [], "text", 1, float("nan"), {}, {"spec": None}], ids=repr)
def test_anything_else_is_refused_with_a_reason(document: Any) -> None:
    with pytest.raises(SpecError) as caught:
        validate(document)
    assert caught.value.problems


def test_python_objects_that_json_has_no_form_for_are_refused() -> None:
    circle: list[Any] = []
    circle.append(circle)
    for value in (circle, {1, 2}, b"bytes", 10**5000):
        with pytest.raises(SpecError, match="document: is not JSON"):
            validate(small(training=value))


@pytest.mark.parametrize("value", ["\ud800", [[[]]] * 3])
def test_what_no_json_reader_takes_is_refused(value: Any) -> None:
    deep: Any = []
    for _ in range(300):
        deep = [deep]
    with pytest.raises(SpecError, match="document: can't be read as JSON"):
        validate(small(training=value if value == "\ud800" else deep))


def test_the_spec_imports_nothing_heavy() -> None:
    code = "import sys, velodrome.spec, velodrome.plan; print(sorted({m.partition('.')[0] for m in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for heavy in ("redis", "torch", "scipy", "numpy", "rich", "typer"):
        assert f"'{heavy}'" not in loaded

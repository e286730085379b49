"""The field types of a BenchmarkJob. Each has limits, and its error says what to write instead. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field, JsonValue, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from velodrome.metrics.catalogue import CATALOGUE, present_name
from velodrome.metrics.declared import LONGEST_NAME
from velodrome.metrics.declared import NAME as METRIC_NAME
from velodrome.spec.wording import close_match, shown, suggestion
from velodrome.tasks import TASKS
from velodrome.vocabulary import MODEL_ARGS

DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
ENTRY_NAME = r"^[A-Za-z0-9]([-A-Za-z0-9._]*[A-Za-z0-9])?$"
DIGEST = r"^sha256:[a-f0-9]{64}$"
VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$"
IMAGE = r"^[^\s@]+@sha256:[a-f0-9]{64}$"
SUBDOMAIN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
KEY = r"^[-._a-zA-Z0-9]+$"
MOUNT_PATH = r"^(/[^/:\s]+)+$"
TITLE = r"^[A-Za-z0-9]([-_A-Za-z0-9]*[A-Za-z0-9])?$"
FACTORY = r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*"
QUANTITY = r"^[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+|[numkMGTPE]|[KMGTPE]i)?$"

# What the patterns require, in words.
PATTERNS = {
    DNS_LABEL: "lower-case letters, digits and -, with a letter or digit at both ends",
    ENTRY_NAME: "letters, digits, -, . and _, with a letter or digit at both ends",
    TITLE: "letters, digits, - and _, with a letter or digit at both ends",
    DIGEST: "sha256: and 64 hexadecimal digits, in lower case",
    VARIABLE: "letters, digits and _, without a digit in front",
    SUBDOMAIN: "lower-case letters, digits, - and ., with a letter or digit at both ends of each part",
    KEY: "letters, digits, -, . and _",
    METRIC_NAME: "lower-case letters, digits and _, with a letter in front",
    MOUNT_PATH: "an absolute path without : and spaces, and without / at its end, such as /models",
}

_MODEL_NAMES = (
    re.compile(r"torchvision/[a-z0-9_]+"),
    re.compile(r"timm/[A-Za-z0-9_.-]+"),
    re.compile(FACTORY),
)


def refused(message: str, given: object, hint: str) -> PydanticCustomError:
    """The error for a value that no bound or pattern describes. The hint says what to write."""
    return PydanticCustomError("refused", "{text}", {"text": f"{shown(given)} {message}", "hint": hint})


def _unknown(what: str, given: str, allowed: Iterable[str]) -> PydanticCustomError:
    return refused(f"is no {what} that Velodrome knows", given, suggestion(given, allowed))


def _task(name: str) -> str:
    if name not in TASKS:
        raise _unknown("task", name, TASKS)
    return name


def _model(name: str) -> str:
    if name in MODEL_ARGS or any(pattern.fullmatch(name) for pattern in _MODEL_NAMES):
        return name
    if name.startswith("velodrome/"):
        raise _unknown("model", name, MODEL_ARGS)
    raise refused("is no model name", name, _model_hint(name))


# How the names of torchvision's classifiers begin.
_FAMILIES = re.compile(
    "alexnet|convnext|densenet|efficientnet|googlenet|inception|maxvit|mnasnet|mobilenet|regnet|resne[tx]|shufflenet|"
    "squeezenet|swin|vgg|vit_|wide_resnet"
)


def _model_hint(name: str) -> str:
    """The model that a name without a library means, or how names of models look."""
    own = close_match(f"velodrome/{name}", MODEL_ARGS) if "/" not in name and ":" not in name else None
    lower = name.lower()
    bare = lower.replace("-", "" if re.fullmatch("[a-z]+-[0-9]+", lower) else "_")
    if own is not None and own.removeprefix("velodrome/") == bare:
        return f'did you mean "{own}"?'
    if _FAMILIES.match(bare):
        return f'did you mean "torchvision/{bare}"?'
    if own is not None:
        return f'did you mean "{own}"?'
    return "velodrome/NAME, torchvision/NAME, timm/NAME or package.module:factory"


def _image(reference: str) -> str:
    if not re.fullmatch(IMAGE, reference):
        hint = "write NAME@sha256:DIGEST, so that every trial runs the same image"
        raise refused("is not pinned by its digest", reference, hint)
    return reference


def _quantity(value: Any) -> int | str:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63:
        return value
    if isinstance(value, str) and len(value) <= 64 and re.fullmatch(QUANTITY, value):
        return value
    raise refused("is no quantity", value, "a Kubernetes quantity, such as 2, 500m or 4Gi")


def storable(value: Any) -> Any:
    """The value, after checking that JSON can hold it and that each of its numbers fits in 64 bits."""
    if isinstance(value, float) and not math.isfinite(value):
        raise refused("is no finite number", value, "write a number, or null")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise refused("does not fit in 64 bits", value, "write it as text, or with an exponent")
    if isinstance(value, Mapping):
        return {key: storable(item) for key, item in value.items()}
    return [storable(item) for item in value] if isinstance(value, list) else value


Finite = Annotated[float, Field(allow_inf_nan=False)]
Fraction = Annotated[float, Field(allow_inf_nan=False, ge=0, le=1)]

Name = Annotated[str, Field(min_length=1, max_length=63, pattern=DNS_LABEL)]
ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=SUBDOMAIN)]
EntryName = Annotated[str, Field(min_length=1, max_length=63, pattern=ENTRY_NAME)]
# A metric of the catalogue or of spec.metrics: `velodrome.spec.metric_rules` looks it up.
MetricName = Annotated[
    str,
    Field(min_length=1, max_length=LONGEST_NAME, examples=[*CATALOGUE]),
    AfterValidator(present_name),
]
TaskName = Annotated[str, AfterValidator(_task), WithJsonSchema({"type": "string", "enum": list(TASKS)})]
ModelName = Annotated[str, Field(min_length=1, max_length=253), AfterValidator(_model)]
Image = Annotated[
    str,
    Field(max_length=512),
    AfterValidator(_image),
    WithJsonSchema({"type": "string", "maxLength": 512, "pattern": IMAGE}),
]

# A Kubernetes label's key is at most a 253-character domain, a slash and 63 characters.
LabelKey = Annotated[str, Field(min_length=1, max_length=317)]
Labels = Annotated[dict[LabelKey, Annotated[str, Field(max_length=63)]], Field(max_length=256)]
Annotations = Annotated[dict[LabelKey, Annotated[str, Field(max_length=262_144)]], Field(max_length=256)]
Quantity = Annotated[
    int | str,
    PlainValidator(_quantity),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0, "maximum": 2**63 - 1},
                {"type": "string", "maxLength": 64, "pattern": QUANTITY},
            ]
        }
    ),
]
Quantities = Annotated[dict[LabelKey, Quantity], Field(max_length=64)]
JsonObject = Annotated[
    dict[Annotated[str, Field(max_length=253)], JsonValue], Field(max_length=64), AfterValidator(storable)
]

"""What strangers may write, for hypothesis: JSON of any shape, changed documents, objects of the API, BenchmarkJobs."""

from __future__ import annotations

import copy
import string
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from velodrome import keys

Json = Any
SearchStrategy = st.SearchStrategy

# What terminals, pages, numbers and parsers are known to stumble over.
ODD_TEXTS = (
    "", " ", "0", "-1", "abc", "NaN", "1e999", "null", "\x00", "\x1b]0;title\x07", "\x1b[2J", "\u202etxet", "\u0661",
    "a" * 300, "line\nline", "\r\n", "<script>alert(1)</script>", "[/bold]", "{x}", "%s%n", "é́́",
)  # fmt: skip
ODD_NUMBERS = (
    0, -1, 1, 2**31, 2**53, 2**63, -(2**63), 2**64, 10**400, 1.7, -5.0, 1e308, -1e308, 5e-324, 30_000, 97.3, -0.0,
)  # fmt: skip
ODD_TIMES = (
    "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "1969-07-20T20:17:00Z", "2026-02-30T00:00:00Z",
    "2026-01-01T00:00:00+23:59", "yesterday", "9999-12-31T23:59:59-12:00",
)  # fmt: skip

texts = st.one_of(st.sampled_from(ODD_TEXTS), st.text(max_size=40))
numbers = st.one_of(st.sampled_from(ODD_NUMBERS), st.integers(), st.floats(allow_nan=False, allow_infinity=False))
scalars = st.one_of(st.none(), st.booleans(), numbers, texts, st.sampled_from(ODD_TIMES))


def json_values(leaves: int = 8) -> SearchStrategy[Json]:
    """JSON of any shape."""
    return st.recursive(
        scalars,
        lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
        max_leaves=leaves,
    )


def paths(document: Json, at: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Where the values of a document lie, the document itself first."""
    found = [at]
    inner: Sequence[tuple[str | int, Json]] = ()
    if isinstance(document, Mapping):
        inner = list(document.items())
    elif isinstance(document, list):
        inner = list(enumerate(document))
    for name, value in inner:
        found += paths(value, (*at, name))
    return found


@st.composite
def changed(draw: st.DrawFn, document: Json, values: SearchStrategy[Json] | None = None) -> Json:
    """A document that is right but for one to three places: another value, a field less, a field more."""
    found = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(paths(found)))
        if not path:
            continue
        parent = found
        for name in path[:-1]:
            parent = parent[name]
        match draw(st.sampled_from(("replace", "replace", "remove", "add"))):
            case "replace":
                parent[path[-1]] = draw(json_values() if values is None else values)
            case "remove":
                del parent[path[-1]]
            case "add" if isinstance(parent, dict):
                parent[draw(texts)] = draw(json_values(3))
    return found


@st.composite
def retold(draw: st.DrawFn, document: Json) -> Json:
    """A document whose texts all begin with what may harm who looks at them, but for its identities and times."""
    harm = draw(st.sampled_from(("\x1b]0;title\x07", "\x1b[2J", "\u202e", "\x00\x1b", "\x9b31m\x1b")))

    def harmed(value: Json, name: str = "") -> Json:
        if name in _PLANNED:
            return value
        if isinstance(value, dict):
            return {key: harmed(inner, key) for key, inner in value.items()}
        if isinstance(value, list):
            return [harmed(inner) for inner in value]
        kept = not isinstance(value, str) or name in _IDENTITIES or name.endswith(("_at", "digest", "uid", "id"))
        return value if kept else harm + value

    return harmed(document)


# What a record is known and filed by; the rest is anybody's words.
_IDENTITIES = {"entry", "outcome", "executor", "stopped_by", "framework", "precision", "type"}
_PLANNED = {"config", "document"}  # what the operator wrote, by the BenchmarkJob


# -- objects of the API -----------------------------------------

_NAMES = string.ascii_lowercase + string.digits
_INDEX = "batch.kubernetes.io/job-completion-index"
_JOB = "batch.kubernetes.io/job-name"
label_values = st.one_of(
    st.sampled_from(("", "abc", "0", "-", "1_0", "00", "99999999999999999999", "0.5", "A", "1e3")),
    st.text(string.ascii_letters + string.digits, max_size=20),
).filter(lambda text: not text or (text[0].isalnum() and text[-1].isalnum()))


@st.composite
def metadata(draw: st.DrawFn, victims: Sequence[Mapping[str, str]], *, owned: bool) -> dict[str, Any]:
    """Of an object that passes itself off as a child of one of the victims, as well as it can or worse.

    A victim has `uid` and `name`, and `job` and `jobUid` of a Job of its.
    """
    victim = draw(st.sampled_from(victims))
    uid = draw(st.one_of(st.just(victim["uid"]), label_values))
    found: dict[str, Any] = {
        "generateName": draw(st.sampled_from((f"{victim['job']}-0-", f"{victim['job']}-x-", "stranger-"))),
        "labels": {
            keys.LABEL_JOB_UID: uid,
            keys.LABEL_JOB_NAME: victim["name"],
            keys.LABEL_ROLE: keys.ROLE_RUNNER,
            _JOB: draw(st.one_of(st.just(victim["job"]), label_values)),
            _INDEX: draw(label_values),
        },
        "annotations": {_INDEX: draw(st.sampled_from((*ODD_TEXTS[:9], "0", "1")))},
    }
    for label in draw(st.lists(st.sampled_from(sorted(set(found["labels"]) - {keys.LABEL_JOB_UID})), max_size=2)):
        found["labels"].pop(label, None)
    if owned:
        owners = (
            {"apiVersion": keys.API_VERSION, "kind": keys.KIND, "name": victim["name"], "uid": victim["uid"]},
            {"apiVersion": "batch/v1", "kind": "Job", "name": victim["job"], "uid": victim["jobUid"]},
            {"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": victim["uid"]},
        )
        controller = draw(st.booleans())
        found["ownerReferences"] = [{**draw(st.sampled_from(owners)), "controller": controller}]
    return found


def _pod_spec() -> dict[str, Any]:
    return {
        "containers": [{"name": "runner", "image": "localhost/none"}],
        "automountServiceAccountToken": False,
        "restartPolicy": "Never",
    }


@st.composite
def children(draw: st.DrawFn, victims: Sequence[Mapping[str, str]], *, owned: bool) -> dict[str, Any]:
    """A Job or a pod, as it is to be created."""
    own = draw(metadata(victims, owned=owned))
    if draw(st.booleans()):
        return {"apiVersion": "v1", "kind": "Pod", "metadata": own, "spec": _pod_spec()}
    spec: dict[str, Any] = {
        "completionMode": "Indexed",
        "completions": draw(st.sampled_from((1, 2, 100_000))),
        "parallelism": draw(st.sampled_from((0, 1, 100))),
        "suspend": draw(st.booleans()),
        "template": {"metadata": {"labels": own["labels"]}, "spec": _pod_spec()},
    }
    spec = {name: value for name, value in spec.items() if name == "template" or draw(st.integers(0, 4))}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": own, "spec": spec}


conditions = st.lists(
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(
                ("Complete", "Failed", "FailureTarget", "DisruptionTarget", "PodScheduled", "Ready", "Odd")
            ),
            "status": st.sampled_from(("True", "False", "Unknown")),
        },
        optional={
            "reason": st.sampled_from(("Unschedulable", "DeadlineExceeded", "PodFailurePolicy")),
            "message": texts,
            "lastTransitionTime": st.sampled_from((None, *ODD_TIMES[:3])),
        },
    ),
    max_size=3,
)
_states = st.one_of(
    st.fixed_dictionaries({"running": st.fixed_dictionaries({"startedAt": st.sampled_from((None, *ODD_TIMES[:3]))})}),
    st.fixed_dictionaries(
        {"waiting": st.fixed_dictionaries({"reason": texts, "message": texts})},
    ),
    st.fixed_dictionaries(
        {
            "terminated": st.fixed_dictionaries(
                {"exitCode": st.sampled_from((0, 1, 75, 78, 137, -1, 2**31 - 1))},
                optional={"reason": texts, "message": texts, "finishedAt": st.sampled_from(ODD_TIMES[:3])},
            )
        }
    ),
    st.just({}),
)
pod_statuses = st.fixed_dictionaries(
    {},
    optional={
        "phase": st.sampled_from(("Pending", "Running", "Succeeded", "Failed", "Unknown", "Odd")),
        "reason": texts,
        "message": texts,
        "conditions": conditions,
        "startTime": st.sampled_from((None, *ODD_TIMES[:3])),
        "containerStatuses": st.lists(
            st.fixed_dictionaries(
                {"name": st.just("runner"), "state": _states, "image": texts, "imageID": texts,
                 "ready": st.booleans(), "restartCount": st.integers(0, 3)}
            ),
            max_size=2,
        ),
    },
)  # fmt: skip
job_statuses = st.fixed_dictionaries(
    {},
    optional={
        "active": st.sampled_from((0, 1, 2**31 - 1)),
        "failed": st.sampled_from((0, 1, 2**31 - 1)),
        "succeeded": st.sampled_from((0, 1, 2**31 - 1)),
        "completedIndexes": st.sampled_from(("", "0", "0-1", "0-99999", "1-", "x", "0,0", "5-2", "0-" + "9" * 15)),
        "failedIndexes": st.sampled_from(("", "0", "1", "0-99999", "y", ",")),
        "startTime": st.sampled_from((None, *ODD_TIMES[:3])),
        "conditions": conditions,
    },
)


# -- BenchmarkJobs by the CRD's schema -----------------------------------------


def of_schema(schema: Mapping[str, Any], depth: int = 0) -> SearchStrategy[Json]:
    """Values that a structural schema allows, but for its CEL rules."""
    found = _of_type(schema, depth)
    return st.one_of(found, st.none()) if schema.get("nullable") else found


def _of_type(schema: Mapping[str, Any], depth: int) -> SearchStrategy[Json]:
    if schema.get("x-kubernetes-int-or-string"):
        return st.one_of(st.integers(0, 2**31 - 1), st.sampled_from(("1", "500m", "1Gi", "-1", "abc")))
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema.get("type"):
        case "object":
            return _objects(schema, depth)
        case "array":
            least, most = schema.get("minItems", 0), min(schema.get("maxItems", 3), schema.get("minItems", 0) + 3)
            return st.lists(of_schema(schema["items"], depth + 1), min_size=least, max_size=most)
        case "string":
            return _strings(schema)
        case "boolean":
            return st.booleans()
        case "integer":
            return st.integers(int(schema.get("minimum", -(2**31))), int(schema.get("maximum", 2**31 - 1)))
        case "number":
            return st.floats(
                schema.get("minimum", -1e9), schema.get("maximum", 1e9), allow_nan=False, allow_infinity=False,
                exclude_min=schema.get("exclusiveMinimum", False), exclude_max=schema.get("exclusiveMaximum", False),
            )  # fmt: skip
    return json_values(3)


def _objects(schema: Mapping[str, Any], depth: int) -> SearchStrategy[Json]:
    properties, required = schema.get("properties", {}), schema.get("required", ())
    if "additionalProperties" in schema:
        values = of_schema(schema["additionalProperties"], depth + 1)
        return st.dictionaries(st.sampled_from(("cpu", "memory", "nvidia.com/gpu", "x")), values, max_size=2)
    if not properties:
        return st.dictionaries(st.sampled_from(("hidden", "a", "b c", "x" * 300)), json_values(2), max_size=2)
    fixed = {name: of_schema(properties[name], depth + 1) for name in required}
    # Deep down little is said, so that a whole document does not have everything at once.
    optional = {
        name: of_schema(inner, depth + 1) for name, inner in properties.items() if name not in required and depth < 6
    }
    return st.fixed_dictionaries(fixed, optional=optional)


def _strings(schema: Mapping[str, Any]) -> SearchStrategy[str]:
    least, most = schema.get("minLength", 0), min(schema.get("maxLength", 40), 63)
    if "pattern" in schema:
        return st.from_regex(schema["pattern"], fullmatch=True).filter(lambda text: least <= len(text) <= 200)
    usual = st.sampled_from(("digits", "MNIST", "velodrome/mlp", "velodrome/cnn", "torchvision/resnet18", "a.b:c"))
    return st.one_of(usual, st.text(min_size=least, max_size=most))


def schema_at(schema: Mapping[str, Any], path: Sequence[str | int]) -> Mapping[str, Any] | None:
    """The schema of the values at a path; None where it says nothing of them."""
    found: Mapping[str, Any] | None = schema
    for name in path:
        if found is None:
            return None
        found = found.get("items") if isinstance(name, int) else found.get("properties", {}).get(name)
    return found


@st.composite
def benchmark_jobs(draw: st.DrawFn, schema: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """A BenchmarkJob that is right but for one to four parts of its spec, which are as their schema allows, or wild."""
    found: dict[str, Any] = copy.deepcopy(dict(base))
    for _ in range(draw(st.integers(1, 4))):
        known = [path for path in paths(found["spec"]) if schema_at(schema, path)]
        path = draw(st.sampled_from(known))
        here = schema_at(schema, path)
        assert here is not None
        value = found["spec"]
        for name in path:
            value = value[name]
        properties = here.get("properties", {})
        if properties and isinstance(value, dict):
            name = draw(st.sampled_from(sorted(properties)))
            path, here = (*path, name), properties[name]
        if not path:
            continue
        parent = found["spec"]
        for name in path[:-1]:
            parent = parent[name]
        wild = draw(st.integers(0, 3)) == 0
        parent[path[-1]] = draw(json_values(4) if wild else of_schema(here))
    return found

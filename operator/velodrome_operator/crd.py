"""The CustomResourceDefinition of BenchmarkJob, made from the pydantic model. Pure.

`crd()` is the model's schema, with the rules that CEL can express and with the status that the operator writes. Its
return value is committed as `deploy/crd/benchmarkjobs.yaml`, and a check finds any difference.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from velodrome import keys
from velodrome.metrics.catalogue import ALIASES, CATALOGUE, unit_range
from velodrome.metrics.served import least_by_metric
from velodrome.spec import BenchmarkJobSpec
from velodrome.spec.rules import MOST_TRIALS
from velodrome.tasks import DEFAULT, TASKS
from velodrome.vocabulary import (
    AUGMENTATION_ARGS,
    AUGMENTATION_NEEDS,
    BUNDLED,
    COLUMNAR,
    DATASET_FIELDS,
    DATASETS,
    FEATURE_SELECTION_FIELDS,
    FORMAT_FIELDS,
    MIXES,
    MODEL_ARGS,
    OPTIMIZE_STEPS,
    OPTIMIZER_FIELDS,
    RAND_BINS,
    RAND_MAGNITUDE,
    SCHEDULE_FIELDS,
)
from velodrome_operator.immutable import frozen
from velodrome_operator.pod_cel import add_pod_rules
from velodrome_operator.structural import Schema, structural

PLURAL = "benchmarkjobs"


def crd() -> Schema:
    """The CRD as plain values, ready for YAML."""
    version = {
        "name": keys.VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": _root()},
        "subresources": {"status": {}},
        "additionalPrinterColumns": [
            _column("Status", '.status.conditions[?(@.status=="True")].type'),
            _column("Trials", ".status.trials.done"),
            _column("Leader", ".status.leader"),
            _column("Message", ".status.message"),
            _column("Age", ".metadata.creationTimestamp", "date"),
            _column("Regressed", '.status.conditions[?(@.type=="Regressed")].status', wide=True),
            _column("Image", ".status.image", wide=True),
            _column("Cohort", ".status.cohort", wide=True),
        ],
    }
    names = {
        "kind": keys.KIND,
        "listKind": f"{keys.KIND}List",
        "plural": PLURAL,
        "singular": "benchmarkjob",
        "shortNames": ["bmj"],
        "categories": ["velodrome"],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{keys.GROUP}"},
        "spec": {"group": keys.GROUP, "scope": "Namespaced", "names": names, "versions": [version]},
    }


def _column(name: str, path: str, kind: str = "string", *, wide: bool = False) -> Schema:
    return {"name": name, "type": kind, "jsonPath": path, **({"priority": 1} if wide else {})}


def _root() -> Schema:
    return {
        "type": "object",
        "description": "A race: entries, the conditions that they share, and the objectives that they are ranked by.",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": spec_schema(),
            "status": _STATUS,
        },
        "x-kubernetes-validations": [
            _rule(
                "size(self.metadata.name) <= 63 && !self.metadata.name.contains('.')",
                "metadata.name names pods and labels: at most 63 characters, and no dot",
            )
        ],
    }


def spec_schema() -> Schema:
    """The structural schema of `spec`, with its rules."""
    source = BenchmarkJobSpec.model_json_schema(by_alias=True, mode="validation")
    schema = structural(source, source["$defs"])
    part = schema["properties"]
    part["search"] = _search(source["$defs"]["Search"], source["$defs"], part["search"]["description"])
    schema["x-kubernetes-validations"] = [*frozen(schema), *_spec_rules()]
    part["objectives"]["items"]["x-kubernetes-validations"] = _objective_rules()
    part["objectives"] |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
    part["entries"]["items"]["x-kubernetes-validations"] = _entry_rules()
    part["entries"]["items"]["properties"]["optimize"]["items"]["x-kubernetes-validations"] = [
        _rule(
            " + ".join(f"(has(self.{kind}) ? 1 : 0)" for kind in OPTIMIZE_STEPS) + " == 1",
            f"write one of {', '.join(OPTIMIZE_STEPS)} in each step",
        ),
        _rule("!has(self.compile) || self.compile", "compile: false is no step: leave it out"),
    ]
    part["entries"] |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
    part["dataset"]["x-kubernetes-validations"] = _dataset_rules()
    part["dataset"]["properties"]["splits"]["x-kubernetes-validations"] = [
        _rule(
            "(has(self.files) ? 1 : 0) + (has(self.column) ? 1 : 0) + (has(self.fractions) ? 1 : 0) == 1",
            "write one of files, column and fractions",
        )
    ]
    part["dataset"]["properties"]["source"]["x-kubernetes-validations"] = [
        _rule("!(has(self.path) && has(self.persistentVolumeClaim))", "write persistentVolumeClaim or path, not both")
    ]
    preprocessing = part["preprocessing"]["properties"]
    preprocessing["augmentations"]["items"]["x-kubernetes-validations"] = [
        *_own_fields("name", AUGMENTATION_ARGS, at="self.args"),
        *_augmentation_rules(),
    ]
    preprocessing["augmentations"]["x-kubernetes-validations"] = [
        _rule(
            f"self.map(a, a.name in {_list(MIXES)} ? 1 : 0).isSorted()", f"{' and '.join(MIXES)} come after all others"
        )
    ]
    preprocessing["featureSelection"]["x-kubernetes-validations"] = [
        *_own_fields("method", FEATURE_SELECTION_FIELDS),
        _rule("!(self.method in ['SelectKBest', 'RFE']) || has(self.k)", "SelectKBest and RFE need k"),
        _rule("self.method != 'SelectPercentile' || has(self.percentile)", "SelectPercentile needs percentile"),
    ]
    training = part["training"]["properties"]
    training["optimizer"]["x-kubernetes-validations"] = [
        *_own_fields("name", OPTIMIZER_FIELDS),
        _rule(
            "!has(self.nesterov) || !self.nesterov || (has(self.momentum) && self.momentum > 0.0)",
            "nesterov needs momentum, for example 0.9",
        ),
    ]
    training["schedule"]["x-kubernetes-validations"] = [*_own_fields("name", SCHEDULE_FIELDS)]
    add_pod_rules(part["runner"])
    # An own command takes no training of its own, and a model reports no declared metric.
    override = part["entries"]["items"]["properties"]["training"]["properties"]["earlyStopping"]
    override["properties"]["metric"]["enum"] = _EACH_EPOCH
    part["trials"]["x-kubernetes-validations"] = [
        _rule(
            "!has(self.until) || (self.repeats >= 2 && self.until.maxRepeats > self.repeats)",
            "until needs repeats of 2 or more, and a maxRepeats above them",
        )
    ]
    part["trials"]["properties"]["until"]["properties"]["decided"]["x-kubernetes-list-type"] = "set"
    thresholds = part["regression"]["properties"]["objectives"]
    thresholds["items"]["x-kubernetes-validations"] = [
        _rule(
            "has(self.minRelativeChange) != has(self.minAbsoluteChange)",
            "write one of minRelativeChange and minAbsoluteChange",
        )
    ]
    thresholds |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
    part["metrics"]["items"]["x-kubernetes-validations"] = _declaration_rules()
    part["metrics"] |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
    return schema


def _search(source: Schema, definitions: Schema, description: str) -> Schema:
    """The schema of `search`. What its fields hold may be of any kind, which a structural schema can't say, so it ends
    there: the operator checks them with the model.
    """
    fields = {
        name: structural(_outline(field, definitions), definitions) for name, field in source["properties"].items()
    }
    return {
        "type": "object",
        "nullable": True,
        "description": description,
        "required": source["required"],
        "properties": fields,
    }


def _outline(field: Schema, definitions: Schema) -> Schema:
    """A field in which objects may hold anything."""
    if "$ref" in field:
        rest = {key: value for key, value in field.items() if key != "$ref"}
        return _outline({**definitions[field["$ref"].rsplit("/", 1)[-1]], **rest}, definitions)
    if "anyOf" in field:
        return {**field, "anyOf": [_outline(option, definitions) for option in field["anyOf"]]}
    if "items" in field:
        return {**field, "items": _outline(field["items"], definitions)}
    if field.get("type") != "object":
        return field
    kept = {key: value for key, value in field.items() if key in ("type", "description")}
    return {**kept, "additionalProperties": True}


def _names(metrics: Iterable[str]) -> list[str]:
    """The metrics, and the former names of those that have one."""
    present = list(metrics)
    return [*present, *(alias for alias, name in ALIASES.items() if name in present)]


_EACH_EPOCH = _names(metric.name for metric in CATALOGUE.values() if metric.per_epoch)
_QUALITY = _names(metric.name for metric in CATALOGUE.values() if metric.kind == "quality")
_ALL = _names(CATALOGUE)


def _augmentation_rules() -> Iterable[Schema]:
    """Rules of one augmentation."""
    for name, field in AUGMENTATION_NEEDS.items():
        yield _rule(f"self.name != '{name}' || (has(self.args) && has(self.args.{field}))", f"{name} needs {field}")
    yield _rule(
        "!has(self.args) || !has(self.args.kernelSize) || self.args.kernelSize % 2 == 1", "kernelSize is an odd number"
    )
    pair = "!has(self.args) || !has(self.args.scale) || {0} || self.args.scale.all(each, {1})"
    areas = _list(("RandomErasing", "RandomResizedCrop"))
    yield _rule(pair.format(f"!(self.name in {areas})", "each <= 1.0"), "scale has shares of the area, 0 to 1")
    yield _rule(pair.format("self.name != 'RandomAffine'", "each > 0.0"), "scale has factors above 0")
    magnitude = f"(has(self.args.magnitude) ? self.args.magnitude : {RAND_MAGNITUDE})"
    bins = f"(has(self.args.numMagnitudeBins) ? self.args.numMagnitudeBins : {RAND_BINS})"
    yield _rule(
        f"!has(self.args) || self.name != 'RandAugment' || {magnitude} < {bins}", "magnitude is below numMagnitudeBins"
    )


def _metric_rules() -> list[Schema]:
    """Every place that names a metric names one that is known, and that can be there."""
    target, stopping = "self.budget.target", "self.training.earlyStopping"
    quality = "(!has(m.dependsOn) || m.dependsOn == 'quality')"
    each_epoch = "has(m.perEpoch) && m.perEpoch"
    declare = "is in neither the catalogue nor spec.metrics"
    rules = [
        _rule(
            f"self.objectives.all(o, {_known('o.metric', _ALL)})",
            f"an objective's metric {declare}",
        ),
        _rule(
            f"self.evaluation.metrics.all(name, {_known('name', _QUALITY, quality)})",
            "evaluation.metrics lists metrics of quality, of the catalogue or of spec.metrics",
        ),
    ]
    for where, path in (("budget.target", target), ("training.earlyStopping", stopping)):
        rules.append(
            _rule(
                f"!has({path}) || {_known(f'{path}.metric', _EACH_EPOCH, each_epoch)}",
                f"{where} needs a metric that is measured each epoch: {', '.join(_EACH_EPOCH)}, or one of spec.metrics"
                " with perEpoch: true",
            )
        )
    named = [
        f"self.objectives.all(o, o.metric in {_list(_ALL)})",
        f"self.evaluation.metrics.all(name, name in {_list(_ALL)})",
        *(f"(!has({path}) || {path}.metric in {_list(_ALL)})" for path in (target, stopping)),
    ]
    rules.append(
        _rule(
            f"self.entries.all(e, has(e.command)) || ({' && '.join(named)})",
            "no model of Velodrome reports a metric of spec.metrics: give every entry a command, or name another",
        )
    )
    for kind in dict.fromkeys(metric.range for metric in CATALOGUE.values() if metric.per_epoch):
        names = _names(metric.name for metric in CATALOGUE.values() if metric.per_epoch and metric.range == kind)
        least, most = (max(-1e6, kind[0]), min(1e6, kind[1]))
        rules.append(
            _rule(
                f"!has({target}) || !({target}.metric in {_list(names)})"
                f" || ({target}.value >= {least:.1f} && {target}.value <= {most:.1f})",
                f"a target of {', '.join(names)} is from {least:g} to {most:g}",
            )
        )
    bounds = "(!has(m.range.least) || {0} >= m.range.least) && (!has(m.range.most) || {0} <= m.range.most)"
    inside = f"(!has(m.range) || ({bounds}))"
    rules.append(
        _rule(
            f"!has({target}) || !has(self.metrics) || self.metrics.all(m, m.name != {target}.metric || ("
            f"{inside.format(f'{target}.value')} && ({target}.value >= 0.0 || m.scale == 'interval')))",
            "the target's value is outside the range of its metric in spec.metrics",
        )
    )
    return rules


def _known(name: str, names: Iterable[str], condition: str = "true") -> str:
    """That a name is in the catalogue's names, or is that of a declared metric which meets a condition."""
    declared = f"self.metrics.exists(m, m.name == {name} && {condition})"
    return f"{name} in {_list(names)} || (has(self.metrics) && {declared})"


def _declaration_rules() -> list[Schema]:
    """Rules of one declared metric."""
    ends = "has(self.range) && has(self.range.{0})"
    rules = [
        _rule(f"!(self.name in {_list(_ALL)})", "it is a metric of the catalogue: report it without declaring it"),
        _rule(
            "!self.perEpoch || self.dependsOn == 'quality'",
            "perEpoch is for metrics that depend on what quality does",
        ),
        _rule(
            "self.scale != 'interval' || (has(self.range) && has(self.range.least) && has(self.range.most))",
            "an interval scale needs a range with both ends: changes are relative to it",
        ),
        _rule(
            "!has(self.range) || !has(self.range.least) || !has(self.range.most) || self.range.least < self.range.most",
            "the least value is less than the most",
        ),
    ]
    units: dict[tuple[float, float], list[str]] = {}
    for unit in dict.fromkeys(metric.unit for metric in CATALOGUE.values()):
        least, most = unit_range(unit) or (0.0, 0.0)
        units.setdefault((max(least, 0.0), most), []).append(unit)
    for end in ("least", "most"):
        free, value = f"!({ends.format(end)}) || self.scale == 'interval'", f"self.range.{end}"
        rules.append(_rule(f"{free} || {value} >= 0.0", "a ratio scale has no negative values: write scale: interval"))
        for (least, most), names in units.items():
            inside = f"({value} >= {_number(least)} && {value} <= {_number(most)})"
            message = f"on a ratio scale, {', '.join(names)} is from {least:g} to {most:g}"
            rules.append(_rule(f"{free} || !(self.unit in {_list(names)}) || {inside}", message))
    return rules


def _number(value: float) -> str:
    """A number as CEL writes a double."""
    text = repr(float(value))
    return text if "." in text or "e" not in text else text.replace("e", ".0e")


def _rule(rule: str, message: str) -> Schema:
    return {"rule": rule, "message": message}


def _needs() -> list[Schema]:
    """A field that metrics need has to be there if an objective ranks one of them."""
    takers: dict[str, list[str]] = {}
    for metric in CATALOGUE.values():
        if metric.needs:
            takers.setdefault(metric.needs, []).append(metric.name)
    return [
        _rule(
            f"has(self.{field}) || !self.objectives.exists(o, o.metric in {_list(names)})",
            f"{', '.join(names)}: an objective that ranks one of these needs spec.{field}",
        )
        for field, names in takers.items()
    ]


def _spec_rules() -> list[Schema]:
    return [
        *_metric_rules(),
        _rule(
            "self.objectives.all(o, !(o.metric.startsWith('latency_') || o.metric == 'inference_samples_per_second')"
            " || (has(o.batchSize) && o.batchSize in self.evaluation.inference.batchSizes))",
            "an objective's batchSize must be one of evaluation.inference.batchSizes",
        ),
        *_needs(),
        _rule(
            "size(self.entries) * (has(self.trials.until) ? self.trials.until.maxRepeats : self.trials.repeats)"
            f" <= {MOST_TRIALS}",
            f"a job has at most {MOST_TRIALS:,} trials, entries times repeats: split it",
        ),
        _rule(
            f"!has(self.search) || size(self.entries) * self.search.maxTrials <= {MOST_TRIALS}",
            f"a search has at most {MOST_TRIALS:,} trials, entries times search.maxTrials",
        ),
        *_until_rules(),
        *_serving_rules(),
        _rule(
            "!has(self.regression) || !has(self.regression.objectives)"
            " || self.regression.objectives.all(t,"
            f" self.objectives.exists(o, o.name == t.name) || {_unnamed('t.name')})",
            "regression.objectives names objectives of this job",
        ),
        _rule(
            "self.entries.all(e, !has(e.training) || !has(e.training.optimizer) || !has(e.training.optimizer.name)"
            " || has(e.training.optimizer.learningRate)"
            " || e.training.optimizer.name == self.training.optimizer.name)",
            "an entry with another optimizer than the default needs a learningRate of its own",
        ),
    ]


def _unnamed(name: str) -> str:
    """Whether the job names no objective and `name` is its task's own, which takes the place of the default."""
    own = _list(row.objective for row in TASKS.values())
    return f"(size(self.objectives) == 1 && self.objectives[0].name == '{TASKS[DEFAULT].objective}' && {name} in {own})"


def _until_rules() -> list[Schema]:
    """Rules of a race until decided."""
    fixed = _list(_names(name for name, metric in CATALOGUE.items() if metric.deterministic))
    return [
        _rule(
            "!has(self.trials.until) || self.trials.until.decided.all(d,"
            f" self.objectives.exists(o, o.name == d && !(o.metric in {fixed})) || {_unnamed('d')})",
            "trials.until.decided names objectives of this job that vary with the seed",
        ),
        _rule(
            "!has(self.trials.until) || size(self.entries) > 1",
            "trials.until: one entry has no other to be told from: add an entry",
        ),
    ]


def _serving_rules() -> list[Schema]:
    """Rules of latency as served: as `velodrome.spec.serving_rules`."""
    serving = "self.evaluation.serving"
    return [
        _rule(
            f"!has({serving})"
            f" || double({serving}.queries) < {serving}.arrivalRate * double(self.execution.trialDeadlineSeconds)",
            "evaluation.serving: queries / arrivalRate seconds must be below execution.trialDeadlineSeconds",
        ),
        *(
            _rule(
                f"!has({serving}) || {serving}.queries >= {least}"
                f" || !self.objectives.exists(o, o.metric == '{metric}')",
                f"{metric} needs evaluation.serving.queries of {least} or more",
            )
            for metric, least in least_by_metric().items()
        ),
    ]


def _dataset_rules() -> list[Schema]:
    bundled, placed = _list(sorted(BUNDLED)), "has(self.source.path) || has(self.source.persistentVolumeClaim)"
    factory = "self.format.contains(':')"
    needs = "needs a source: {path: FOLDER}, a persistentVolumeClaim, or {download: true}"
    rules = [
        _rule(
            f"has(self.format) || self.name in {_list(DATASETS)}",
            "no data set that Velodrome knows: write format for data of your own",
        ),
        _rule(
            f"has(self.format) || self.name in {bundled} || (has(self.source) && ({placed} || self.source.download))",
            needs,
        ),
        _rule(
            f"has(self.format) || !(self.name in {bundled}) || !has(self.source)",
            "it comes with the runner and needs no source",
        ),
        _rule(f"!has(self.format) || {factory} || (has(self.source) && ({placed}))", "needs a source: {path: FOLDER}"),
        _rule(
            f"!has(self.format) || !(self.format in {_list(COLUMNAR)}) || (has(self.target) && has(self.splits))",
            "a file with columns needs a target and splits, for example splits: {fractions: {test: 0.2}}",
        ),
        _rule(
            "(has(self.format) && self.format == 'SequenceCSV') == (has(self.columns) && has(self.columns.sequence))",
            "SequenceCSV needs columns: {sequence: COLUMN}, and no other format has it",
        ),
        _rule(
            "(has(self.format) && self.format == 'SequenceCSV') || !has(self.columns) || !has(self.columns.step)",
            "columns.step belongs to SequenceCSV",
        ),
        _rule(
            "!has(self.format) || self.format != 'SequenceCSV' || !has(self.columns)"
            " || !has(self.columns.categorical) || size(self.columns.categorical) == 0",
            "the channels of a sequence are numbers: list no categorical columns",
        ),
        _rule(
            "!has(self.format) || self.format != 'Documents' || (has(self.text) && self.text != self.target)",
            "Documents needs a text: the column of the texts, which is not the target",
        ),
        _rule(
            "!has(self.format) || self.format != 'Text' || has(self.splits)",
            "a text needs splits, for example splits: {fractions: {validation: 0.1, test: 0.1}}",
        ),
        _rule(
            "(has(self.format) ? self.format : self.name) != 'ImageNet' || has(self.imageSize)",
            "ImageNet needs an imageSize, for example 256",
        ),
    ]
    for field in DATASET_FIELDS:
        users = sorted(name for name, fields in FORMAT_FIELDS.items() if field in fields)
        named = [f"(has(self.format) ? self.format : self.name) in {_list(name for name in users if ':' not in name)}"]
        named += [f"(has(self.format) && {factory})"] if any(":" in name for name in users) else []
        rules.append(_rule(f"!has(self.{field}) || {' || '.join(named)}", f"{field} belongs to {', '.join(users)}"))
    return rules


def _objective_rules() -> list[Schema]:
    rules = []
    for field, parameter in (("batchSize", "batch_size"), ("average", "average"), ("label", "label")):
        takers = [name for name, metric in CATALOGUE.items() if parameter in metric.parameters]
        rules.append(
            _rule(f"!has(self.{field}) || self.metric in {_list(takers)}", f"{field} is for {', '.join(takers)}")
        )
    needing = [name for name, metric in CATALOGUE.items() if "batch_size" in metric.requires]
    rules.append(_rule(f"has(self.batchSize) || !(self.metric in {_list(needing)})", "this metric needs a batchSize"))
    rules.append(_rule("!(has(self.average) && has(self.label))", "write average or label, not both"))
    return rules


def _entry_rules() -> list[Schema]:
    return [
        _rule(
            "has(self.variantOf) || has(self.model) != has(self.command)", "needs a model or a command, and not both"
        ),
        _rule(
            "!has(self.variantOf) || !(has(self.model) || has(self.command) || has(self.training))",
            "a variant has the model and the training of its base: leave them out",
        ),
        _rule("!has(self.variantOf) || has(self.optimize)", "a variant needs optimize: nothing else makes it differ"),
        _rule(
            "!(has(self.command) && has(self.optimize))",
            "Velodrome can't optimize the model of an own command: optimize it in the command",
        ),
        _rule(
            "!(has(self.command) && has(self.training))",
            "training has no effect on an own command: pass settings in it",
        ),
        _rule(
            "!has(self.model) || !self.model.name.startsWith('velodrome/') || self.model.name in " + _list(MODEL_ARGS),
            "Velodrome's own models are " + ", ".join(MODEL_ARGS),
        ),
    ]


def _own_fields(selector: str, table: Any, at: str = "self") -> Iterable[Schema]:
    """Rules for fields that apply to some names only: Adam, for example, has no momentum."""
    for field in sorted(frozenset().union(*table.values())):
        users = sorted(name for name, fields in table.items() if field in fields)
        guard = "" if at == "self" else f"!has({at}) || "
        yield _rule(
            f"{guard}!has({at}.{field}) || self.{selector} in {_list(users)}", f"{field} belongs to {', '.join(users)}"
        )


def _list(names: Iterable[str]) -> str:
    return "[" + ", ".join(f"'{name}'" for name in names) + "]"


def _object(description: str, **properties: Schema) -> Schema:
    return {"type": "object", "description": description, "properties": properties}


def _text(description: str, most: int = 1024) -> Schema:
    return {"type": "string", "description": description, "maxLength": most}


def _count(description: str) -> Schema:
    return {"type": "integer", "description": description, "minimum": 0}


_NUMBER: Schema = {"type": "number"}
_STATUS: Schema = _object(
    "What the operator observed; ranks are not here, since they move when others finish.",
    observedGeneration={"type": "integer", "format": "int64", "description": "The generation that this status is of."},
    conditions={
        "type": "array",
        "description": "Complete, Failed, Suspended and Regressed; Reconciling and Stalled, which kstatus reads.",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status", "lastTransitionTime", "reason", "message"],
            "properties": {
                "type": _text("Kind of the condition, such as Complete.", 316),
                "status": {"type": "string", "enum": ["True", "False", "Unknown"], "description": "Whether it holds."},
                "reason": _text("One word, CamelCase.", 1024),
                "message": _text("For people, with what to do.", 32768),
                "lastTransitionTime": {"type": "string", "format": "date-time", "description": "Since when."},
                "observedGeneration": {"type": "integer", "format": "int64", "description": "Of which generation."},
            },
        },
    },
    trials=_object(
        "How many trials there are in each state.",
        total=_count("All of them."),
        active=_count("Running, or about to start."),
        succeeded=_count("Accepted with a result."),
        failed=_count("Accepted as failed."),
        disrupted=_count("Pods that were lost and started again."),
        done=_text("Finished over total, for kubectl's table."),
    ),
    entries={
        "type": "array",
        "description": "Each entry's results so far.",
        "items": _object(
            "An entry's results.",
            name=_text("The entry."),
            note=_text("Why the entry gets no more seeds, where a race until decided stopped it.", 4096),
            objectives={
                "type": "array",
                "description": "One item for each objective with a value.",
                "items": _object(
                    "The mean over seeds with its 95 % interval.",
                    name=_text("The objective."),
                    mean=_NUMBER,
                    low=_NUMBER,
                    high=_NUMBER,
                    samples=_count("Number of values."),
                    ranks=_text("The ranks that the entry may have, such as 1-3; absent where one trial says nothing."),
                ),
            },
        ),
    },
    entriesOmitted=_count("Entries with results that this object has no room for; the leaderboard shows all."),
    leaders={
        "type": "object",
        "description": "By objective: the entries of this job that may have rank 1, best mean first.",
        "additionalProperties": {"type": "string"},
    },
    leader=_text("The first objective's leaders."),
    takenOver=_object(
        "What was taken over from the job that spec.trials.from names, before the first pod was made.",
        job=_text("Name of that job."),
        uid=_text("Its uid."),
        count=_count("How many trials."),
        trials=_text("Their indexes, such as 0-3,7.", 65536),
        message=_text("What was taken over and what was not, in a sentence.", 4096),
    ),
    rounds={
        "type": "array",
        "description": "The rounds that a race until decided ran after its first, each written before its first pod.",
        "items": _object(
            "These repeats of these entries.",
            round=_count("Number of the round; the first has 1."),
            entries=_text("Positions of the entries, such as 0-3,7.", 65536),
            repeats=_text("Repeats, such as 5-6."),
        ),
    },
    search=_object(
        "How far the search of each entry is; absent where the job has none.",
        done=_text("Trials with a result over the most that there may be."),
        run=_count("Number of the run: above 1 where the search got more trials after its winners were found."),
        trials=_count("Search trials with a result."),
        suggested=_count("Search trials that were suggested so far."),
        entries={
            "type": "array",
            "description": "One item for each entry that has parameters, as far as there is room.",
            "items": _object(
                "The search of an entry.",
                name=_text("The entry."),
                trials=_count("Its trials with a result."),
                failed=_count("Those of them that failed."),
                pruned=_count("Those of them that ended early."),
                epochs=_count("Epochs that they took."),
                best={**_NUMBER, "description": "Best value of the first objective, on the validation split."},
                trial=_count("Number of the trial that has it."),
            ),
        },
    ),
    message=_text("What is going on, in a sentence.", 4096),
    image=_text("The runners' image."),
    cohort=_text("The first objective's cohort, in words."),
    startTime={"type": "string", "format": "date-time", "description": "When the first pod was asked for."},
    completionTime={"type": "string", "format": "date-time", "description": "When the last trial was accepted."},
)

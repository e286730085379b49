"""Rules of an entry's `optimize` and `variantOf`. Pure; see `velodrome.spec.rules`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from velodrome.spec.raw import Broken, as_mapping, as_text, chosen, numbered, one_of
from velodrome.spec.wording import Location, shown, suggestion
from velodrome.tasks import task_of
from velodrome.vocabulary import GPU_RESOURCES, OPTIMIZE_STEPS

# What the base of a variant has, and a variant can't have again.
_OF_THE_BASE = ("model", "command", "training")
_OF_A_BASE = ("model", "variantOf", "optimize")
_CONTRADICTIONS = (
    ("compile", "export", "onnxruntime predicts in place of torch, so there is nothing to compile"),
    ("quantize", "export", "torch can't export its int8 layers"),
    ("quantize", "compile", "torch can't compile its int8 layers"),
)
_CPUS_ONLY = ("quantize", "export")


def optimize_rules(spec: Mapping[str, Any]) -> Iterator[Broken]:
    """What no variant can be: one of no base, one that trains another way, or one of steps that don't fit together."""
    entries = list(numbered(spec.get("entries")))
    for index, entry in entries:
        here: Location = ("spec", "entries", index)
        if entry.get("variantOf") is not None:
            yield from _variant(here, entry, {as_text(other.get("name")): other for _, other in entries})
        if entry.get("optimize") is not None:
            yield from _optimized(here, spec, entry)


def _variant(here: Location, entry: Mapping[str, Any], entries: Mapping[str, Mapping[str, Any]]) -> Iterator[Broken]:
    written, own = entry.get("variantOf"), as_text(entry.get("name"))
    if not isinstance(written, str):
        return
    for field in chosen(entry, _OF_THE_BASE):
        yield Broken((*here, field), f"a variant has the {field} of its base, {written}", "leave it out")
    if entry.get("optimize") is None:
        yield Broken(here, f"nothing makes it differ from {written}", "write optimize: [{quantize: int8-dynamic}]")
    place, base = (*here, "variantOf"), entries.get(written)
    others = [name for name, other in entries.items() if chosen(other, _OF_A_BASE) == ["model"]]
    if base is None:
        yield Broken(place, f"{shown(written)} is no entry", suggestion(written, others))
    elif written == own:
        yield Broken(place, "an entry is no variant of itself", suggestion(written, others))
    elif base.get("command") is not None:
        message = f"Velodrome does not train {written}, which has a command of its own"
        yield Broken(place, message, "name an entry with a model")
    elif base.get("variantOf") is not None or base.get("optimize") is not None:
        yield Broken(place, f"{written} is optimized itself", "name an entry without optimize")


def _optimized(here: Location, spec: Mapping[str, Any], entry: Mapping[str, Any]) -> Iterator[Broken]:
    steps = list(numbered(entry.get("optimize")))
    if entry.get("command") is not None:
        message = "Velodrome can't optimize the model of an own command"
        yield Broken((*here, "optimize"), message, "optimize it in the command, and leave this out")
        return
    if spec.get("search") is not None:
        hint = "search first, and optimize the winner in a job of its own"
        yield Broken((*here, "optimize"), "a search would give each variant another training", hint)
    kinds: list[str] = []
    for at, step in steps:
        place: Location = (*here, "optimize", at)
        if set(step) <= set(OPTIMIZE_STEPS):  # the model reports any other
            yield from one_of(place, step, OPTIMIZE_STEPS)
        if step.get("compile") is False:
            yield Broken((*place, "compile"), "false is no step", "write compile: true, or leave the step out")
        found = chosen(step, OPTIMIZE_STEPS)
        if len(found) == 1:
            yield from _placed((*place, found[0]), found[0], kinds)
            yield from _device((*place, found[0]), found[0], spec)
            yield from _exportable((*place, found[0]), found[0], spec)
            kinds += found


def _placed(here: Location, kind: str, before: list[str]) -> Iterator[Broken]:
    """A step after those `before` it: once, in order, and with none that it contradicts."""
    for pair in _CONTRADICTIONS:
        other = next((one for one in pair[:2] if one != kind and kind in pair and one in before), None)
        if other is not None:
            yield Broken(here, f"{kind} contradicts {other}: {pair[2]}", "make two entries of them")
            return
    if kind in before:
        yield Broken(here, f"{kind} is in the list twice", "leave one out")
    elif before and OPTIMIZE_STEPS.index(kind) < OPTIMIZE_STEPS.index(before[-1]):
        yield Broken(here, f"{kind} is written after {before[-1]}", f"the order is {', '.join(OPTIMIZE_STEPS)}")


def _exportable(here: Location, kind: str, spec: Mapping[str, Any]) -> Iterator[Broken]:
    """A network whose answers have one shape for all inputs of a shape: torch exports no other one."""
    dataset = as_mapping(spec.get("dataset"))
    name, data_format = as_text(dataset.get("name")), as_text(dataset.get("format")) or None
    if kind == "export" and task_of(as_text(spec.get("task")) or None, name, data_format) == "detection":
        message = "torch exports no detector to ONNX: how many boxes it finds is another number in each image"
        yield Broken(here, message, "leave the step out")


def _device(here: Location, kind: str, spec: Mapping[str, Any]) -> Iterator[Broken]:
    resources = as_mapping(as_mapping(spec.get("runner")).get("resources"))
    named = [name for part in ("requests", "limits") for name in as_mapping(resources.get(part))]
    gpu = next((name for name in map(as_text, named) if name.startswith(GPU_RESOURCES)), None)
    if kind in _CPUS_ONLY and gpu is not None:
        yield Broken(here, f"{kind} works on CPUs only, and runner.resources asks for {gpu}", "race it in another job")

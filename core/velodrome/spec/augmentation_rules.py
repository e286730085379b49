"""Rules of `spec.preprocessing.augmentations`. Pure; see `velodrome.spec.rules`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

from velodrome.spec.raw import Broken, as_list, as_mapping, as_text, foreign_fields, numbered
from velodrome.spec.wording import Location, shown
from velodrome.tasks import TASKS, kind_of, task_of
from velodrome.vocabulary import (
    AUGMENTATION_ARGS,
    AUGMENTATION_NEEDS,
    MIXES,
    POLICIES,
    RAND_BINS,
    RAND_MAGNITUDE,
    DataKind,
)

# What lies on an image and moves with its pixels, and what learns that, by kind of data.
_FOLLOWING: Mapping[DataKind, tuple[str, str]] = {"scenes": ("boxes", "a detector"), "masks": ("masks", "segmentation")}


def augmentation_rules(spec: Mapping[str, Any]) -> Iterator[Broken]:
    """What a single augmentation can't have, and what can't come with the task or after another augmentation."""
    mixing, dataset = "", as_mapping(spec.get("dataset"))
    kind = kind_of(as_text(dataset.get("name")), as_text(dataset.get("format")) or None)
    for index, augmentation in numbered(as_mapping(spec.get("preprocessing")).get("augmentations")):
        here: Location = ("spec", "preprocessing", "augmentations", index)
        name, args = as_text(augmentation.get("name")), as_mapping(augmentation.get("args"))
        yield from foreign_fields((*here, "args"), args, name, AUGMENTATION_ARGS)
        needed = AUGMENTATION_NEEDS.get(name)
        if needed is not None and args.get(needed) is None:
            yield Broken(here, f"{name} needs {needed}", f"write args: {{{needed}: NUMBER}}")
        yield from _values((*here, "args"), name, args)
        if kind is not None and kind in _FOLLOWING:
            yield from _of_places(here, name, args, *_FOLLOWING[kind])
        if name in MIXES:
            mixing = name
            yield from _mixed((*here, "name"), name, spec)
        elif mixing and name in AUGMENTATION_ARGS:
            yield Broken((*here, "name"), f"{mixing} mixes whole batches, so it comes last", f"move {name} before it")


def _of_places(here: Location, name: str, args: Mapping[str, Any], what: str, learner: str) -> Iterator[Broken]:
    """What boxes or masks can't follow."""
    if name in POLICIES:
        hint = "write its changes one by one, such as RandomAffine and ColorJitter"
        yield Broken((*here, "name"), f"{name} moves pixels, and leaves {what} where they were", hint)
    if args.get("size") is not None:
        yield Broken((*here, "args", "size"), f"{learner} is tested on whole images", "leave size out")


def _values(here: Location, name: str, args: Mapping[str, Any]) -> Iterator[Broken]:
    """Values that are in the range of their field, and that this augmentation can't have."""
    for field in ("scale", "ratio"):
        pair = as_list(args.get(field))
        if len(pair) == 2 and all(map(_is_number, pair)) and pair[0] > pair[1]:
            yield Broken((*here, field), f"{shown(pair)} runs from high to low", "write the lower one first")
    for number in filter(_is_number, as_list(args.get("scale"))):
        if name in ("RandomErasing", "RandomResizedCrop") and number > 1:
            yield Broken((*here, "scale"), f"{shown(number)} is no share of an area", "write shares from 0 to 1")
        elif name == "RandomAffine" and number <= 0:
            yield Broken(
                (*here, "scale"), f"{shown(number)} is no factor of a size", "write factors above 0, such as 1"
            )
    side = args.get("kernelSize")
    if name == "GaussianBlur" and isinstance(side, int) and side % 2 == 0:
        yield Broken((*here, "kernelSize"), f"{shown(side)} has no middle", "write an odd number, such as 3")
    magnitude, bins = args.get("magnitude"), args.get("numMagnitudeBins")
    magnitude, bins = RAND_MAGNITUDE if magnitude is None else magnitude, RAND_BINS if bins is None else bins
    if name == "RandAugment" and _is_number(magnitude) and _is_number(bins) and magnitude >= bins:
        message = f"there is no magnitude {shown(magnitude)} of {shown(bins)}"
        yield Broken((*here, "magnitude"), message, f"write 0 to {shown(bins - 1)}, or more numMagnitudeBins")


def _mixed(here: Location, name: str, spec: Mapping[str, Any]) -> Iterator[Broken]:
    dataset, written = as_mapping(spec.get("dataset")), as_text(spec.get("task"))
    task = task_of(written, as_text(dataset.get("name")), as_text(dataset.get("format")) or None)
    if task in TASKS and task != "classification":
        yield Broken(here, f"{name} mixes the classes of whole images, and {task} has none", "leave it out")


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)

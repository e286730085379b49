"""Where a file of BenchmarkJobs names images, so that a name can be replaced without touching anything else. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import yaml

from velodrome import keys
from velodrome.spec.wording import Location, dotted

# Where images stand in a BenchmarkJob; * is each item of a list.
_PLACES: tuple[tuple[str, ...], ...] = (
    ("spec", "runner", "image"),
    ("spec", "entries", "*", "image"),
    ("spec", "runner", "volumes", "*", "image", "reference"),
    ("spec", "runner", "template", "spec", "initContainers", "*", "image"),
    ("spec", "runner", "template", "spec", "volumes", "*", "image", "reference"),
)
_DEEPEST_LIST = 8
# An anchor or a tag in front of a value, which belongs to the value for PyYAML.
_PROPERTIES = re.compile(r"([&!]\S*\s+)+")


@dataclass(frozen=True, slots=True)
class ImageField:
    """An image's name in a text: where it stands (`begin` to `end`, in characters), and how it is quoted."""

    path: str
    line: int
    value: str
    begin: int
    end: int
    style: str | None


def image_fields(text: str) -> list[ImageField]:
    """Every name of an image in the BenchmarkJobs of a text. A name that several fields share by an alias stands once.

    Raises:
        yaml.YAMLError: it is no YAML.
    """
    found: dict[int, ImageField] = {}
    for document in yaml.compose_all(text, Loader=yaml.SafeLoader):
        for job in _jobs(document, _DEEPEST_LIST):
            for place in _PLACES:
                for location, node in _at(job, place, ()):
                    field = ImageField(
                        dotted(location), node.start_mark.line + 1, node.value,
                        node.start_mark.index, node.end_mark.index, node.style,
                    )  # fmt: skip
                    found.setdefault(field.begin, field)
    return [found[begin] for begin in sorted(found)]


def replaced(text: str, values: Mapping[ImageField, str]) -> str:
    """The text with other names in these fields. Every other character stays, comments included."""
    for field in sorted(values, key=lambda field: field.begin, reverse=True):
        text = text[: field.begin] + _written(text[field.begin : field.end], field, values[field]) + text[field.end :]
    return text


def _written(before: str, field: ImageField, value: str) -> str:
    properties = _PROPERTIES.match(before)
    kept = properties[0] if properties else ""
    if field.style in ("'", '"'):
        return f"{kept}{field.style}{value}{field.style}"
    if field.style in ("|", ">"):
        return f'{kept}"{value}"' + before[len(before.rstrip()) :]  # a block has the line's end in it
    return kept + value


def _jobs(node: yaml.Node | None, depth: int) -> Iterator[yaml.MappingNode]:
    """The BenchmarkJobs of a document: itself, or the items of a List."""
    kind = next((item.value for _, item in _children(node, "kind") if isinstance(item, yaml.ScalarNode)), None)
    if kind == keys.KIND and isinstance(node, yaml.MappingNode):
        yield node
    elif kind == "List" and depth:
        for _, items in _children(node, "items"):
            for _, item in _children(items, "*"):
                yield from _jobs(item, depth - 1)


def _at(node: yaml.Node, place: tuple[str, ...], here: Location) -> Iterator[tuple[Location, yaml.ScalarNode]]:
    if not place:
        if isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:str":
            yield here, node
        return
    for step, child in _children(node, place[0]):
        yield from _at(child, place[1:], (*here, step))


def _children(node: yaml.Node | None, name: str) -> Iterator[tuple[str | int, yaml.Node]]:
    """The items of a list for *, else the field of a mapping: its own, or one that `<<` merges in."""
    if isinstance(node, yaml.SequenceNode) and name == "*":
        yield from enumerate(node.value)
    if not isinstance(node, yaml.MappingNode):
        return
    own = [item for key, item in node.value if key.value == name]
    if own:
        yield name, own[-1]
        return
    for key, item in node.value:
        if key.tag == "tag:yaml.org,2002:merge":
            for source in item.value if isinstance(item, yaml.SequenceNode) else [item]:
                yield from _children(source, name)

"""Whether splits can be trained and tested on. Pure."""

from __future__ import annotations

from torch import Tensor

from velodrome_runner.data.class_names import refuse_names
from velodrome_runner.data.contents import Contents, SampleSource, Schema, whole
from velodrome_runner.data.format import invalid
from velodrome_runner.data.scenes import CROWD, LABEL

_QUOTED = 5  # names that a message lists


def check(contents: Contents, name: str) -> None:
    """Refuses what no model can learn from, or be judged by, before anything is trained.

    Raises:
        ConfigurationError: DatasetInvalid; the message says which split and which class.
    """
    for split in ("train", "validation", "test"):
        source = contents.splits.get(split)
        if source is not None and len(source) == 0:
            raise invalid(f"the {split} split of {name} is empty: give it samples, or change spec.dataset.splits")
    classes = contents.schema.classes
    if classes is not None:
        refuse_names(classes, lambda _: name)
    if contents.kind in ("masks", "text"):
        return  # all of them were looked at when they were opened
    if classes is not None and contents.kind == "scenes":
        _check_boxes(contents, classes, name)
    elif classes is not None:
        _check_labels(contents, classes, name)
    else:
        _check_values(contents, name)
    if contents.schema.categorical:
        _check_categories(contents.splits, contents.schema, name)


def _check_labels(contents: Contents, classes: tuple[str, ...], name: str) -> None:
    for split, source in contents.splits.items():
        low, high = int(source.targets.min()), int(source.targets.max())
        if low < 0 or high >= len(classes):
            raise invalid(
                f"the labels of the {split} split of {name} go from {low} to {high}, for {len(classes)} classes: "
                f"labels are 0 to {len(classes) - 1}"
            )
    trained = set(_occurring(contents.splits["train"].targets))
    for split, source in contents.splits.items():
        occurring = _occurring(source.targets)
        unknown = [classes[label] for label in occurring if label not in trained]
        if unknown:
            raise invalid(
                f"the {split} split of {name} has {_listed('class', unknown)}, of which the training split has no "
                "sample: add some, or remove those samples"
            )
        if len(occurring) == 1:
            raise invalid(
                f"all samples of the {split} split of {name} are of the class {classes[occurring[0]]}: "
                "give it samples of a second class"
            )


def _check_boxes(contents: Contents, classes: tuple[str, ...], name: str) -> None:
    for split, source in contents.splits.items():
        rows = source.targets.flatten(0, 1)
        counted = _occurring(rows[(rows[:, LABEL] >= 0) & (rows[:, CROWD] == 0), LABEL])
        lacking = [each for label, each in enumerate(classes) if label not in counted]
        if split == "train" and lacking:
            raise invalid(
                f"the training split of {name} has no box of {_listed('class', lacking)}, crowds and difficult objects "
                "aside: annotate some, or remove the category and its annotations"
            )
        if not counted:
            raise invalid(
                f"no image of the {split} split of {name} has a box that counts: a detector can't be judged by it; "
                "annotate some of its images"
            )


def _check_values(contents: Contents, name: str) -> None:
    for split, source in contents.splits.items():
        finite = source.targets.float().isfinite()
        if not bool(finite.all()):
            row = int((~finite).nonzero()[0]) + 1
            raise invalid(
                f"the target of sample {row} of the {split} split of {name} is missing, infinite or too large for "
                "float32: mend it, or remove the sample"
            )


def _check_categories(splits: object, schema: Schema, name: str) -> None:
    assert isinstance(splits, dict)
    codes: dict[str, Tensor] = {
        split: whole(source).inputs["categorical"]
        for split, source in splits.items()
        if isinstance(source, SampleSource)
    }
    for position, (column, categories) in enumerate(schema.categorical.items()):
        trained = set(codes["train"][:, position].tolist()) | {-1}
        for split, given in codes.items():
            unseen = sorted(set(given[:, position].tolist()) - trained)
            if unseen:
                words = _listed("category", [categories[code] for code in unseen])
                raise invalid(
                    f"the column {column} has, in the {split} split of {name}, {words} that the training split lacks: "
                    "add training rows with it, or list the column under spec.dataset.columns.ignore"
                )


def _occurring(labels: Tensor) -> list[int]:
    return [int(label) for label in labels.unique().tolist()]


def _listed(what: str, names: list[str]) -> str:
    plural = {"class": "classes", "category": "categories"}[what]
    shown = ", ".join(names[:_QUOTED]) + (f" and {len(names) - _QUOTED} more" if len(names) > _QUOTED else "")
    return f"the {what if len(names) == 1 else plural} {shown}"

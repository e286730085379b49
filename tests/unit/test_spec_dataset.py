"""What a job may say of its data, and what it reads when it says something else."""

from __future__ import annotations

from typing import Any

import pytest

from velodrome.errors import SpecError
from velodrome.plan import plan
from velodrome.spec import validate

TABLE = {"name": "sales", "format": "CSV", "source": {"path": "sales.csv"}, "target": "price"}
FRACTIONS = {"fractions": {"test": 0.2}}
MAIL = {
    "name": "mail", "format": "Documents", "source": {"path": "m.csv"}, "text": "text", "target": "label",
    "splits": FRACTIONS,
}  # fmt: skip
WINDOW = {"sequence": "window"}
SEQUENCES = {
    "name": "bearings",
    "format": "SequenceCSV",
    "source": {"path": "bearings.csv"},
    "target": "fault",
    "columns": WINDOW,
    "splits": FRACTIONS,
}


def job(dataset: dict[str, Any], **spec: Any) -> dict[str, Any]:
    text = dataset.get("format") in ("Text", "Documents") or dataset["name"] == "pydoc"
    model = "velodrome/gru" if text else "velodrome/mlp"
    return {
        "apiVersion": "velodrome.dev/v1alpha1",
        "kind": "BenchmarkJob",
        "metadata": {"name": "race"},
        "spec": {"dataset": dataset, "entries": [{"name": "a", "model": {"name": model}}], **spec},
    }


@pytest.mark.parametrize(
    "dataset",
    [
        {"name": "flowers", "format": "ImageFolder", "source": {"path": "flowers"}},
        {"name": "flowers", "format": "ImageFolder", "source": {"path": "f"}, "splits": FRACTIONS, "imageSize": 64},
        {"name": "ImageNet", "source": {"path": "ilsvrc"}, "imageSize": 256},
        {"name": "pets", "format": "ImageNet", "source": {"path": "pets"}, "imageSize": 256},
        {"name": "SVHN", "source": {"download": True}},
        {"name": "letters", "format": "IDX", "source": {"persistentVolumeClaim": {"claimName": "letters"}}},
        {"name": "GunPoint", "format": "TimeSeries", "source": {"path": "GunPoint"}, "validationFraction": 0},
        TABLE | {"splits": FRACTIONS | {"group": "shop"}, "columns": {"categorical": ["shop"], "ignore": ["id"]}},
        TABLE | {"format": "Parquet", "splits": {"column": "part"}},
        SEQUENCES,
        SEQUENCES | {"columns": WINDOW | {"step": "second", "numeric": ["x"], "ignore": ["id"]}},
        TABLE | {"splits": {"files": {"train": "a.csv", "test": "b.csv"}}},
        {"name": "letters", "format": "Text", "source": {"path": "letters"}, "window": 64, "splits": FRACTIONS},
        {"name": "tales", "format": "Text", "source": {"path": "t"}, "splits": {"files": {"train": "a", "test": "b"}}},
        {"name": "pydoc", "tokens": "bytes"},
        MAIL,
        MAIL | {"splits": {"column": "part", "group": "sender"}},
        {"name": "pydoc", "window": 256, "splits": FRACTIONS},
        {"name": "words", "format": "SpeechCommands", "source": {"path": "w"}, "sampleRate": 8000, "seconds": 0.5},
        {"name": "words", "format": "SpeechCommands", "source": {"path": "w"}, "splits": FRACTIONS},
        {"name": "iris"},
        {"name": "diabetes"},
        {"name": "breast_cancer"},
        {"name": "ours", "format": "team.data:make", "args": {"size": 3}, "splits": FRACTIONS},
        {"name": "ours", "format": "team.data:Sets.make", "source": {"path": "here"}},
    ],
)
def test_data_of_ones_own_are_named_by_their_format(dataset: dict[str, Any]) -> None:
    read = validate(job(dataset))
    assert read.spec.dataset.model_dump(mode="json", by_alias=True, exclude_defaults=True).items() >= {
        key: value for key, value in dataset.items() if not isinstance(value, dict)
    }.items() - {("validationFraction", 0.1)}
    assert read.board == dataset["name"].lower().replace("_", "-")


@pytest.mark.parametrize(
    ("dataset", "spec", "where", "words", "fix"),
    [
        ({"name": "mnist", "source": {"path": "x"}}, {}, "name", "is no data set that Velodrome knows", "MNIST"),
        ({"name": "ours"}, {}, "name", "no data set that Velodrome knows", "write format: for data of your own"),
        ({"name": "a b", "format": "CSV"}, {}, "name", "characters that are not allowed", "letters, digits, - and _"),
        (TABLE | {"format": "csv"}, {}, "format", "is no format that Velodrome reads", 'did you mean "CSV"?'),
        (TABLE | {"format": "a b:c"}, {}, "format", "is no format", "package.module:factory"),
        (
            {"name": "t", "format": "Text", "source": {"path": "t"}},
            {}, "", "Text needs splits", "for example splits: {fractions: {validation: 0.1, test: 0.1}}",
        ),
        (
            {"name": "t", "format": "Text", "source": {"path": "t"}, "splits": {"column": "part"}},
            {}, "splits.column", "Text has no columns", "CSV, Parquet, SequenceCSV, Documents have",
        ),
        (MAIL | {"text": None}, {}, "", "Documents needs a text", "write text: COLUMN"),
        (MAIL | {"text": "label"}, {}, "text", "is the target", "name another column"),
        (MAIL | {"target": None}, {}, "", "Documents needs a target", "write target: COLUMN"),
        (MAIL | {"splits": None}, {}, "", "Documents needs splits", "for example splits"),
        (TABLE | {"splits": FRACTIONS, "text": "words"}, {}, "text", "CSV takes no text", "formats that do: Documents"),
        ({"name": "pydoc", "source": {"path": "x"}}, {}, "source", "pydoc comes with the runner", "leave it out"),
        (
            {"name": "pydoc", "splits": {"files": {"train": "a", "test": "b"}}},
            {}, "splits.files", "pydoc is one text", "use fractions",
        ),
        ({"name": "pydoc", "window": 1}, {}, "window", "must be at least 2", ""),
        ({"name": "pydoc", "tokens": "words"}, {}, "tokens", "is not allowed here", "one of: bytes, characters"),
        ({"name": "iris", "seconds": 2}, {}, "seconds", "iris takes no seconds", "formats that do: SpeechCommands"),
        (TABLE | {"splits": FRACTIONS, "sampleRate": 16_000}, {}, "sampleRate", "CSV takes no sampleRate", "Speech"),
        (
            {"name": "words", "format": "SpeechCommands", "source": {"path": "w"}, "splits": {"column": "part"}},
            {}, "splits.column", "SpeechCommands has no columns", "use files or fractions",
        ),
        ({"name": "iris", "window": 9}, {}, "window", "iris takes no window", "formats that do: Text, pydoc"),
        (TABLE, {}, "", "CSV needs splits", "for example splits: {fractions: {test: 0.2}}"),
        (TABLE | {"target": None, "splits": FRACTIONS}, {}, "", "CSV needs a target", "write target: COLUMN"),
        (TABLE | {"splits": {}}, {}, "splits", "needs files, column or fractions", "write one of them"),
        (TABLE | {"splits": FRACTIONS | {"column": "part"}}, {}, "splits.fractions", "beside column", "write one of"),
        (TABLE | {"splits": {"column": "price"}}, {}, "splits.column", "is the target", "name another column"),
        (TABLE | {"splits": {"fractions": {"test": 0}}}, {}, "splits.fractions.test", "must be more than 0", ""),
        (TABLE | {"splits": {"files": {"train": "/a", "test": "b"}}}, {}, "splits.files.train", "leaves the sou", ""),
        (
            TABLE | {"splits": FRACTIONS, "columns": {"numeric": ["a", "b"], "ignore": ["b"]}},
            {}, "columns.ignore[0]", '"b" is listed twice', "list each column once",
        ),
        (
            TABLE | {"splits": FRACTIONS, "columns": {"numeric": ["price"]}},
            {}, "columns.numeric[0]", "is the target", "leave it out here",
        ),
        (
            {"name": "f", "format": "ImageFolder", "source": {"path": "f"}, "target": "a"},
            {}, "target", "ImageFolder takes no target", "formats that do: CSV, Parquet, SequenceCSV, Documents",
        ),
        (
            {"name": "f", "format": "ImageFolder", "source": {"path": "f"}, "splits": FRACTIONS | {"group": "a"}},
            {}, "splits.group", "ImageFolder has no columns", "CSV, Parquet, SequenceCSV, Documents have",
        ),
        (
            SEQUENCES | {"columns": None},
            {}, "", "SequenceCSV needs columns.sequence", "write columns: {sequence: COLUMN}",
        ),
        (SEQUENCES | {"target": None}, {}, "", "SequenceCSV needs a target", "write target: COLUMN"),
        (SEQUENCES | {"splits": None}, {}, "", "SequenceCSV needs splits", "for example splits: {fractions"),
        (
            SEQUENCES | {"columns": WINDOW | {"categorical": ["shop"]}},
            {}, "columns.categorical", "the channels of a sequence are numbers", "or list it under ignore",
        ),
        (
            SEQUENCES | {"columns": WINDOW | {"step": "window"}},
            {}, "columns.step", '"window" is listed twice', "list each column once",
        ),
        (
            SEQUENCES | {"columns": {"sequence": "fault"}},
            {}, "columns.sequence", '"fault" is the target', "leave it out here",
        ),
        (
            TABLE | {"splits": FRACTIONS, "columns": WINDOW},
            {}, "columns.sequence", "CSV has no sequences of rows", "SequenceCSV reads sequences",
        ),
        (
            TABLE | {"format": "Parquet", "splits": FRACTIONS, "columns": {"step": "second"}},
            {}, "columns.step", "Parquet has no sequences of rows", "leave it out",
        ),
        (
            SEQUENCES | {"imageSize": 8},
            {}, "imageSize", "SequenceCSV takes no imageSize", "formats that do: ",
        ),
        ({"name": "f", "format": "IDX"}, {}, "source", "f needs a source", "{path: FOLDER}"),
        ({"name": "f", "format": "IDX", "source": {"download": True}}, {}, "source.download", "nobody but you", "put"),
        ({"name": "ImageNet", "source": {"path": "x"}}, {}, "", "ImageNet needs an imageSize", "imageSize: 256"),
        ({"name": "iris", "source": {"path": "x"}}, {}, "source", "iris comes with the runner", "leave it out"),
        ({"name": "iris", "splits": FRACTIONS}, {}, "splits", "iris takes no splits", "formats that do"),
        (
            {"name": "f", "format": "a.b:c", "splits": {"files": {"train": "a", "test": "b"}}},
            {}, "splits.files", "a factory reads its own files", "return a dataset for each split",
        ),
        (
            {"name": "digits", "validationFraction": 0}, {"training": {"earlyStopping": {}}},
            "training.earlyStopping", "needs a validation split", "write a validationFraction",
        ),
        (
            {"name": "digits", "validationFraction": 0}, {"budget": {"target": {"metric": "accuracy", "value": 0.9}}},
            "budget.target", "on the validation split", "write a validationFraction",
        ),
        (
            {"name": "digits", "validationFraction": 0},
            {"entries": [{"name": "a", "model": {"name": "velodrome/mlp"}, "training": {"earlyStopping": {}}}]},
            "entries[0].training.earlyStopping", "needs a validation split", "write a validationFraction",
        ),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused_with_the_fix(
    dataset: dict[str, Any], spec: dict[str, Any], where: str, words: str, fix: str
) -> None:
    with pytest.raises(SpecError) as caught:
        validate(job(dataset, **spec))
    path = (
        "spec." + where if where.startswith(("training", "budget", "entries")) else f"spec.dataset.{where}".strip(".")
    )
    found = [problem for problem in caught.value.problems if problem.path == path and words in problem.message]
    assert found, str(caught.value)
    assert fix in found[0].hint


def test_a_declared_validation_split_serves_early_stopping_without_a_fraction() -> None:
    splits = {"fractions": {"test": 0.2, "validation": 0.1}}
    validate(job(TABLE | {"splits": splits, "validationFraction": 0}, training={"earlyStopping": {}}))


def test_where_the_data_lie_changes_no_identity_and_how_they_are_split_does() -> None:
    def identity(**fields: Any) -> str:
        return plan(validate(job({**TABLE, "splits": FRACTIONS, **fields}))).trial(0).id

    assert identity() == identity(source={"path": "elsewhere.csv"})
    assert identity() != identity(splits={"fractions": {"test": 0.3}})
    assert identity() != identity(columns={"ignore": ["id"]})

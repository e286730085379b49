"""Texts with labels: what is read, which words a model knows, and files that can't be used."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from velodrome.errors import ConfigurationError
from velodrome.spec import Dataset, Model, Preprocessing, Training
from velodrome_runner import tasks
from velodrome_runner.data import Contents, open_contents, whole
from velodrome_runner.data.documents import words_of
from velodrome_runner.data.loading import read
from velodrome_runner.inputs.documents import Documents
from velodrome_runner.models import build
from velodrome_runner.models.documents import DOCUMENTS
from velodrome_runner.preprocessing import prepare

CPU = torch.device("cpu")
ROWS = [
    ("train", "Win a prize, win now!", "spam"),
    ("train", "See you at the café at noon", "ham"),
    ("train", "win the prize", "spam"),
    ("train", "At noon then", "ham"),
    ("validation", "a prize at noon", "spam"),
    ("validation", "you see", "ham"),
    ("test", "WIN unheard of things", "spam"),
    ("test", "see the prize", "ham"),
]


def job(path: str = "texts.csv", **fields: Any) -> Dataset:
    given = {
        "name": "mail", "format": "Documents", "source": {"path": path}, "text": "text", "target": "label",
        "splits": {"column": "part"},
    }  # fmt: skip
    return Dataset.model_validate(given | fields)


def written(folder: Path, rows: list[tuple[str, Any, Any]] | None = None, *, lines: bool = False) -> Path:
    rows = ROWS if rows is None else rows
    if lines:
        each = [json.dumps({"part": part, "text": text, "label": label}) for part, text, label in rows]
        (folder / "texts.jsonl").write_text("\n".join(each) + "\n\n", encoding="utf-8")
    else:
        quoted = [f'{part},"{text}",{label}' for part, text, label in rows]
        (folder / "texts.csv").write_text("\n".join(["part,text,label", *quoted]) + "\n", encoding="utf-8")
    return folder


def texts(contents: Contents, split: str) -> list[list[str]]:
    samples = whole(contents.splits[split])
    pairs = zip(samples.inputs["tokens"].tolist(), samples.inputs["lengths"].tolist(), strict=True)
    return [[contents.schema.tokens[token] for token in tokens[:length]] for tokens, length in pairs]


@pytest.mark.parametrize("lines", [False, True])
def test_texts_that_are_in_two_splits_are_told(tmp_path: Path, *, lines: bool) -> None:
    given = ["a b", "c d", "e f", "g h", "a b"]
    rows = [("train", text, "xy"[at % 2]) for at, text in enumerate(given)]
    folder = written(tmp_path, [*rows, ("test", "new", "x"), ("test", "A  b", "y"), ("test", "c d", "y")], lines=lines)
    dataset = job("texts.jsonl" if lines else "texts.csv", validationFraction=0.4)
    assert open_contents(dataset, folder=folder, seed=0).facts.shared_samples == 2
    folder = written(tmp_path, [*rows, ("test", "new", "x"), ("test", "b a", "y")], lines=lines)
    assert open_contents(dataset, folder=folder, seed=0).facts.shared_samples is None


def test_a_file_for_two_splits_is_refused(tmp_path: Path) -> None:
    written(tmp_path)
    files = {"files": {"train": "texts.csv", "test": "texts.csv"}}
    with pytest.raises(ConfigurationError, match=r"has texts\.csv for train and texts\.csv for test, which are"):
        read(job(".", splits=files), tmp_path)


@pytest.mark.parametrize("name", ["texts.ndjson", "TEXTS.NDJSON", "texts.ndjson.gz"])
def test_json_lines_have_two_names(tmp_path: Path, name: str) -> None:
    content = (written(tmp_path, lines=True) / "texts.jsonl").read_bytes()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    assert read(job(name), tmp_path).digest == read(job("texts.jsonl"), tmp_path).digest


def test_words_are_in_lower_case_and_signs_stand_alone() -> None:
    assert words_of("Win £5,\nNOW! Ça_va?") == ["win", "£", "5", ",", "now", "!", "ça_va", "?"]


@pytest.mark.parametrize("lines", [False, True], ids=["CSV", "JSON Lines"])
def test_texts_and_labels_are_read_whole(tmp_path: Path, *, lines: bool) -> None:
    found = read(job("texts.jsonl" if lines else "texts.csv"), written(tmp_path, lines=lines))
    assert (found.kind, found.schema.classes, found.schema.equal) == ("documents", ("ham", "spam"), False)
    assert found.schema.classes is not None
    for split in ("train", "validation", "test"):
        rows = [row for row in ROWS if row[0] == split]
        assert texts(found, split) == [words_of(text) for _, text, _ in rows]
        labels = [found.schema.classes[label] for label in found.splits[split].targets.tolist()]
        assert labels == [label for *_, label in rows]


def test_both_formats_have_one_digest_and_another_word_another(tmp_path: Path) -> None:
    folder = written(written(tmp_path), lines=True)
    digest = read(job(), folder).digest
    assert read(job("texts.jsonl"), folder).digest == digest
    changed = [(part, text.replace("noon", "mood"), label) for part, text, label in ROWS]
    assert read(job(), written(tmp_path, changed)).digest != digest


def fitted(contents: Contents, **fields: Any) -> Documents:
    made = tasks.fit("classification", contents, Preprocessing(**fields), Training(), device=CPU, seed=0)
    assert isinstance(made.transform, Documents)
    return made.transform


@pytest.mark.parametrize("size", [2, 4, 100])
def test_the_vocabulary_is_the_frequent_words_of_the_training_split(tmp_path: Path, size: int) -> None:
    contents = read(job(), written(tmp_path))
    transform = fitted(contents, vocabulary=size)
    counts = Counter(word for each in texts(contents, "train") for word in each)
    expected = sorted(counts, key=lambda word: (-counts[word], word))[: size - 1]
    known = {contents.schema.tokens[at]: number for at, number in enumerate(transform.numbers.tolist()) if number}
    assert sorted(known, key=known.__getitem__) == expected
    assert transform.told == {"vocabulary": len(expected) + 1}
    inputs = transform(whole(contents.splits["test"]))
    rows = [[known.get(word, 0) for word in each] for each in texts(contents, "test")]
    for row, tokens, length in zip(rows, inputs["tokens"].tolist(), inputs["lengths"].tolist(), strict=True):
        assert tokens[:length] == row
        assert not any(tokens[length:])


def test_what_is_planted_outside_the_training_split_changes_no_number(tmp_path: Path) -> None:
    first = fitted(read(job(), written(tmp_path)))
    planted = [(part, text if part == "train" else "noon " * 9, label) for part, text, label in ROWS]
    second = fitted(read(job(), written(tmp_path, planted)))
    assert first.told == second.told


def test_a_text_is_read_up_to_the_declared_length(tmp_path: Path) -> None:
    contents = read(job(), written(tmp_path))
    transform = fitted(contents, max_length=3)
    inputs = transform(whole(contents.splits["validation"]))
    assert inputs["tokens"].shape == (2, 3)
    assert inputs["lengths"].tolist() == [3, 2]
    kept = {word for each in texts(contents, "train") for word in each[:3]}
    assert {contents.schema.tokens[at] for at, number in enumerate(transform.numbers.tolist()) if number} == kept


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("texts.csv", "", "texts.csv is empty"),
        ("texts.csv", "part,text,label\ntrain,hello,a\ntrain,,b\n", r"line 3 of .* has no word in the column text"),
        ("texts.csv", 'part,text,label\ntrain,hello,a\ntrain," \t ",b\n', "line 3 of .* has no word .* remove the row"),
        ("texts.csv", "part,text,label\ntrain,hello,a\ntrain,you,\n", "line 3 of .* has no value in the target column"),
        ("texts.csv", "part,words,label\ntrain,hello,a\n", "has no column 'text', which spec.dataset names"),
        ("texts.csv", "part,text,class\ntrain,hello,a\n", "has no column 'label', which spec.dataset names"),
        ("texts.csv", b"part,text,label\ntrain,\xff,a\n", "texts.csv is no UTF-8 text"),
        ("texts.jsonl", "\n", "texts.jsonl is empty: write an object a line"),
        ("texts.jsonl", b'{"text": "\xff"}', "line 1 of .*texts.jsonl is no UTF-8"),
        ("texts.jsonl", '{"text": "a"}\n{"text"', "line 2 of .*texts.jsonl is no JSON"),
        ("texts.jsonl", '{"part": "train", "text": "a", "text": "b"}', "line 1 of .*two fields are called 'text'"),
        ("texts.jsonl", "[1]", "line 1 of .*texts.jsonl is no object"),
        ("texts.jsonl", '{"part": "train", "text": null, "label": 1}\n{"part": "test", "text": "a", "label": 1}',
         "row 1 of .*texts.jsonl has no word in the column text"),
        ("texts.jsonl", r'{"part": "train", "text": "a \ud800 b", "label": "x"}', "has half of a character"),
        ("texts.jsonl", r'{"part": "train", "text": "a", "label": "\uDFFF"}', "has half of a character"),
        ("texts.jsonl", r'{"part": "train", "text": "a", "label": "b", "\ud83d": 1}', "line 1 of .* has half"),
        ("texts.jsonl", '{"text": ' + "[" * 100_000 + "]" * 100_000 + "}", "line 1 of .* is no JSON .*depth"),
        ("texts.jsonl", '{"part": "train", "text": "a", "label": " "}\n{"text": "b", "label": "c"}', "1 .* no value"),
        ("texts.jsonl", '{"part": "train", "text": "a", "label": ""}', "label has no values: fill them in"),
        ("texts.jsonl", '{"part": "train", "text": "a", "label": NaN}\n{"text": "b", "label": "c"}', "1 .* no value"),
        ("texts.jsonl", gzip.compress(b"{}"), "texts.jsonl is compressed: unpack it, or call it NAME.jsonl.gz"),
        ("texts.jsonl.gz", gzip.compress(b"{}" * 99)[:-9], "texts.jsonl.gz can't be read .*: get it again"),
        ("texts.json", '{"part": "train", "text": "a", "label": "b"}', "is JSON: save .* as NAME.jsonl"),
        ("texts.json", '[\n {"part": "train", "text": "a", "label": "b"}]', "texts.json is JSON: save it"),
    ],
)  # fmt: skip
def test_a_file_that_cant_be_used_is_refused_with_the_place(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ConfigurationError, match=message) as refused:
        read(job(name), tmp_path)
    assert refused.value.reason in ("DatasetInvalid", "DatasetCorrupt")


def test_packed_lines_are_read_and_told_by_their_rows(tmp_path: Path) -> None:
    whole_ = (written(tmp_path, lines=True) / "texts.jsonl").read_bytes()
    (tmp_path / "texts.jsonl.gz").write_bytes(gzip.compress(whole_))
    assert read(job("texts.jsonl.gz"), tmp_path).digest == read(job("texts.jsonl"), tmp_path).digest
    (tmp_path / "texts.jsonl.gz").write_bytes(gzip.compress(whole_ + b'{"part": "test", "text": "?", "label": null}'))
    with pytest.raises(ConfigurationError, match=r"row 9 of .*texts.jsonl.gz has no value in the target column"):
        read(job("texts.jsonl.gz"), tmp_path)


def test_both_halves_of_a_character_are_one_character(tmp_path: Path) -> None:
    rows = [(part, f"{text} \N{GRINNING FACE}", label) for part, text, label in ROWS]
    found = read(job("texts.jsonl"), written(tmp_path, rows, lines=True))
    assert r"\ud83d\ude00" in (tmp_path / "texts.jsonl").read_text()
    assert "\N{GRINNING FACE}" in found.schema.tokens


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [*ROWS, ("test", "hi", "odd")],
            "the test split of mail has the class odd, of which the training split has no",
        ),
        ([row for row in ROWS if row[0] != "test"], "the test split of mail is empty"),
        ([row for row in ROWS if row[2] == "ham"], "all samples of the train split of mail are of the class ham"),
    ],
)
def test_splits_that_no_model_can_learn_from_are_refused(
    tmp_path: Path, rows: list[tuple[str, Any, Any]], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        read(job(), written(tmp_path, rows))


def test_equal_texts_are_in_one_split_by_their_words(tmp_path: Path) -> None:
    rows = [("", f"number {number % 40} calls", "ab"[number % 2]) for number in range(200)]
    found = read(job(splits={"fractions": {"test": 0.3}}), written(tmp_path, rows))
    train, test = ({tuple(each) for each in texts(found, split)} for split in ("train", "test"))
    assert train
    assert test
    assert not train & test


@pytest.mark.parametrize("longest", [None, 6])
@pytest.mark.parametrize("name", sorted(DOCUMENTS))
def test_a_models_answer_does_not_depend_on_the_padding(name: str, longest: int | None) -> None:
    torch.manual_seed(0)
    model = build(Model(name=name), kind="documents", shape=(longest,), vocabulary=9, outputs=3, dropout=0.2).eval()
    tokens = torch.randint(1, 9, (4, 6))
    if longest is not None:
        assert model(tokens).shape == (4, 3)
        return
    lengths = torch.tensor([6, 1, 3, 2])
    tokens = tokens.masked_fill(torch.arange(6) >= lengths[:, None], 0)
    answers = model(tokens, lengths)
    for row, length in enumerate(lengths.tolist()):
        alone = model(tokens[row : row + 1, :length], torch.tensor([length]))
        torch.testing.assert_close(alone[0], answers[row], rtol=1e-4, atol=1e-5)
    model.train()
    nn.functional.cross_entropy(model(tokens, lengths), torch.tensor([0, 1, 2, 0])).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("in_memory", [True, False])
def test_batches_are_as_long_as_their_longest_text(tmp_path: Path, *, in_memory: bool) -> None:
    contents = read(job(), written(tmp_path))
    task = tasks.fit("classification", contents, Preprocessing(), Training(), device=CPU, seed=0)
    model = build(Model(name="velodrome/gru"), kind="documents", shape=(None,), vocabulary=99, outputs=2, dropout=0.0)
    shown = prepare(contents, task, in_memory=in_memory).shown_to(model)
    for batch in shown.batches(2, torch.Generator().manual_seed(0)):
        assert set(batch.inputs) == {"tokens", "lengths"}
        assert batch.inputs["tokens"].shape[1] == int(batch.inputs["lengths"].max())
    shown.close()

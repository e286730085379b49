"""Sequences in CSV files, one row a step, and files that can't be used."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from velodrome.errors import ConfigurationError
from velodrome.spec import Dataset, Preprocessing, Training
from velodrome_runner import tasks
from velodrome_runner.data import Contents, open_contents, whole
from velodrome_runner.data.loading import read
from velodrome_runner.preprocessing import prepare

HEADER = "window,second,machine,x,y,fault,part\n"
GOOD = [
    "a,0,press,1,10,no,train",
    "a,1,press,2,20,no,train",
    "a,2,press,3,30,no,train",
    "b,0,press,4,40,yes,train",
    "b,1,press,5,50,yes,train",
    "c,7,lathe,6,60,yes,test",
    "c,9,lathe,7,70,yes,test",
    "d,0,lathe,8,80,no,test",
    "d,1,lathe,9,90,no,test",
]
COLUMNS = {"sequence": "window", "step": "second", "ignore": ["machine"]}


def job(columns: dict[str, Any] | None = None, **fields: Any) -> Dataset:
    given = {
        "name": "own",
        "format": "SequenceCSV",
        "source": {"path": "own.csv"},
        "target": "fault",
        "columns": COLUMNS | (columns or {}),
        "splits": {"column": "part"},
    }
    return Dataset.model_validate(given | fields)


def written(folder: Path, *lines: str, header: str = HEADER, name: str = "own.csv") -> Path:
    (folder / name).write_text(header + "\n".join(lines) + "\n", encoding="utf-8")
    return folder


def found(folder: Path, task: str | None = None, columns: dict[str, Any] | None = None, **fields: Any) -> Contents:
    return read(job(columns, **fields), folder, task=task)


def test_rows_become_padded_sequences_of_unequal_lengths(tmp_path: Path) -> None:
    contents = found(written(tmp_path, *GOOD))
    assert (contents.kind, contents.schema.shape, contents.schema.equal) == ("sequences", (2, 3), False)
    assert (contents.schema.numeric, contents.schema.classes) == (("x", "y"), ("no", "yes"))
    train, test = whole(contents.splits["train"]), whole(contents.splits["test"])
    assert train.inputs["values"].tolist() == [[[1, 2, 3], [10, 20, 30]], [[4, 5, 0], [40, 50, 0]]]
    assert train.inputs["lengths"].tolist() == [3, 2]
    assert train.targets.tolist() == [0, 1]
    assert test.inputs["values"][:, 0].tolist() == [[6, 7], [8, 9]], "padded to the longest that was taken"
    assert test.targets.tolist() == [1, 0]


def test_rows_of_sequences_may_be_mixed_if_a_column_counts_the_steps(tmp_path: Path) -> None:
    mixed = [GOOD[at] for at in (3, 0, 5, 1, 4, 7, 2, 6, 8)]
    train = whole(found(written(tmp_path, *mixed)).splits["train"])
    assert train.inputs["values"][:, 0].tolist() == [[4, 5, 0], [1, 2, 3]], "in the order of their first rows"


@pytest.mark.parametrize(
    "times",
    [("2026-01-31T23:59:59", "2026-02-01T00:00:00"), ("2026-01-31 10:00:00Z", "2026-01-31 10:00:00.000000001Z"),
     ("1769900400000000000", "1769900400000000001"), ("-1.5", "2e-3"), ("9", "10")],
)  # fmt: skip
def test_steps_are_numbers_or_times(tmp_path: Path, times: tuple[str, str]) -> None:
    first, second = times
    rows = [f"{name},{step},m,{at},1,{at % 2},{part}" for at, (name, part) in enumerate(
        (("a", "train"), ("b", "train"), ("c", "test"), ("d", "test"))) for step in times]  # fmt: skip
    assert found(written(tmp_path, *rows), "classification").schema.shape == (2, 2)
    rows[:2] = [rows[1], rows[0]]
    with pytest.raises(ConfigurationError, match=rf"has the second '{re.escape(first)}' after '{re.escape(second)}'"):
        found(written(tmp_path, *rows), "classification")


def test_a_number_to_predict(tmp_path: Path) -> None:
    rows = [line.replace(",no,", ",0.5,").replace(",yes,", ",-4,") for line in GOOD]
    contents = found(written(tmp_path, *rows))
    assert contents.schema.classes is None
    assert whole(contents.splits["train"]).targets.tolist() == [0.5, -4]
    whole_numbers = [line.replace(",0.5,", ",5,") for line in rows]
    with pytest.raises(ConfigurationError, match="has whole numbers, which may be classes or amounts"):
        found(written(tmp_path, *whole_numbers))
    assert found(tmp_path, "regression").schema.classes is None
    assert found(tmp_path, "classification").schema.classes == ("-4", "5")
    with pytest.raises(ConfigurationError, match=r"line 2 of .*own.csv \(sequence 'a'\) has 'no' in the column fault"):
        found(written(tmp_path, *GOOD), "regression")


def many(count: int = 200) -> list[str]:
    return [
        f"w{number},{step},m{number // 4},{number}.{step},{step},{'no' if number % 2 else 'yes'},-"
        for number in range(count)
        for step in range(2 + number % 3)
    ]


def test_fractions_divide_sequences_by_their_values_and_never_cut_one(tmp_path: Path) -> None:
    fields: dict[str, Any] = {"columns": {"ignore": ["machine", "part"]}, "validationFraction": 0}
    fractions: dict[str, Any] = {"splits": {"fractions": {"validation": 0.2, "test": 0.3}}}
    rows = many()
    first = found(written(tmp_path, *rows), **fields, **fractions)
    assert sum(map(len, first.splits.values())) == 200
    assert min(map(len, first.splits.values())) > 20

    def numbers(contents: Contents, split: str) -> set[float]:
        return set(whole(contents.splits[split]).inputs["values"][:, 0, 0].tolist())

    renamed = [f"other{row}" for row in reversed(many(240)) if int(row.partition(",")[0][1:]) >= 0]
    renamed.sort(key=lambda row: float(row.split(",")[1]))
    later = found(written(tmp_path, *renamed), **fields, **fractions)
    for split in ("train", "validation", "test"):
        assert numbers(first, split) <= numbers(later, split), "names, order and other sequences decide nothing"


def test_a_group_keeps_sequences_together_in_declared_and_drawn_splits(tmp_path: Path) -> None:
    written(tmp_path, *many())
    splits = {"fractions": {"test": 0.3}, "group": "machine"}
    opened = open_contents(
        job({"ignore": ["part"]}, splits=splits, validationFraction=0.2), folder=tmp_path, seed=0
    ).contents
    machines = {
        split: {int(value) // 4 for value in whole(source).inputs["values"][:, 0, 0].tolist()}
        for split, source in opened.splits.items()
    }
    assert len(machines) == 3
    assert sum(map(len, machines.values())) == len(set.union(*machines.values())) == 50
    with pytest.raises(ConfigurationError, match="the group 'press' of the column machine is in the splits"):
        found(written(tmp_path, *[*GOOD, *(line.replace("c,", "e,").replace("lathe", "press") for line in GOOD[5:7])]),
              columns={"ignore": []}, splits={"column": "part", "group": "machine"})  # fmt: skip


def test_sequences_of_one_name_in_two_files_are_two(tmp_path: Path) -> None:
    (tmp_path / "own.csv").mkdir()
    written(tmp_path / "own.csv", *GOOD[:5], name="first.csv")
    written(tmp_path / "own.csv", *GOOD[:5], name="last.csv")
    splits = {"files": {"train": "first.csv", "test": "last.csv"}}
    contents = found(tmp_path, columns={"ignore": ["machine", "part"]}, splits=splits)
    assert {name: len(source) for name, source in contents.splits.items()} == {"train": 2, "test": 2}
    bad = GOOD[4].replace(",5,", ",five,")
    written(tmp_path / "own.csv", *GOOD[:4], bad, name="last.csv")
    with pytest.raises(ConfigurationError, match=r"line 6 of .*last\.csv \(sequence 'b'\) has 'five'"):
        found(tmp_path, columns={"ignore": ["machine", "part"]}, splits=splits)


def test_a_network_trains_on_them(tmp_path: Path) -> None:
    contents = found(written(tmp_path, *GOOD))
    task = tasks.fit("classification", contents, Preprocessing(), Training(), device=torch.device("cpu"), seed=0)
    batch = next(iter(prepare(contents, task, in_memory=True).batches(2, torch.Generator().manual_seed(0))))
    assert isinstance(batch.inputs, dict)
    assert sorted(batch.inputs["lengths"].tolist()) == [2, 3]


@pytest.mark.parametrize(
    ("at", "line", "message"),
    [
        (1, "a,1,press,2,20,yes,train", "line 3 of FILE (sequence 'a') has 'yes' in the target column fault, and"),
        (1, "a,1,press,2,20,yes,train", "and its sequence begins with 'no': give all rows of a sequence one value"),
        (1, "a,1,press,2,20,no,test", "line 3 of FILE (sequence 'a') has 'test' in the split column part"),
        (1, "a,1,press,2,20,,train", "line 3 of FILE (sequence 'a') has no value in the target column fault: fill"),
        (1, "a,1,press,2,20,no,", "line 3 of FILE (sequence 'a') has no value in the split column part: fill"),
        (1, "a,1,press,2,20,no,exam", "has 'exam' in the split column part"),
        (1, "a,1,press,,20,no,train", "line 3 of FILE (sequence 'a') has no value in the column x: fill it in"),
        (1, "a,1,press,NaN,20,no,train", "line 3 of FILE (sequence 'a') has no value in the column x"),
        (1, "a,1,press,2,inf,no,train", "line 3 of FILE (sequence 'a') is infinite in the column y: write a finite"),
        (1, "a,1,press,2,1e40,no,train", "line 3 of FILE (sequence 'a') has 1e+40 in the column y, too large for"),
        (1, "a,1,press,two,20,no,train", "line 3 of FILE (sequence 'a') has 'two' in the column x, which is one of"),
        (1, "a,1,press,two,20,no,train", "mend it, or list the column under spec.dataset.columns.ignore"),
        (1, ",1,press,2,20,no,train", "line 3 of FILE has no value in the column window, which names its sequence"),
        (1, "a,,press,2,20,no,train", "line 3 of FILE (sequence 'a') has no value in the column second"),
        (1, "a,0,press,2,20,no,train", "line 3 of FILE (sequence 'a') has the second '0' for the second time"),
        (1, "a,9,press,2,20,no,train", "line 4 of FILE (sequence 'a') has the second '2' after '9': sort the rows"),
        (1, "a,soon,press,2,20,no,train", "line 3 of FILE (sequence 'a') has 'soon' in the column second, which"),
        (8, "e,1,lathe,9,90,no,test", "line 9 of FILE (sequence 'd') is all of its sequence, and 1 other is too"),
        (0, 'a,0,"press\n\n2",1,10,no,train\n\na,1,press,2,5,no,train', "line 7 of FILE (sequence 'a') has the"),
    ],
)  # fmt: skip
def test_a_file_that_can_not_be_used_is_refused_by_line_and_sequence(
    tmp_path: Path, at: int, line: str, message: str
) -> None:
    written(tmp_path, *GOOD[:at], line, *GOOD[at + 1 :])
    with pytest.raises(ConfigurationError) as caught:
        found(tmp_path)
    assert caught.value.reason == "DatasetInvalid"
    assert message.replace("FILE", str(tmp_path / "own.csv")) in str(caught.value)


def test_without_steps_the_rows_of_a_sequence_are_next_to_each_other(tmp_path: Path) -> None:
    fields: dict[str, Any] = {"columns": {"step": None, "ignore": ["machine", "second"]}}
    assert found(written(tmp_path, *GOOD), **fields).schema.shape == (2, 3)
    written(tmp_path, *GOOD, "a,3,press,1,1,no,train")
    with pytest.raises(ConfigurationError, match=r"line 11 of .* \(sequence 'a'\) is apart from the other rows"):
        found(tmp_path, **fields)


def test_columns_that_are_not_there_or_do_not_suffice_are_named(tmp_path: Path) -> None:
    written(tmp_path, *GOOD)
    for columns, message in (
        ({"sequence": "series"}, "has no column 'series', which spec.dataset names"),
        ({"step": "minute"}, "has no column 'minute'"),
        ({"numeric": ["z"]}, "has no column 'z'"),
        ({"ignore": ["machine", "x", "y"]}, "no column is left for a channel"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            found(tmp_path, columns=columns)
    with pytest.raises(ConfigurationError, match="has no rows below its header"):
        found(written(tmp_path))


def test_values_that_changed_under_a_pinned_digest_fail(tmp_path: Path) -> None:
    pinned = found(written(tmp_path, *GOOD)).digest
    open_contents(job(digest=pinned, validationFraction=0), folder=tmp_path, seed=0)
    written(tmp_path, *GOOD[:-1], GOOD[-1].replace(",9,", ",9.5,"))
    with pytest.raises(ConfigurationError) as caught:
        open_contents(job(digest=pinned, validationFraction=0), folder=tmp_path, seed=0)
    assert caught.value.reason == "DatasetDigestMismatch"

"""CSV and Parquet files as people write them, and what is said of those that can't be used."""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet

from velodrome.errors import ConfigurationError
from velodrome.spec import Dataset
from velodrome_runner.data import Contents, OpenedData, Samples, open_contents, whole
from velodrome_runner.data.format import unreadable
from velodrome_runner.data.loading import read

FRACTIONS = {"fractions": {"test": 0.25}}


def job(**fields: Any) -> Dataset:
    given = {"name": "sales", "format": "CSV", "source": {"path": "t.csv"}, "target": "kind", "splits": FRACTIONS}
    return Dataset.model_validate(given | fields)


def rows(count: int = 60) -> list[tuple[object, ...]]:
    """id, price, size, shop, kind: shops have several rows each, and some prices are missing."""
    draw = random.Random(5)  # noqa: S311 - not for secrets
    return [
        (
            number,
            "" if number % 11 == 3 else round(draw.uniform(1, 9), 3),
            draw.randint(1, 5),
            "north" if number % 3 else "south",
            "dear" if draw.random() < 0.5 else "cheap",
        )
        for number in range(count)
    ]


HEADER = ("id", "price", "size", "shop", "kind")


def write(path: Path, content: Sequence[tuple[object, ...]], header: tuple[str, ...] = HEADER, cut: str = ",") -> Path:
    lines = [header, *content]
    path.write_text("\n".join(cut.join(map(str, line)) for line in lines) + "\n", encoding="utf-8")
    return path


def opened(folder: Path, seed: int = 0, task: str | None = None, **fields: Any) -> OpenedData:
    return open_contents(job(**fields), folder=folder, seed=seed, task=task)


def contents(folder: Path, task: str | None = None, **fields: Any) -> Contents:
    return read(job(**fields), folder, task=task)


def refusal(folder: Path, task: str | None = None, **fields: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        contents(folder, task, **fields)
    assert caught.value.reason in ("DatasetInvalid", "DatasetCorrupt", "DatasetMissing")
    return str(caught.value)


def all_rows(found: Contents) -> Samples:
    parts = [whole(source) for source in found.splits.values()]
    names = parts[0].inputs
    return Samples(
        {name: torch.cat([part.inputs[name] for part in parts]) for name in names},
        torch.cat([part.targets for part in parts]),
    )


def test_a_csv_is_numbers_categories_and_missing_values(tmp_path: Path) -> None:
    write(tmp_path / "t.csv", rows())
    found = contents(tmp_path, columns={"ignore": ["id"]})
    assert (found.kind, found.schema.shape, found.schema.classes) == ("table", (3,), ("cheap", "dear"))
    assert (found.schema.numeric, found.schema.categorical) == (("price", "size"), {"shop": ("north", "south")})
    everything = all_rows(found)
    assert everything.inputs["numeric"].dtype == torch.float64
    expected = sorted((str(row[1]), float(row[2]), row[3] == "south", row[4] == "dear") for row in rows())  # type: ignore[arg-type]
    numeric, codes = everything.inputs["numeric"].tolist(), everything.inputs["categorical"].squeeze(1).tolist()
    given = [
        ("" if np.isnan(price) else str(price), size, bool(code), bool(target))
        for (price, size), code, target in zip(numeric, codes, everything.targets.tolist(), strict=True)
    ]
    assert sorted(given) == expected


@pytest.mark.parametrize("cut", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_separators_and_byte_order_marks_change_nothing(tmp_path: Path, cut: str, encoding: str) -> None:
    plain = contents(write(tmp_path / "t.csv", rows()).parent)
    text = write(tmp_path / "t.csv", rows(), cut=cut).read_text(encoding="utf-8")
    (tmp_path / "t.csv").write_text(text, encoding=encoding)
    assert contents(tmp_path).digest == plain.digest


def test_decimal_commas_are_read_where_semicolons_cut(tmp_path: Path) -> None:
    plain = contents(write(tmp_path / "t.csv", rows()).parent)
    german = [tuple(str(value).replace(".", ",") for value in row) for row in rows()]
    assert contents(write(tmp_path / "t.csv", german, cut=";").parent).digest == plain.digest


def test_a_parquet_file_of_the_same_rows_has_the_same_digest_and_splits(tmp_path: Path) -> None:
    write(tmp_path / "t.csv", rows())
    columns = list(zip(*rows(), strict=True))
    columns[1] = tuple(None if value == "" else value for value in columns[1])
    table = pa.table(dict(zip(HEADER, columns, strict=True)))
    table = table.set_column(3, "shop", table["shop"].dictionary_encode())
    parquet.write_table(table, tmp_path / "t.parquet")
    other = contents(tmp_path, format="Parquet", source={"path": "t.parquet"})
    assert other.digest == contents(tmp_path).digest


def test_fractions_are_kept_whatever_the_seed_the_order_and_later_rows(tmp_path: Path) -> None:
    def test_prices(count: int, *, turned: bool = False) -> set[tuple[float, ...]]:
        given = rows(count)[::-1] if turned else rows(count)
        write(tmp_path / "t.csv", given)
        return {tuple(row) for row in whole(contents(tmp_path).splits["test"]).inputs["numeric"].nan_to_num().tolist()}

    few, turned, many = test_prices(60), test_prices(60, turned=True), test_prices(400)
    assert few == turned
    assert few == {row for row in many if row[0] < 60}
    assert 70 < len(many) < 130  # a quarter of 400, as chance has it
    write(tmp_path / "t.csv", rows())
    first, other = opened(tmp_path, 1).contents, opened(tmp_path, 2).contents
    assert torch.equal(whole(first.splits["test"]).targets, whole(other.splits["test"]).targets)
    assert not torch.equal(
        whole(first.splits["validation"]).inputs["numeric"][:, 0],
        whole(other.splits["validation"]).inputs["numeric"][:, 0],
    )


def test_equal_rows_are_never_in_two_splits(tmp_path: Path) -> None:
    write(tmp_path / "t.csv", [row[1:] for row in rows(200)] * 2, HEADER[1:])
    found = contents(tmp_path)
    first, second = (
        {tuple(row) for row in whole(found.splits[name]).inputs["numeric"].nan_to_num(-1).tolist()}
        for name in ("train", "test")
    )
    assert not {row for row in first & second if row[0] != -1}


def test_groups_never_straddle_splits_nor_does_the_validation_split(tmp_path: Path) -> None:
    given = [(*row[:3], f"shop{number % 12}", row[4]) for number, row in enumerate(rows(240))]
    write(tmp_path / "t.csv", given)
    splits = {"fractions": {"test": 0.3, "validation": 0.2}, "group": "shop"}
    declared = contents(tmp_path, splits=splits)
    for seed in range(4):
        drawn = opened(tmp_path, seed, splits={"fractions": {"test": 0.3}, "group": "shop"}, validationFraction=0.3)
        for each in (declared, drawn.contents):
            shops = [
                {int(row[0]) % 12 for row in whole(source).inputs["numeric"].tolist()}
                for source in each.splits.values()
            ]
            assert len(shops) == 3
            assert sum(map(len, shops)) == len(set().union(*shops)) == 12
    assert "shop" not in declared.schema.categorical


def test_a_group_in_two_declared_splits_is_refused(tmp_path: Path) -> None:
    given = [(*row, "test" if number % 4 == 0 else "train") for number, row in enumerate(rows())]
    write(tmp_path / "t.csv", given, (*HEADER, "part"))
    message = refusal(tmp_path, splits={"column": "part", "group": "shop"})
    assert "the group 'south' of the column shop is in the splits" in message
    assert "use spec.dataset.splits.fractions" in message


def test_splits_by_a_column_and_by_files_are_the_same(tmp_path: Path) -> None:
    part = ["test" if number % 4 == 0 else "Validation" if number % 4 == 1 else "train" for number in range(60)]
    write(tmp_path / "t.csv", [(*row, name) for row, name in zip(rows(), part, strict=True)], (*HEADER, "part"))
    column = opened(tmp_path, splits={"column": "part"})
    (tmp_path / "parts").mkdir()
    for name in set(part):
        chosen = [row for row, given in zip(rows(), part, strict=True) if given == name]
        write(tmp_path / "parts" / f"{name.lower()}.csv", chosen)
    files = {name: f"{name}.csv" for name in ("train", "validation", "test")}
    other = opened(tmp_path, source={"path": "parts"}, splits={"files": files})
    assert (column.facts.train_samples, column.facts.validation_samples, column.facts.test_samples) == (30, 15, 15)
    assert column.facts == other.facts
    assert "part" not in column.contents.schema.categorical


def test_no_validation_split_is_drawn_where_the_fraction_is_0(tmp_path: Path) -> None:
    write(tmp_path / "t.csv", rows())
    found = opened(tmp_path, validationFraction=0)
    assert set(found.contents.splits) == {"train", "test"}
    assert found.facts.validation_samples == 0


def test_a_target_of_numbers_needs_a_task_only_where_both_are_possible(tmp_path: Path) -> None:
    write(tmp_path / "t.csv", [row for row in rows() if row[1] != ""])
    price = contents(tmp_path, target="price")
    assert price.schema.classes is None
    assert whole(price.splits["train"]).targets.dtype == torch.float64
    assert "spec.task: classification or spec.task: regression" in refusal(tmp_path, target="size")
    assert contents(tmp_path, "classification", target="size").schema.classes == ("1", "2", "3", "4", "5")
    assert contents(tmp_path, "regression", target="size").schema.classes is None
    assert "t.csv has 'cheap' in the column kind" in refusal(tmp_path, "regression").replace("'dear'", "'cheap'")


def test_ten_thousand_columns_are_read(tmp_path: Path) -> None:
    count = 10_000
    header = (*(f"c{number}" for number in range(count)), "kind")
    given = [(*range(row, row + count), "a" if row % 2 else "b") for row in range(24)]
    write(tmp_path / "t.csv", given, header)
    found = contents(tmp_path)
    assert found.schema.shape == (count,)
    assert all_rows(found).inputs["numeric"].sum().item() == sum(sum(row[:-1]) for row in given)


def edited(change: Callable[[list[list[object]]], None]) -> list[tuple[object, ...]]:
    given = [list(row) for row in rows()]
    change(given)
    return [tuple(row) for row in given]


def at(row: int, column: int, value: object) -> list[tuple[object, ...]]:
    def change(given: list[list[object]]) -> None:
        given[row][column] = value

    return edited(change)


@pytest.mark.parametrize(
    ("content", "fields", "message"),
    [
        (at(6, 1, "cheap"), {"columns": {"numeric": ["price"]}}, "line 8 of {path} has 'cheap' in the column price"),
        (at(6, 1, "-inf"), {"columns": {"numeric": ["price"]}}, "line 8 of {path} is infinite in the column price"),
        (at(6, 1, "-1e39"), {"columns": {"numeric": ["price"]}}, "-1e+39 in the column price, too large"),
        (at(6, 4, "NaN"), {}, "line 8 of {path} has no value in the target column kind (1 row has none)"),
        (rows(), {"target": "prize"}, "has no column 'prize', which spec.dataset names: it has id, price"),
        (rows(), {"columns": {"ignore": ["x"]}}, "has no column 'x'"),
        (rows(), {"columns": {"ignore": ["id", "price", "size", "shop"]}}, "no column is left to learn from"),
        ([(*row[:1], "", *row[2:]) for row in rows()], {}, "the column price has no values"),
        ([(f"n{n}", *row[1:]) for n, row in enumerate(rows(3000))], {}, "column id is text with 3000 different values"),
        ([], {}, "has no rows below its header"),
        ([(*row, 1) for row in rows()], {}, "is no table that can be read"),
        (rows(), {"splits": {"column": "shop"}}, "line 2 of {path} has 'south' in the column shop"),
        ([(*row[:4], "cheap") for row in rows()], {}, "are of the class cheap: give it samples of a second class"),
        (rows(2), {}, "split of sales is empty"),
    ],
)  # fmt: skip
def test_a_table_that_can_not_be_used_is_refused_by_its_row_or_column(
    tmp_path: Path, content: list[tuple[object, ...]], fields: dict[str, Any], message: str
) -> None:
    write(tmp_path / "t.csv", content)
    assert message.format(path=tmp_path / "t.csv") in refusal(tmp_path, **fields)


def test_a_category_that_training_never_saw_is_refused(tmp_path: Path) -> None:
    given = [(*row, "test" if number % 4 == 0 else "train") for number, row in enumerate(rows())]
    given[0] = (*given[0][:3], "west", *given[0][4:])
    write(tmp_path / "t.csv", given, (*HEADER, "part"))
    message = refusal(tmp_path, splits={"column": "part"})
    assert "the column shop has, in the test split of sales, the category west that the training split lacks" in message


def test_a_class_that_only_the_test_split_has_is_refused(tmp_path: Path) -> None:
    given = [(*row, "test" if number % 4 == 0 else "train") for number, row in enumerate(rows())]
    given[0] = (*given[0][:4], "free", *given[0][5:])
    write(tmp_path / "t.csv", given, (*HEADER, "part"))
    assert "the class free, of which the training split has no sample" in refusal(tmp_path, splits={"column": "part"})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty: write a header and rows"),
        (b"price\n1\n2\n", "the first line of"),
        (b"price,price,kind\n1,2,a\n", "several columns of the name 'price'"),
        ("pr\xe9,kind\n1,2\n".encode("latin-1"), "is no UTF-8 text"),
        (b"price,kind\n" + b"1,a\n" * 9999 + b"1,\xe9\n", "is no table that can be read"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    assert message in refusal(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert f"there is no file {tmp_path / 't.csv'}" in refusal(tmp_path)
    (tmp_path / "t.csv").mkdir()
    assert "is a folder, with these CSV files: none" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pa.array([[1, 2]] * 4), "the column odd of"),
        (pa.array([{"a": 1}] * 4), "is nested (struct<a: int64>): write a flat column for each of its values"),
        (pa.array([0] * 4, pa.timestamp("ms")), "the column odd holds timestamp[ms] values"),
    ],
)
def test_a_parquet_column_that_is_neither_number_nor_text_is_refused(
    tmp_path: Path, column: pa.Array, message: str
) -> None:
    parquet.write_table(pa.table({"odd": column, "kind": ["a", "b", "a", "b"]}), tmp_path / "t.parquet")
    assert message in refusal(tmp_path, format="Parquet", source={"path": "t.parquet"})


def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "t.parquet", rows())
    assert "is no Parquet file that can be read" in refusal(tmp_path, format="Parquet", source={"path": "t.parquet"})


def test_rows_that_changed_under_a_pinned_digest_fail_before_training(tmp_path: Path) -> None:
    write(tmp_path / "t.csv", rows())
    pinned = contents(tmp_path).digest
    assert opened(tmp_path, digest=pinned).facts.digest == pinned
    write(tmp_path / "t.csv", at(6, 2, 4))
    with pytest.raises(ConfigurationError, match=r"spec\.dataset\.digest pins") as caught:
        opened(tmp_path, digest=pinned)
    assert caught.value.reason == "DatasetDigestMismatch"


@pytest.mark.parametrize(
    ("name", "rows_", "columns", "classes"),
    [("iris", 150, 4, 3), ("wine", 178, 13, 3), ("breast_cancer", 569, 30, 2), ("diabetes", 442, 10, None)],
)
def test_the_tables_of_scikit_learn_are_whole(name: str, rows_: int, columns: int, classes: int | None) -> None:
    from sklearn import datasets

    found = open_contents(Dataset.model_validate({"name": name}), folder=Path("/nonexistent"), seed=0)
    facts = found.facts
    assert facts.train_samples + facts.validation_samples + facts.test_samples == rows_
    assert facts.shape == (columns,)
    assert found.contents.schema.classes is None if classes is None else len(facts.classes) == classes
    everything = all_rows(found.contents)
    theirs = getattr(datasets, f"load_{name}")(**({"scaled": False} if name == "diabetes" else {}))
    assert everything.inputs["numeric"].sum().item() == pytest.approx(theirs.data.sum())
    assert everything.targets.sum().item() == theirs.target.sum()
    again = open_contents(Dataset.model_validate({"name": name}), folder=Path("/nonexistent"), seed=9)
    assert torch.equal(whole(found.contents.splits["test"]).targets, whole(again.contents.splits["test"]).targets)


def test_a_packed_csv_is_read_as_it_is_unpacked(tmp_path: Path) -> None:
    plain = write(tmp_path / "t.csv", rows())
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(plain.read_bytes()))
    packed = contents(tmp_path, source={"path": "t.csv.gz"})
    assert packed.digest == contents(tmp_path).digest
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"id,price,kind\n1,,dear\n2,x")[:-12])
    assert "can be read (Truncated" in refusal(tmp_path, source={"path": "t.csv.gz"})
    content = gzip.compress(plain.read_bytes())
    for at in range(10, 60):
        (tmp_path / "t.csv.gz").write_bytes(content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :])
        refusal(tmp_path, source={"path": "t.csv.gz"})


def test_a_file_that_may_not_be_read_needs_other_permissions() -> None:
    refused = unreadable("t.csv", PermissionError(13, "Permission denied", "t.csv"))
    assert str(refused) == "t.csv can't be read (Permission denied): correct its permissions"
    assert str(unreadable("t.csv", EOFError("it ends"))) == "t.csv can't be read (it ends): get it again"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04rest", "is a spreadsheet or an archive: save it as CSV"),
        (b"PAR1rest", "is a Parquet file: write format: Parquet"),
        (gzip.compress(b"a,kind", mtime=0), "is compressed: unpack it, or call it NAME.csv.gz"),
    ],
)
def test_a_file_of_another_kind_is_called_by_its_name(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    assert message in refusal(tmp_path)


def test_a_column_without_a_name_is_refused_and_blanks_around_names_are_not(tmp_path: Path) -> None:
    write(tmp_path / "t.csv", rows(), header=("", "price", "size", "shop", "kind"))
    assert "column 1 of" in refusal(tmp_path)
    write(tmp_path / "t.csv", rows(), header=("id", " price", "size ", " shop", " kind"))
    assert contents(tmp_path).schema.numeric == ("id", "price", "size")


def test_one_slip_does_not_make_numbers_categories(tmp_path: Path) -> None:
    content = rows(200)
    content[150] = (150, "n.a.", *content[150][2:])
    write(tmp_path / "t.csv", content)
    said = refusal(tmp_path)
    assert "line 152 of " in said
    assert "has 'n.a.' in the column price, whose other values are numbers" in said
    assert contents(tmp_path, columns={"categorical": ["shop"], "ignore": ["price"]}).schema.numeric == ("id", "size")
    content[150] = (150, "inf", *content[150][2:])
    write(tmp_path / "t.csv", content)
    assert "t.csv is infinite in the column price" in refusal(tmp_path)
    content[150] = (150, "#N/A", *content[150][2:])
    write(tmp_path / "t.csv", content)
    assert "price" in contents(tmp_path).schema.numeric


def test_the_column_of_the_split_may_be_that_of_the_groups(tmp_path: Path) -> None:
    content = [(*row, ("train", "test")[number % 2]) for number, row in enumerate(rows())]
    write(tmp_path / "t.csv", content, header=(*HEADER, "part"))
    found = contents(tmp_path, splits={"column": "part", "group": "part"})
    assert "part" not in found.schema.categorical


def test_parquet_of_pandas_keeps_large_numbers_and_loses_row_numbers(tmp_path: Path) -> None:
    table = pa.table(
        {
            "key": pa.array([2**60 + 1024 * number for number in range(60)]),
            "kind": ["dear", "cheap"] * 30,
            "__index_level_0__": list(range(60)),
        }
    )
    parquet.write_table(table, tmp_path / "t.parquet")
    found = contents(tmp_path, format="Parquet", source={"path": "t.parquet"})
    assert found.schema.numeric == ("key",)
    assert all_rows(found).inputs["numeric"].min() == 2**60


def test_a_class_that_is_nan_in_parquet_is_missing(tmp_path: Path) -> None:
    table = pa.table({"size": list(range(60)), "kind": [0.0, 1.0, float("nan")] * 20})
    parquet.write_table(table, tmp_path / "t.parquet")
    said = refusal(tmp_path, "classification", format="Parquet", source={"path": "t.parquet"})
    assert "row 3 of " in said
    assert "has no value in the target column kind (20 rows have none)" in said
